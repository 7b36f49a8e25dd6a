"""`kill -9` of each process in turn while twenty orders run: every order ships, and nothing happens twice.

The rounds run one after the other and are looked at together at the end, because what a dead worker had in
hand is given to another one only after its time is over (10 seconds a workflow task, 40 a provider call)."""

from collections.abc import Mapping

import pytest

from deploy.local.stack import Stack
from tests.e2e.crowd import TWENTY, Crowd
from tests.e2e.people import Engineer, Shop

VICTIMS = (
    "order-worker",
    "fulfillment-worker",
    "temporal",
    "postgres",
    "kafka",
    "order-relay",
    "fulfillment-relay",
    "order-consumer",
    "fulfillment-consumer",
    "order-api",
    "fulfillment-api",
    "sandbox",
)


@pytest.fixture(scope="module")
def crowd(rough_stack: Stack) -> Crowd:
    return Crowd(Shop(rough_stack.url("order_service")), Engineer(rough_stack))


@pytest.fixture(scope="module")
def rounds(rough_stack: Stack, crowd: Crowd) -> Mapping[str, list[str]]:
    """The twenty orders of each victim: half were on their way when it died, half came before it was back."""
    placed: dict[str, list[str]] = {}
    for victim in VICTIMS:
        process = rough_stack[victim]
        pid = process.pid
        placed[victim] = crowd.place(victim, range(TWENTY // 2))
        process.kill()
        placed[victim] += crowd.place(victim, range(TWENTY // 2, TWENTY))
        process.wait_ready()
        assert process.pid != pid
    crowd.settle([order for orders in placed.values() for order in orders], within_seconds=120)
    return placed


@pytest.mark.timeout(240)
@pytest.mark.parametrize("victim", VICTIMS)
def test_orders_ship_once_although_a_process_was_killed(
    crowd: Crowd, rounds: Mapping[str, list[str]], victim: str
):
    """Shipped, charged, labelled and handed over once each, and the view knows it, whoever died meanwhile."""
    assert crowd.troubles(rounds[victim]) == {}


def test_a_shop_that_asks_again_while_the_api_dies_places_one_order(
    crowd: Crowd, rounds: Mapping[str, list[str]]
):
    """The key, and not the connection, is what makes an order one order."""
    assert len({order for orders in rounds.values() for order in orders}) == TWENTY * len(VICTIMS)
    assert crowd.doubles() == {}


def test_what_a_broker_forgot_is_published_again(crowd: Crowd, rounds: Mapping[str, list[str]]):
    """The embedded broker lost every record when it died; nothing waits in an outbox, nothing is parked."""
    for database in ("orders", "fulfillments"):
        left = crowd.engineer.rows(
            database,
            """
            select (select count(*) from outbox where published_at is null) as unpublished,
                   (select count(*) from parked where outcome is null) as parked,
                   (select count(*) from knocks) as knocks
            """,
        )
        assert left == [{"unpublished": 0, "parked": 0, "knocks": 0}]
