"""What becomes of parked orders when the workers are of another release; a story that is not so raises."""

import asyncio
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
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
from tests.proof.upgrade.parked import (
    EMAIL,
    NAME,
    PATIENCE_SECONDS,
    STREET,
    WAYS,
    Parked,
    People,
    come_to_rest,
    go_on,
    placed,
    wake,
)
from tests.proof.upgrade.releases import BAD, HERE, NEXT, PLAIN

BEHIND_NEW_STEPS = [way for way in WAYS if way.name in ("waiting for pick:1", "waiting for hand-over")]


def back(house: House, people: People) -> None:
    """Back: where the workflows' steps are the same, what is new in facts and messages is no obstacle."""
    parked = placed(people, WAYS, "back")
    with house.crew(PLAIN):
        come_to_rest(people, parked)
        confirmed = {each.order_id for each in parked if each.way.new_steps < 2}
    with house.crew(HERE):
        go_on(people, parked)
        _nothing_is_wrong(house, people)
    assert _by_the_next_release(house, parked) == confirmed


def forward(house: House, people: People) -> None:
    """Forward: new steps are taken by whoever has not come to them yet, and by nobody else."""
    parked, doomed = placed(people, WAYS, "forward"), placed(people, BEHIND_NEW_STEPS, "doomed")
    with house.crew(HERE):
        come_to_rest(people, [*parked, *doomed])
    with house.crew(BAD, is_judged=False):  # the same steps, without a guard
        wake(people, doomed)
        _are_stuck(people, doomed)
    with house.crew(NEXT):
        go_on(people, [*parked, *doomed])
        _nothing_is_wrong(house, people)
    taken = {each.way.name: people.temporal.patches(*each.workflow) for each in parked}
    assert taken == {each.way.name: each.way.new_steps for each in parked}, taken


def back_across_new_steps(house: House, people: People) -> None:
    """Whoever took a new step is stuck, and lost is nobody: reset, it goes on from its stream."""
    parked = placed(people, WAYS, "across")
    with house.crew(NEXT):
        come_to_rest(people, parked)
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


def back_by_version(house: House, people: People) -> None:
    """Pinned, an order ends on the release it began with, whatever is current and however they differ."""
    first = placed(people, WAYS, "first")
    with house.crew(HERE, build="1"):
        _make_current(people, "1")
        come_to_rest(people, first)
        with house.crew(BAD, build="2"):
            _make_current(people, "2")
            second = placed(people, [way for way in WAYS if way.first is None], "second")
            come_to_rest(people, second)
            _make_current(people, "1")
            third = placed(people, BEHIND_NEW_STEPS, "third")
            come_to_rest(people, third)
            go_on(people, [*first, *second, *third])
            _nothing_is_wrong(house, people)
    for build, parked in (("1", first), ("2", second), ("1", third)):
        found = {str(each): people.temporal.build(*each.workflow) for each in parked}
        assert found == dict.fromkeys(map(str, parked), build), found
    assert _by_the_next_release(house, [*first, *third]) == set()


STORIES: Sequence[Callable[[House, People], None]] = (back, forward, back_across_new_steps, back_by_version)
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
                except AssertionError as error:
                    broken.append(Violation(LOST, f"{story.__name__}: {error}"))
                took[story.__name__] = round(time.monotonic() - at, 1)
    exercised = {"orders": len(people.placed), "states": len(WAYS), "seconds": took}
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


def _nothing_is_wrong(house: House, people: People) -> None:
    """Once nothing moves any more, with all that has happened in the house."""

    async def record() -> list[str]:
        stores = Stores(house)
        await settled(house, stores, print)
        found = await recorded(house, stores, Journal(placed=people.placed), [])
        found.personal |= {STREET, NAME, EMAIL}
        # What was reset goes on in another run.
        found.workflows = [each for each in found.workflows if each.status != "terminated"]
        return [str(each) for each in judged(found)]

    wrong = asyncio.run(record())
    assert not wrong, "\n".join(wrong)
