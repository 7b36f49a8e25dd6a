"""What becomes of parked orders when the workers are of another release; a story that is not so raises."""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from deploy.local.processes import Service
from tests.e2e.people import Engineer, eventually
from tests.proof.chaos.ending import recorded, settled
from tests.proof.chaos.people import Journal
from tests.proof.chaos.run import judged
from tests.proof.chaos.stores import Stores
from tests.proof.checks import Violation
from tests.proof.record import Service as Namespace
from tests.proof.report import Report
from tests.proof.upgrade.house import House, deployment
from tests.proof.upgrade.parked import Parked, come_to_rest, go_on, meanwhile, placed, wake
from tests.proof.upgrade.people import EMAIL, NAME, STREET, People
from tests.proof.upgrade.releases import BAD, HERE, NEXT, PLAIN
from tests.proof.upgrade.ways import PATIENCE_SECONDS, RENEWED, UNANSWERED, WAYS

BEHIND_NEW_STEPS = [way for way in WAYS if way.name in ("waiting for pick:1", "waiting for hand-over")]


def back(house: House, people: People) -> None:
    """Back: where the workflows' steps are the same, what is new in facts and messages is no obstacle."""
    parked = placed(people, [*WAYS, *UNANSWERED], "back")
    with house.crew(PLAIN):
        come_to_rest(people, parked)
        confirmed = {each.order_id for each in parked if each.way.new_steps < 2}
    meanwhile(people, parked)
    with house.crew(HERE):
        go_on(people, parked)
        _nothing_is_wrong(house, people)
    found = _by_the_next_release(house, parked)
    assert found == confirmed, f"it confirmed {found}, not {confirmed}"


def forward(house: House, people: People) -> None:
    """Forward: new steps are taken by whoever has not come to them yet, and by nobody else."""
    doomed = placed(people, BEHIND_NEW_STEPS, "doomed")
    with house.crew(HERE):
        come_to_rest(people, doomed)
    with house.crew(BAD, is_judged=False):  # the same steps, without a guard
        wake(people, doomed)
        _are_stuck(people, doomed)
    parked = placed(people, [*WAYS, *UNANSWERED], "forward")
    with house.crew(HERE):
        come_to_rest(people, parked)
    meanwhile(people, parked)
    with house.crew(NEXT):
        go_on(people, [*parked, *doomed])
        _nothing_is_wrong(house, people)
    taken = {each.way.name: people.temporal.patches(*each.workflow) for each in parked}
    assert taken == {each.way.name: each.way.new_steps for each in parked}, taken


def back_across_new_steps(house: House, people: People) -> None:
    """Whoever took a new step is stuck, and lost is nobody: reset, it goes on from its stream."""
    parked = placed(people, [*WAYS, *UNANSWERED, RENEWED], "across")
    with house.crew(NEXT):
        come_to_rest(people, parked)
    meanwhile(people, parked)
    stuck = [each for each in parked if each.way.new_steps < 2]
    with house.crew(HERE, is_judged=False):
        wake(people, stuck)
        _are_stuck(people, stuck)
        for namespace, patches in _PATCHES.items():
            met = " or ".join(f"TemporalChangeVersion = '{patch}'" for patch in patches)
            query = f"ExecutionStatus = 'Running' and ({met})"
            reset = ("workflow", "reset", "--type", "FirstWorkflowTask", "--reason", "back", "--yes")
            assert people.temporal.line(namespace, *reset, "--query", query)
        go_on(people, parked)
        _nothing_is_wrong(house, people)


def both_at_once(house: House, people: People) -> None:
    """In the middle of a rolling upgrade: each release's doors, relays, consumers and workers meet what the
    other's have begun, and people go to either."""
    with ExitStack() as new:
        others = people.at(new.enter_context(house.crew(PLAIN, roles=("api", "relay"))))
        with house.crew(HERE):
            theirs = placed(others, WAYS, "theirs")
            come_to_rest(others, theirs)
            new.enter_context(house.crew(PLAIN))
            new.enter_context(house.without_consumers())
            new.enter_context(house.crew(PLAIN, roles=("consumer",)))
            meanwhile(others, theirs)
            go_on(people, theirs)
            ours = placed(people, [*WAYS, *UNANSWERED], "ours")
            come_to_rest(people, ours)
        meanwhile(people, ours)
        go_on(others, ours)
        _nothing_is_wrong(house, people)
    assert _by_the_next_release(house, ours), "its workers had nothing to do"


