"""A hundred orders among twelve faults on real processes: nothing is lost, doubled or stuck."""

import pytest

from tests.proof.chaos import SECONDS_PER_ORDER
from tests.proof.chaos.plan import FAULTS, FaultKind, drawn
from tests.proof.chaos.run import chaos, judged_again

ORDERS, SEED = 100, 2
STRUCK: tuple[FaultKind, ...] = (
    "kill-api",
    "kill-worker",
    "kill-relay",
    "kill-consumer",
    "kill-providers",
    "restart-postgres",
    "restart-temporal",
    "restart-kafka",
    "freeze-worker",
    "cut-postgres",
    "slow-temporal",
    "double-records",
)
"""Each once; who is struck, when and in which order is the seed's."""


def test_a_seed_is_a_plan():
    """The same orders, wishes and faults at the same times; another seed is another plan."""
    once, again = (drawn(7, 100, 12, seconds=60) for _ in range(2))
    assert once == again
    assert drawn(8, 100, 12, seconds=60) != once


def test_every_kind_comes_before_any_comes_again():
    """And the last orders come after the last fault, so that each is felt."""
    plan = drawn(3, 200, len(FAULTS), seconds=60)
    assert {fault.kind for fault in plan.faults} == set(FAULTS)
    assert max(fault.at for fault in plan.faults) < plan.creates[-10].at


@pytest.mark.timeout(1800)
def test_no_promise_is_broken_while_everything_breaks(tmp_path_factory: pytest.TempPathFactory):
    """Judged by the checks of the simulation; the run is kept, and judged again it is as good."""
    kept = tmp_path_factory.mktemp("chaos") / "run.jsonl"
    plan = drawn(SEED, ORDERS, len(STRUCK), seconds=SECONDS_PER_ORDER * ORDERS, kinds=STRUCK)
    report = chaos(plan, keep=kept)
    assert [str(found) for found in report.violations] == []
    assert report.exercised["orders"] == ORDERS
    assert report.exercised["faults"].keys() == set(STRUCK)
    assert judged_again(kept).violations == []
