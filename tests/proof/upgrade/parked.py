"""Orders that wait, each in its way, and all that is done with them at once."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from contracts import order as contract
from tests.e2e.people import eventually, parcel_workflow
from tests.proof.record import Service as Namespace
from tests.proof.upgrade.people import People
from tests.proof.upgrade.ways import PATIENCE_SECONDS, Way

AT_ONCE = 4


@dataclass(frozen=True)
class Parked:
    """An order that waits."""

    way: Way
    order_id: str

    def __str__(self) -> str:
        return f"{self.order_id}, {self.way.name}"

    @property
    def workflow(self) -> tuple[Namespace, str]:
        """The order's: namespace and id."""
        return "orders", contract.workflow_id(self.order_id)

    @property
    def resting(self) -> list[tuple[Namespace, str]]:
        """Those of them that nobody works for."""
        return self.workflows[1:] if self.way.has_call else self.workflows

    @property
    def workflows(self) -> list[tuple[Namespace, str]]:
        """All that run."""
        parcel: tuple[Namespace, str] = ("fulfillments", parcel_workflow(self.order_id))
        return [self.workflow, parcel] if self.way.has_parcel else [self.workflow]


def _together(do: Callable[[Parked], object], these: Sequence[Parked]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(do, these))


def placed(people: People, ways: Sequence[Way], key: str) -> list[Parked]:
    """An order for each way; nobody works."""
    found: list[Parked] = []
    for number, way in enumerate(ways, start=1):
        order_id = people.place(f"{key}-{number}", **way.order)
        if way.first:
            way.first(people, order_id)
        found.append(Parked(way, order_id))
    return found


def come_to_rest(people: People, parked: Sequence[Parked]) -> None:
    """Each is where it waits, and so Temporal has it."""
    _together(lambda each: each.way.comes(people, each.order_id), [p for p in parked if not p.way.is_late])
    for each in parked:
        if each.way.is_late:
            each.way.comes(people, each.order_id)
    for each in parked:
        for workflow in each.resting:
            eventually(partial(people.temporal.rests, *workflow), bool, within_seconds=PATIENCE_SECONDS)


def meanwhile(people: People, parked: Sequence[Parked]) -> None:
    """What is asked for while nobody works is."""
    for each in parked:
        if each.way.between:
            each.way.between(people, each.order_id)


def wake(people: People, parked: Sequence[Parked]) -> None:
    """Their workflows are told to look again."""
    for each in parked:
        for namespace, workflow_id in each.workflows:
            people.temporal.knock(namespace, workflow_id)


def go_on(people: People, parked: Sequence[Parked]) -> None:
    """Whatever keeps them is gone, and all have ended as they should."""
    if any(each.way.has_call for each in parked):
        people.turns_breaker("reset")
    _together(lambda each: each.way.goes_on(people, each.order_id), parked)
    for each in parked:
        seen = people.shop.sees_end(each.order_id, PATIENCE_SECONDS)
        assert seen["status"] == each.way.ends, f"{each} ended {seen}"
