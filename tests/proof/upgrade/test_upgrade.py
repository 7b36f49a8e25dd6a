"""Orders parked in every state by the workers of one release are finished by those of another."""

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial

import pytest

from tests.e2e.people import Engineer, eventually
from tests.proof.chaos.ending import recorded, settled
from tests.proof.chaos.people import Journal
from tests.proof.chaos.run import judged
from tests.proof.chaos.stores import Stores
from tests.proof.upgrade.house import House
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
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("upgrade")) as house:
        yield house


@pytest.fixture(scope="module")
def people(house: House) -> People:
    return People(house)


def test_what_the_next_release_began_this_one_finishes(house: House, people: People):
    """Back: where the workflows' steps are the same, what is new in facts and messages is no obstacle."""
    parked = placed(people, WAYS, "back")
    with house.crew(PLAIN):
        come_to_rest(people, parked)
        confirmed = {each.order_id for each in parked if each.way.new_steps < 2}
    with house.crew(HERE):
        go_on(people, parked)
        assert _violations(house, people) == []
    assert _by_the_next_release(house, parked) == confirmed


def test_what_this_release_began_the_next_one_finishes(house: House, people: People):
    """Forward: new steps are taken by whoever has not come to them yet, and by nobody else."""
    parked, doomed = placed(people, WAYS, "forward"), placed(people, BEHIND_NEW_STEPS, "doomed")
    with house.crew(HERE):
        come_to_rest(people, [*parked, *doomed])
    with house.crew(BAD, is_judged=False):
        wake(people, doomed)
        _all_are_stuck(people, doomed)
    with house.crew(NEXT):
        go_on(people, [*parked, *doomed])
        assert _violations(house, people) == []
    taken = {each.way.name: people.temporal.patches(*each.workflow) for each in parked}
    assert taken == {each.way.name: each.way.new_steps for each in parked}


def _all_are_stuck(people: People, parked: Sequence[Parked]) -> None:
    """The same steps without their guards: no workflow that is past them can be read any more."""
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


def _violations(house: House, people: People) -> list[str]:
    """Once nothing moves any more: whatever is wrong with all that has happened in the house."""

    async def record() -> list[str]:
        stores = Stores(house)
        await settled(house, stores, print)
        found = await recorded(house, stores, Journal(placed=people.placed), [])
        found.personal |= {STREET, NAME, EMAIL}
        return [str(each) for each in judged(found)]

    return asyncio.run(record())
