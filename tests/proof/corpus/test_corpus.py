"""Every recorded history leads to the same commands again; what to do when one does not: see the package."""

import base64
from collections.abc import AsyncIterator, Sequence

import pytest
from pydantic import SecretStr
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from contracts.chassis import temporal
from contracts.chassis.settings import TemporalSettings
from fulfillment_service.activities import FulfillmentActivities
from fulfillment_service.workflow import FulfillmentWorkflow
from order_service.activities import OrderActivities
from order_service.bootstrap import VERSION
from order_service.workflow import OrderWorkflow
from tests.proof import corpus
from tests.proof.corpus import histories
from tests.proof.corpus.histories import Recorded
from tests.proof.corpus.stories import STORIES

ALL = {path.name.removesuffix(".jsonl.gz"): histories.read(path) for path in histories.releases()}
NEWEST: Sequence[Recorded] = ALL.get(VERSION, [])
NEVER_ASKED_FOR = {"queryFulfillmentProgress", "queryOrderStatus"}
"""Activities of the bridges that no workflow calls."""
RECORD = "record the corpus of this version: python -m tests.proof.corpus record"


def _replayer(*, sandbox: bool) -> Replayer:
    ring = SecretStr(f"none:{base64.b64encode(bytes(32)).decode()}")  # nothing in the corpus is encrypted
    settings = TemporalSettings(
        codec_orders_keys=ring, codec_fulfillments_keys=ring, workflow_sandbox=sandbox
    )
    plugin = temporal.plugin(temporal.key_ring("orders", settings), "orders", settings)
    return Replayer(workflows=[OrderWorkflow, FulfillmentWorkflow], plugins=[plugin])


async def _each(recorded: Sequence[Recorded]) -> AsyncIterator[WorkflowHistory]:
    for each in recorded:
        yield each.history


@pytest.mark.parametrize("release", ALL)
@pytest.mark.parametrize("sandbox", [False, True], ids=["plain", "sandboxed"])
async def test_every_history_leads_to_the_same_commands_again(release: str, sandbox: bool):
    """An order that is open now can be finished by this code."""
    broken: list[str] = []
    by_id = {each.history.workflow_id: each for each in ALL[release]}
    async with _replayer(sandbox=sandbox).workflow_replay_iterator(_each(ALL[release])) as replayed:
        async for result in replayed:
            if result.replay_failure:
                story = by_id[result.history.workflow_id]
                broken.append(f"{story}: {str(result.replay_failure)[:300]}")
    assert not broken, f"release {release}:\n" + "\n".join(broken) + f"\n\n{corpus.__doc__}"


def _promised(mark: str, *kinds: type) -> set[str]:
    """The names by which Temporal knows the methods marked so."""
    marked = [getattr(each, mark, None) for kind in kinds for each in vars(kind).values()]
    return {each.name for each in marked if each is not None and each.name}


def test_the_corpus_has_sixty_histories_of_this_version():
    """Every story, each with the order's history and, where there is one, its parcel's."""
    assert len(NEWEST) >= 60, RECORD
    assert {each.story for each in NEWEST} == set(STORIES), RECORD


def test_the_corpus_knows_every_activity_of_both_workflows():
    """One that it does not know is newer than the corpus, and its replay would be proven by nothing."""
    ours = _promised("__temporal_activity_definition", OrderActivities, FulfillmentActivities)
    assert ours - histories.activities(NEWEST).keys() - NEVER_ASKED_FOR == set(), RECORD


def test_the_corpus_knows_every_signal_and_every_way_to_end():
    """Completed, ended from outside, gone on in another run, and still open."""
    ours = _promised("__temporal_signal_definition", OrderWorkflow, FulfillmentWorkflow)
    assert ours - histories.signals(NEWEST) == set(), RECORD
    ended = histories.endings(NEWEST)
    assert {"COMPLETED", "TERMINATED", "CONTINUED_AS_NEW", "open"} <= ended.keys()


def test_nothing_in_the_corpus_is_encrypted_or_names_a_machine():
    """Whoever reads it needs no key, and learns nothing of who recorded it."""
    for each in NEWEST:
        text = each.history.to_json()
        assert base64.b64encode(b"binary/encrypted").decode() not in text
        assert "identity" not in text
