"""`?dryRun=true`: what a command would do is what it does, and asking leaves nothing behind."""

from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.integration.doors import Doors, Service, open_doors
from tests.integration.hostile import ADDRESS, ORDER

pytestmark = pytest.mark.asyncio(loop_scope="module")

MOVED = {**ADDRESS, "street": "18 Secret Orchard"}
BECAUSE = {"reason": "changed my mind"}

COMMANDS: list[tuple[Service, str, str, dict[str, Any] | None]] = [
    ("orders", "POST", "/orders/{order}/fulfillment/pause", None),
    ("orders", "POST", "/orders/{order}/fulfillment/resume", None),
    ("orders", "POST", "/orders/{order}/holds", {"reason": "FRAUD_RISK", "handle": "fraud-7"}),
    ("orders", "DELETE", "/orders/{order}/holds?handle=fraud-7", None),
    ("orders", "PATCH", "/orders/{order}", {"shippingAddress": MOVED, "instructions": "ring twice"}),
    ("orders", "DELETE", "/orders/{order}", BECAUSE),
    ("fulfillments", "POST", "/fulfillments/{parcel}/pause", None),
    ("fulfillments", "POST", "/fulfillments/{parcel}/resume", None),
    ("fulfillments", "POST", "/fulfillments/{parcel}/holds", {"reason": "QUALITY", "handle": "shelf-7"}),
    ("fulfillments", "DELETE", "/fulfillments/{parcel}/holds?handle=shelf-7", None),
    ("fulfillments", "PATCH", "/fulfillments/{parcel}/shipping-address", MOVED),
    ("fulfillments", "POST", "/fulfillments/{parcel}/cancel", BECAUSE),
]
"""In this order, each one on what the ones before it left."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(orders_url: str, fulfillments_url: str) -> AsyncGenerator[Doors]:
    async with open_doors(orders_url, fulfillments_url) as doors:
        yield doors


async def ask(
    doors: Doors, service: Service, method: str, path: str, body: Any = None, *, dry: bool, key: str = "k"
) -> httpx.Response:
    query = ("&" if "?" in path else "?") + "dryRun=true" if dry else ""
    return await doors.http[service].request(
        method, path + query, json=body, headers={"Idempotency-Key": key, "X-Actor": "rehearser"}
    )


async def recorded(doors: Doors, service: Service, stream: str) -> list[str]:
    rows = await doors.databases[service].fetch(
        "select type from events where stream = %(stream)s order by version", stream=stream
    )
    return [row["type"] for row in rows]


async def test_what_would_happen_is_what_happens(doors: Doors):
    """Each command is rehearsed, leaves not one row and no key, and then leads to the very same facts."""
    order_id = await doors.order(ORDER)
    parcel = await doors.parcel(order_id, ADDRESS)
    streams: dict[Service, str] = {"orders": f"order-{order_id}", "fulfillments": f"fulfillment-{parcel}"}
    for number, (service, method, template, body) in enumerate(COMMANDS):
        key = f"key-{number}"
        path = template.format(order=order_id, parcel=parcel)
        before, known = await doors.stored(), await recorded(doors, service, streams[service])
        rehearsed = await ask(doors, service, method, path, body, dry=True, key=key)
        assert (rehearsed.status_code, rehearsed.json()["dryRun"]) == (200, True), rehearsed.text
        assert "commandId" not in rehearsed.json()
        assert await doors.stored() == before

        done = await ask(doors, service, method, path, body, dry=False, key=key)
        assert done.status_code == 200, done.text
        assert "Idempotent-Replayed" not in done.headers
        new = (await recorded(doors, service, streams[service]))[len(known) :]
        assert [each["type"] for each in rehearsed.json()["facts"]] == new
        assert rehearsed.json()["receiptStatus"] == done.json()["status"]
        shown = await doors.http[service].get(f"/{service}/{order_id}")
        assert rehearsed.json()["status"] == shown.json()["status"]


async def test_a_refusal_is_rehearsed_as_a_refusal(doors: Doors):
    """The same problem as the command's own, without a receipt that nobody could look up."""
    order_id = await doors.order(ORDER)
    parcel = await doors.parcel(order_id, ADDRESS)
    path = f"/fulfillments/{parcel}/steps/quality/complete"
    before = await doors.stored()
    rehearsed = await ask(doors, "fulfillments", "POST", path, dry=True)
    assert await doors.stored() == before
    real = await ask(doors, "fulfillments", "POST", path, dry=False)
    assert (rehearsed.status_code, real.status_code) == (409, 409)
    same = {"code", "detail", "currentStatus", "currentStep", "allowedActions"}
    assert {name: rehearsed.json()[name] for name in same} == {name: real.json()[name] for name in same}
    assert rehearsed.json()["dryRun"] is True
    assert "commandId" not in rehearsed.json()


