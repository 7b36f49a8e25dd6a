"""Holds and exceptions over the order service's door, with nobody behind it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from contracts.chassis.event_store import Cause
from contracts.chassis.postgres import Connection
from contracts.order import stream
from contracts.values import Code
from order_service.bootstrap import journal_of
from order_service.events import ExceptionRaised, ExceptionResolved, OrderEvent
from order_service.order import Order
from tests.integration.doors import Doors, open_doors
from tests.integration.hostile import ADDRESS, ORDER

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(orders_url: str, fulfillments_url: str) -> AsyncGenerator[Doors]:
    async with open_doors(orders_url, fulfillments_url) as doors:
        yield doors


async def shown(doors: Doors, order_id: str) -> dict[str, Any]:
    return (await doors.http["orders"].get(f"/orders/{order_id}")).json()


async def record(doors: Doors, order_id: str, *facts: OrderEvent) -> None:
    async def decide(_: Connection, __: Order | None) -> Sequence[OrderEvent]:
        return facts

    await journal_of(doors.databases["orders"]).change(stream(order_id), Cause("test"), decide)


async def test_several_holds_stand_and_each_is_lifted_by_its_handle(doors: Doors):
    """Status and list follow; the last one lifted shows the stage again, and the note is nowhere."""
    order_id = await doors.order(ORDER)
    door, holds = doors.http["orders"], f"/orders/{order_id}/holds"
    until = datetime.now(UTC) + timedelta(days=1)
    asked = {"reason": "FRAUD_RISK", "handle": "fraud-7", "note": "ask Adalia", "until": until.isoformat()}
    placed = await door.post(holds, json=asked, headers={"X-Actor": "anna"})
    assert (placed.status_code, placed.json()["status"]) == (200, "EFFECTIVE")
    named = (await door.post(holds, json={"reason": "QUALITY"})).json()["commandId"]
    seen = await shown(doors, order_id)
    assert seen["status"] == "PAUSED"
    assert [(hold["handle"], hold["reason"], hold["holder"]) for hold in seen["holds"]] == [
        ("fraud-7", "FRAUD_RISK", "anna"), (named, "QUALITY", "anonymous"),
    ]  # fmt: skip
    assert datetime.fromisoformat(seen["holds"][0]["until"]) == until
    assert "Adalia" not in str(seen)

    again = await door.post(holds, json={"reason": "QUALITY", "handle": "fraud-7"})
    assert (again.status_code, again.json().get("firstVersion")) == (200, None)
    wrong = await door.delete(f"{holds}?handle=no-such")
    assert (wrong.status_code, wrong.json()["code"]) == (409, "HOLD_NOT_FOUND")
    assert (await door.delete(f"{holds}?handle=fraud-7")).json()["status"] == "EFFECTIVE"
    assert (await door.delete(holds)).json()["status"] == "ACCEPTED"
    seen = await shown(doors, order_id)
    assert (seen["status"], seen["holds"]) == ("PENDING", [])


async def test_a_pause_may_have_an_end_and_a_resume_one_handle(doors: Doors):
    """Kept for the parcel with all it says; the order itself is not paused."""
    order_id = await doors.order(ORDER)
    door, path = doors.http["orders"], f"/orders/{order_id}/fulfillment"
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    first = (await door.post(f"{path}/pause", json={"until": until, "note": "Adalia asked"})).json()
    second = (await door.post(f"{path}/pause")).json()
    seen = await shown(doors, order_id)
    assert (seen["status"], len(seen["holdsForFulfillment"])) == ("PENDING", 2)
    await door.post(f"{path}/resume", json={"handle": first["commandId"]})
    kept = (await shown(doors, order_id))["holdsForFulfillment"]
    assert [hold["handle"] for hold in kept] == [second["commandId"]]


async def test_a_hold_that_would_be_over_is_not_placed(doors: Doors):
    """Whoever mistook the day hears of it; a hold that was placed in time is answered from its receipt."""
    order_id = await doors.order(ORDER)
    door, holds = doors.http["orders"], f"/orders/{order_id}/holds"
    over = {"reason": "OTHER", "until": "2026-01-01T00:00:00Z"}
    answer = await door.post(holds, json=over)
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_REQUEST")
    soon = {"reason": "OTHER", "until": (datetime.now(UTC) + timedelta(milliseconds=300)).isoformat()}
    first = await door.post(holds, json=soon, headers={"Idempotency-Key": "soon"})
    await asyncio.sleep(0.4)
    again = await door.post(holds, json=soon, headers={"Idempotency-Key": "soon"})
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.headers["Idempotent-Replayed"] == "true"


async def test_orders_that_need_a_person_are_listed_longest_first(doors: Doors):
    """Each since it was raised, whatever happened to it later; one that was settled is gone."""
    orders = [await doors.order(ORDER) for _ in range(3)]
    for order_id in orders:
        await record(doors, order_id, ExceptionRaised(step_key="capture", code=Code.CAPTURE_FAILED))
    await record(doors, orders[1], ExceptionResolved(step_key="capture", code=Code.CAPTURE_FAILED))
    since = (await doors.http["orders"].get("/exceptions")).json()["exceptions"][0]["raisedAt"]
    contact = {"contact": {"name": "Adalia", "email": "adalia@example.com"}}
    await doors.http["orders"].patch(f"/orders/{orders[0]}", json=contact)
    listed = (await doors.http["orders"].get("/exceptions")).json()["exceptions"]
    assert [each["orderId"] for each in listed] == [orders[0], orders[2]]
    assert (listed[0]["code"], listed[0]["stepKey"], listed[0]["raisedAt"]) == (
        "CAPTURE_FAILED", "capture", since,
    )  # fmt: skip
    few = (await doors.http["orders"].get("/exceptions?limit=1")).json()["exceptions"]
    assert [each["orderId"] for each in few] == [orders[0]]


async def test_the_country_may_change_until_the_parcel_is_asked_for(doors: Doors):
    """The order then goes there."""
    order_id = await doors.order(ORDER)
    moved = {"shippingAddress": {**ADDRESS, "country": "Canada"}}
    answer = await doors.http["orders"].patch(f"/orders/{order_id}", json=moved)
    assert answer.status_code == 200
    change = await journal_of(doors.databases["orders"]).read(stream(order_id))
    assert change is not None
    assert (change.state.country, change.state.address_version) == ("Canada", 2)
