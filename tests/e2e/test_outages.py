"""What goes on while the engines are away, and what catches up by itself when they return."""

import pytest

from deploy.local.stack import Stack
from tests.e2e.crowd import Crowd
from tests.e2e.people import Engineer, Shop

TWENTY = 20


@pytest.fixture
def crowd(rough_stack: Stack) -> Crowd:
    return Crowd(Shop(rough_stack.url("order_service")), Engineer(rough_stack))


def test_orders_are_taken_without_temporal_and_kafka_and_ship_when_they_return(
    rough_stack: Stack, crowd: Crowd
):
    """The door needs PostgreSQL alone, and nobody has to do anything afterwards."""
    engines = (rough_stack["temporal"], rough_stack["kafka"])
    for engine in engines:
        engine.stop()
    orders = [crowd.shop.place() for _ in range(TWENTY)]
    assert crowd.shop.http.get("/health/ready").status_code == 200

    changed_its_mind, *staying = orders
    cancelled = crowd.shop.cancel(changed_its_mind)
    assert cancelled.status_code == 200
    assert all(crowd.engineer.facts(order) == ["OrderPlaced"] for order in staying)

    for engine in engines:
        engine.start()
    crowd.settle(staying, within_seconds=60)
    assert crowd.troubles(staying) == {}
    assert crowd.shop.sees_end(changed_its_mind)["status"] == "CANCELLED"
    assert crowd.shop.receipt(cancelled.json()["commandId"])["status"] == "EFFECTIVE"
    assert crowd.engineer.effects("payments", changed_its_mind) == []