async def test_a_standing_hold_can_be_rehearsed(doors: Doors):
    """Placing and lifting: nothing is frozen, and the handle is free afterwards."""
    order_id = await doors.order(ORDER)
    parcel = await doors.parcel(order_id, ADDRESS)
    place = {"kind": "sku", "value": "TEAPOT", "reason": "QUALITY", "handle": "recall-7"}
    commands = (
        ("POST", "/standing-holds", place, "StandingHoldPlaced"),
        ("DELETE", "/standing-holds/recall-7", None, "StandingHoldLifted"),
    )
    for method, path, body, fact in commands:
        before = await doors.stored()
        rehearsed = await ask(doors, "fulfillments", method, path, body, dry=True)
        assert rehearsed.status_code == 200, rehearsed.text
        assert [each["type"] for each in rehearsed.json()["facts"]] == [fact]
        assert await doors.stored() == before
        done = await ask(doors, "fulfillments", method, path, body, dry=False)
        assert done.status_code == 200, done.text
        receipt = await doors.http["fulfillments"].get(f"/commands/{done.json()['commandId']}")
        assert [each["type"] for each in receipt.json()["facts"]] == [fact]
    assert (await doors.http["fulfillments"].get(f"/fulfillments/{parcel}")).json()["holds"] == []


async def test_an_order_can_be_rehearsed(doors: Doors):
    """Nothing is placed, the key is free afterwards, and an article that is not sold is said at once."""
    before = await doors.stored()
    for path, body in (("/orders", ORDER), ("/orders/demo", None)):
        rehearsed = await ask(doors, "orders", "POST", path, body, dry=True, key="new-order")
        told = rehearsed.json()
        assert (rehearsed.status_code, told["status"], told["receiptStatus"]) == (200, "PENDING", "EFFECTIVE")
        assert [fact["type"] for fact in told["facts"]] == ["OrderPlaced"]
        assert told["facts"][0]["data"]["totalMinor"] > 0
    unsold = {**ORDER, "items": [{"sku": "NO-SUCH", "quantity": 1, "unitPriceMinor": 1}]}
    unknown = await ask(doors, "orders", "POST", "/orders", unsold, dry=True)
    assert (unknown.status_code, unknown.json()["code"]) == (422, "UNKNOWN_SKU")
    assert await doors.stored() == before
    placed = await ask(doors, "orders", "POST", "/orders", ORDER, dry=False, key="new-order")
    assert (placed.status_code, "Idempotent-Replayed" in placed.headers) == (201, False)


async def test_a_rehearsal_is_tied_to_the_version_that_was_read(doors: Doors):
    """If-Match means the same as for the command."""
    order_id = await doors.order(ORDER)
    stale = await doors.http["orders"].request(
        "DELETE", f"/orders/{order_id}?dryRun=true", json=BECAUSE, headers={"If-Match": '"7"'}
    )
    assert (stale.status_code, stale.json()["code"]) == (412, "VERSION_MISMATCH")
