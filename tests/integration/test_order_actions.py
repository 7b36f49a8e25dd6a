"""`GET /orders/{id}/actions`: each call that is offered works, each other one is refused as it says."""

from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from contracts.chassis.event_store import Cause
from contracts.chassis.postgres import Connection
from contracts.order import FulfillmentCompleted, stream
from order_service.bootstrap import journal_of
from order_service.events import OrderEvent
from order_service.order import Order, payment, steps
from tests.integration.doors import Doors, open_doors
from tests.integration.hostile import ADDRESS, ORDER

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WAY: list[Callable[[Order], Sequence[OrderEvent]]] = [
    lambda order: steps.hold_stock(order, short_of=None),
    payment.request_authorization,
    lambda order: payment.authorized(order, reference="auth_1", expires_at=NOW + timedelta(days=7), now=NOW),
    steps.confirm,
    steps.fulfillment_started,
    lambda order: steps.complete(order, FulfillmentCompleted(n=1, outcome="SHIPPED", version=9)),
]
"""An order's life as its workflow would drive it."""
CALLS: dict[str, tuple[str, str, Any]] = {
    "cancel": ("DELETE", "", {"reason": "changed my mind"}),
    "pause": ("POST", "/fulfillment/pause", None),
    "resume": ("POST", "/fulfillment/resume", None),
    "hold": ("POST", "/holds", {"reason": "OTHER"}),
    "release": ("DELETE", "/holds", None),
    "updateAddress": ("PATCH", "", {"shippingAddress": ADDRESS}),
    "updateContact": ("PATCH", "", {"contact": {"name": "Adalia", "email": "adalia@example.com"}}),
    "updateInstructions": ("PATCH", "", {"instructions": "ring twice"}),
    "resolveException": ("POST", "/exceptions/resolve", None),
    "skipException": ("POST", "/exceptions/resolve", {"resolution": "skip"}),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(orders_url: str, fulfillments_url: str) -> AsyncGenerator[Doors]:
    async with open_doors(orders_url, fulfillments_url) as doors:
        yield doors


async def goes_on(doors: Doors, order_id: str, decision: Callable[[Order], Sequence[OrderEvent]]) -> None:
    async def decide(_: Connection, order: Order | None) -> Sequence[OrderEvent]:
        assert order is not None
        return decision(order)

    await journal_of(doors.databases["orders"]).change(stream(order_id), Cause("test"), decide)


async def is_as_told(doors: Doors, order_id: str) -> set[str]:
    """Every action was tried, without doing it, and is what the horizon says; the names of the allowed."""
    door = doors.http["orders"]
    told = (await door.get(f"/orders/{order_id}/actions")).json()
    assert [action["name"] for action in told["actions"]] == list(CALLS)
    for action in told["actions"]:
        method, path, body = CALLS[action["name"]]
        if action["allowed"]:
            call = action["call"]
            assert (call["method"], call["path"]) == (method, f"/orders/{order_id}{path}")
            assert (call["body"] or {}).keys() == (body or {}).keys()
        tried = await door.request(method, f"/orders/{order_id}{path}?dryRun=true", json=body)
        answer = tried.json()
        if "code" in action:
            assert (tried.status_code, answer["code"]) == (409, action["code"])
            assert answer.get("cutOff") == action.get("cutOff")
            assert answer["allowedActions"] == told["allowedActions"]
        else:
            assert tried.status_code == 200, tried.text
            assert bool(answer["facts"]) == action["allowed"]
            is_passed_on = answer["receiptStatus"] == "RECEIVED"
            assert (action["answeredBy"] == "fulfillment") == is_passed_on
    shown = (await door.get(f"/orders/{order_id}")).json()
    assert shown["allowedActions"] == told["allowedActions"]
    assert shown["version"] == int((await door.get(f"/orders/{order_id}/actions")).headers["ETag"].strip('"'))
    return {*told["allowedActions"]}


async def test_at_every_stage_the_actions_are_what_the_commands_do(doors: Doors):
    """From the placing to the carrier, with a hold and a pause on the way."""
    order_id = await doors.order(ORDER)
    door = doors.http["orders"]
    assert "updateInstructions" in await is_as_told(doors, order_id)
    await door.post(f"/orders/{order_id}/fulfillment/pause")
    await door.post(f"/orders/{order_id}/holds", json={"reason": "FRAUD_RISK"})
    assert {"resume", "release"} <= await is_as_told(doors, order_id)
    await door.delete(f"/orders/{order_id}/holds")
    for decision in WAY:
        assert await is_as_told(doors, order_id)
        await goes_on(doors, order_id, decision)
    assert await is_as_told(doors, order_id) == set()


async def test_an_order_that_is_being_cancelled_tells_so(doors: Doors):
    """Before the boundary and after it."""
    for steps_before in (2, 5):
        order_id = await doors.order(ORDER)
        for decision in WAY[:steps_before]:
            await goes_on(doors, order_id, decision)
        await doors.http["orders"].request("DELETE", f"/orders/{order_id}", json={"reason": "late"})
        assert "cancel" in await is_as_told(doors, order_id)


async def test_actions_of_an_order_that_nobody_placed(doors: Doors):
    """404, as everywhere."""
    answer = await doors.http["orders"].get("/orders/ORD-1700000000000-ABCDEFGHI/actions")
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
    assert "GET /orders" in answer.json()["detail"]
