"""The caps at the doors and by signal: 30 wishes a minute, 500 a life, the last 20 for the ways out."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx
import pytest
import pytest_asyncio

import fulfillment_service.bootstrap as fulfillments
import order_service.bootstrap as orders
from contracts.chassis.caps import LIFE, RESERVE
from contracts.chassis.postgres import Database
from contracts.envelope import Wish
from fulfillment_service.activities import FulfillmentActivities
from order_service.activities import OrderActivities
from tests.integration.doors import Doors, Service, open_doors
from tests.integration.hostile import ADDRESS, ORDER

pytestmark = pytest.mark.asyncio(loop_scope="module")

_ASKED_BEFORE = """
    insert into receipts (command_id, name, stream, actor, request_hash, status, code, received_at)
    select %(stream)s || '/' || %(code)s || n, 'pauseFulfillment', %(stream)s, 'anonymous', '', 'REJECTED',
        nullif(%(code)s, ''), now() - %(ago)s::interval
    from generate_series(1, %(times)s::int) as n
    """


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(orders_url: str, fulfillments_url: str) -> AsyncGenerator[Doors]:
    async with open_doors(orders_url, fulfillments_url) as doors:
        yield doors


async def asked_before(
    doors: Doors, service: Service, stream: str, times: int, *, ago: timedelta, code: str = ""
) -> None:
    await doors.databases[service].execute(_ASKED_BEFORE, stream=stream, times=times, ago=ago, code=code)


async def pause(doors: Doors, parcel: str) -> httpx.Response:
    return await doors.http["fulfillments"].post(f"/fulfillments/{parcel}/pause")


async def test_the_31st_wish_of_a_minute_waits(doors: Doors):
    """429 with the seconds until a place is free, and nothing stored; afterwards it is taken."""
    order_id = await doors.order(ORDER)
    parcel = await doors.parcel(order_id, ADDRESS)
    assert [(await pause(doors, parcel)).status_code for _ in range(30)] == [200] * 30
    before = await doors.stored()
    refused = await pause(doors, parcel)
    assert (refused.status_code, refused.json()["code"]) == (429, "TOO_MANY_WISHES")
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert refused.json()["retryable"] is True
    assert await doors.stored() == before

    other = await doors.parcel(await doors.order(ORDER), ADDRESS)
    assert (await pause(doors, other)).status_code == 200
    await doors.databases["fulfillments"].execute(
        "update receipts set received_at = received_at - interval '1 minute' where stream = %(stream)s",
        stream=f"fulfillment-{parcel}",
    )
    assert (await pause(doors, parcel)).status_code == 200


@pytest.mark.parametrize("wish", ["pause", "resume"])
@pytest.mark.parametrize(("before", "ago"), [(29, timedelta(0)), (499, timedelta(hours=1))])
async def test_the_last_place_is_taken_once(doors: Doors, wish: str, before: int, ago: timedelta):
    """Twelve ask for it at the same moment, whether or not what they ask for leads to a fact."""
    order_id = await doors.order(ORDER)
    parcel = await doors.parcel(order_id, ADDRESS)
    if before > LIFE - RESERVE and wish == "pause":
        before = LIFE - RESERVE - 1
    await asked_before(doors, "fulfillments", f"fulfillment-{parcel}", before, ago=ago)
    door, path = doors.http["fulfillments"], f"/fulfillments/{parcel}/{wish}"
    answers = await asyncio.gather(*(door.post(path) for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [200] + [429] * 11


async def test_a_known_command_is_answered_however_much_was_wished(doors: Doors):
    """Asking again for the stored answer is no wish."""
    order_id = await doors.order(ORDER)
    path, key = f"/orders/{order_id}/fulfillment/pause", {"Idempotency-Key": "first"}
    first = await doors.http["orders"].post(path, headers=key)
    await asked_before(doors, "orders", f"order-{order_id}", 30, ago=timedelta(0))
    again = await doors.http["orders"].post(path, headers=key)
    assert (first.status_code, again.status_code, again.headers["Idempotent-Replayed"]) == (200, 200, "true")


async def test_dry_runs_do_not_count(doors: Doors):
    """Forty of them, and the first real wish is taken."""
    order_id = await doors.order(ORDER)
    path = f"/orders/{order_id}/fulfillment/pause"
    for _ in range(40):
        assert (await doors.http["orders"].post(f"{path}?dryRun=true")).status_code == 200
    assert (await doors.http["orders"].post(path)).status_code == 200


async def test_the_end_of_a_life_is_for_the_ways_out(doors: Doors):
    """From the 481st on only cancel, release, resume and resolve are taken, from the 501st on nothing."""
    parcel = await doors.parcel(await doors.order(ORDER), ADDRESS)
    stream, door = f"fulfillment-{parcel}", doors.http["fulfillments"]
    hour = timedelta(hours=1)
    await asked_before(doors, "fulfillments", stream, 479, ago=hour)
    assert (await pause(doors, parcel)).status_code == 200
    refused = await pause(doors, parcel)
    assert (refused.status_code, refused.json()["retryable"]) == (429, False)
    assert refused.json()["allowedActions"] == ["cancel", "release", "resume", "resolve"]
    assert "Retry-After" not in refused.headers
    for _ in range(19):
        assert (await door.post(f"/fulfillments/{parcel}/resume")).status_code == 200
    assert (await door.post(f"/fulfillments/{parcel}/cancel")).status_code == 200
    none = await door.post(f"/fulfillments/{parcel}/resume")
    assert (none.status_code, none.json()["allowedActions"]) == (429, [])


async def test_what_was_refused_for_its_number_is_not_counted(doors: Doors):
    """Whoever insisted a thousand times can still be heard."""
    parcel = await doors.parcel(await doors.order(ORDER), ADDRESS)
    stream = f"fulfillment-{parcel}"
    await asked_before(doors, "fulfillments", stream, 1000, ago=timedelta(0), code="TOO_MANY_WISHES")
    assert (await pause(doors, parcel)).status_code == 200


async def receipts(database: Database, stream: str) -> list[tuple[str, str | None]]:
    rows = await database.fetch(
        "select status, code from receipts where stream = %(stream)s order by received_at", stream=stream
    )
    return [(row["status"], row["code"]) for row in rows]


async def test_by_signal_one_wish_too_many_is_a_rejected_receipt(doors: Doors):
    """Both services' activity for signalled wishes says so, and stores no fact for it."""
    order_id = await doors.order(ORDER)
    parcel = await doors.parcel(order_id, ADDRESS)
    nobody = cast("Any", None)
    order_journal = orders.journal_of(doors.databases["orders"])
    ours = OrderActivities(order_journal, orders.intake_of(order_journal), nobody, nobody)
    parcel_journal = fulfillments.journal_of(doors.databases["fulfillments"])
    theirs = FulfillmentActivities(parcel_journal, doors.warehouse, nobody, nobody)
    for n in range(32):
        await ours.submit(order_id, "resumeOrderFulfillment", Wish(), f"{order_id}/{n}")
        await theirs.submit(parcel, "resumeFulfillment", Wish(), f"{parcel}/{n}", datetime.now(UTC))
    of_order = await receipts(doors.databases["orders"], f"order-{order_id}")
    of_parcel = await receipts(doors.databases["fulfillments"], f"fulfillment-{parcel}")
    too_many = ("REJECTED", "TOO_MANY_WISHES")
    # Placing the order was its first wish.
    assert of_order == [("EFFECTIVE", None)] * 30 + [too_many] * 3
    assert of_parcel == [("EFFECTIVE", None)] * 30 + [too_many] * 2