def back_by_version(house: House, people: People) -> None:
    """Pinned, an order ends on the release it began with, whatever is current and however they differ."""
    first = placed(people, WAYS, "first")
    with house.crew(HERE, build="1"):
        _make_current(people, "1")
        come_to_rest(people, first)
        with house.crew(BAD, build="2", roles=("api", "relay", "worker")) as doors:
            _make_current(people, "2")
            second = placed(people.at(doors), [way for way in WAYS if way.first is None], "second")
            come_to_rest(people, second)
            _make_current(people, "1")
            third = placed(people, BEHIND_NEW_STEPS, "third")
            come_to_rest(people, third)
            meanwhile(people, [*first, *second])
            go_on(people, [*first, *second, *third])
            _nothing_is_wrong(house, people)
    for build, parked in (("1", first), ("2", second), ("1", third)):
        found = {str(each): people.temporal.build(*each.workflow) for each in parked}
        assert found == dict.fromkeys(map(str, parked), build), found
    found = _by_the_next_release(house, [*first, *third])
    assert not found, f"build 2 confirmed {found}"


STORIES: Sequence[Callable[[House, People], None]] = (
    back,
    forward,
    both_at_once,
    back_across_new_steps,
    back_by_version,
)
LOST = "an upgrade loses nothing"


def upgrades() -> Report:
    """All stories, one after the other, in one house."""
    began, broken, took = time.monotonic(), list[Violation](), dict[str, Any]()
    with tempfile.TemporaryDirectory(prefix="tandem-upgrade-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        with House(folder) as house:
            people = People(house)
            for story in STORIES:
                at = time.monotonic()
                try:
                    story(house, people)
                except Exception as error:  # whatever broke it is told, and the others have their turn
                    what = f"{type(error).__name__} {error}"
                    broken.append(Violation(LOST, f"{story.__name__}: {what}"))
                took[story.__name__] = round(time.monotonic() - at, 1)
    exercised = {"orders": len(people.placed), "states": len([*WAYS, *UNANSWERED, RENEWED]), "took": took}
    return Report(0, broken, exercised, time.monotonic() - began)


_PATCHES: Mapping[Namespace, Sequence[str]] = {
    "orders": ("screened", "checked"),
    "fulfillments": ("received", "weighed"),
}


def _make_current(people: People, build: str) -> None:
    """New workflows begin on that build, of both deployments; refused until its workers are known."""
    for namespace, service in _DEPLOYMENTS.items():
        line = ("worker", "deployment", "set-current-version", "--yes")
        names = ("--deployment-name", deployment(service), "--build-id", build)
        eventually(
            partial(people.temporal.line, namespace, *line, *names), bool, within_seconds=PATIENCE_SECONDS
        )


_DEPLOYMENTS: Mapping[Namespace, Service] = {
    "orders": "order_service",
    "fulfillments": "fulfillment_service",
}


def _are_stuck(people: People, parked: Sequence[Parked]) -> None:
    """These workers cannot make sense of any of their histories."""
    for each in parked:
        for workflow in each.workflows:
            eventually(
                partial(people.temporal.failures, *workflow),
                lambda causes: "NON_DETERMINISTIC_ERROR" in causes,
                within_seconds=PATIENCE_SECONDS,
            )


def _by_the_next_release(house: House, parked: Sequence[Parked]) -> set[str]:
    """Those of them that it confirmed: it writes down who screened them."""
    query = "select stream from events where type = 'OrderConfirmed' and data ->> 'screened_by' = 'us'"
    streams = {row["stream"].removeprefix("order-") for row in Engineer(house).rows("orders", query)}
    return streams & {each.order_id for each in parked}


def _say(line: str) -> None:
    """Beside the report, which may be one JSON object."""
    print(line, file=sys.stderr, flush=True)


def _nothing_is_wrong(house: House, people: People) -> None:
    """Once nothing moves any more, with all that has happened in the house."""

    async def record() -> list[str]:
        stores = Stores(house)
        await settled(house, stores, _say)
        found = await recorded(house, stores, Journal(placed=people.placed), [])
        found.personal |= {STREET, NAME, EMAIL}
        # What was reset goes on in another run.
        found.workflows = [each for each in found.workflows if each.status != "terminated"]
        # Whoever was stuck with a wrong release was told of, as it should be.
        found.reconciled = [each for each in found.reconciled if each.kind != "NO_PROGRESS"]
        return [str(each) for each in judged(found)]

    wrong = asyncio.run(record())
    assert not wrong, "\n".join(wrong)
