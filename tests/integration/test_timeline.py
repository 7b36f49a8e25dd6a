"""`GET …/timeline`: one story of both services, in the order of time, with who, why and how long after."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_asyncio

from contracts.values import Hold
from tests.integration.doors import Doors, Service, open_doors
from tests.integration.hostile import ADDRESS, ORDER

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHER: dict[Service, str] = {"orders": "fulfillment", "fulfillments": "order"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(orders_url: str, fulfillments_url: str) -> AsyncGenerator[Doors]:
    async with open_doors(orders_url, fulfillments_url) as doors:
        yield doors


async def story(doors: Doors, service: Service, order_id: str, **page: Any) -> dict[str, Any]:
    answer = await doors.http[service].get(f"/{service}/{order_id}/timeline", params=page)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def eventful(doors: Doors) -> str:
    """The id of an order that was changed and whose parcel is held, all heard of on both sides."""
    order_id = await doors.order(ORDER)
    parcel = await doors.parcel(order_id, ADDRESS)
    who = {"X-Actor": "ada"}
    door = doors.http["fulfillments"]
    hold = {"reason": "QUALITY", "handle": "shelf-7", "note": "Adalia looks at it"}
    held = await door.post(f"/fulfillments/{parcel}/holds", json=hold, headers=who)
    changed = await doors.http["orders"].patch(
        f"/orders/{order_id}", json={"instructions": "behind the secret door"}, headers=who
    )
    lifted = await door.delete(f"/fulfillments/{parcel}/holds?handle=shelf-7", headers=who)
    assert {held.status_code, changed.status_code, lifted.status_code} == {200}
    await doors.carry()
    return order_id


@pytest.mark.parametrize("service", ["orders", "fulfillments"])
async def test_both_services_tell_the_same_story(doors: Doors, service: Service):
    """Every fact of both, in the order of time, from either door."""
    order_id = await eventful(doors)
    told = (await story(doors, service, order_id))["timeline"]
    assert [(each["service"], each["type"]) for each in told] == [
        ("order", "OrderPlaced"),
        ("fulfillment", "FulfillmentAccepted"),
        ("fulfillment", "HoldPlaced"),
        ("order", "InstructionsChanged"),
        ("fulfillment", "HoldReleased"),
    ]
    assert [each["at"] for each in told] == sorted(each["at"] for each in told)
    assert [each["version"] for each in told if each["service"] == "fulfillment"] == [1, 2, 3]
    assert "sincePreviousMs" not in told[0]
    assert all(each["sincePreviousMs"] >= 0 for each in told[1:])
    for each in told:
        assert ("heardAfterMs" in each) == (each["service"] == OTHER[service])


async def test_it_says_who_wanted_it_and_why(doors: Doors):
    """The reason of a hold crosses over; the words of a person stay in the service they were said to."""
    order_id = await eventful(doors)
    of_parcel = (await story(doors, "fulfillments", order_id))["timeline"][2]
    of_order = (await story(doors, "orders", order_id))["timeline"][2]
    for hold in (of_parcel, of_order):
        assert (hold["type"], hold["actor"], hold["reason"], hold["handle"]) == (
            "HoldPlaced", "ada", "QUALITY", "shelf-7",
        )  # fmt: skip
    assert of_parcel["commandId"] == of_order["commandId"]
    assert of_parcel["note"] == "Adalia looks at it"
    assert "note" not in of_order
    kept = await doors.databases["orders"].fetch_one(
        "select count(*) as n from heard as h where h::text ~ 'Adalia'"
    )
    assert kept == {"n": 0}


@pytest.mark.parametrize("service", ["orders", "fulfillments"])
async def test_a_hold_that_came_with_the_parcel_names_who_wanted_it(doors: Doors, service: Service):
    """The order service only brought it along."""
    order_id = await doors.order(ORDER)
    await doors.parcel(order_id, ADDRESS, [Hold(handle="early", holder="ada")])
    await doors.carry()
    hold = (await story(doors, service, order_id))["timeline"][2]
    assert (hold["type"], hold["handle"], hold["actor"], hold["holder"]) == (
        "HoldPlaced", "early", "order-service", "ada",
    )  # fmt: skip


async def test_its_pages_neither_repeat_nor_leave_out(doors: Doors):
    """Page by page it is the same story, and the time since the previous entry is told across pages."""
    order_id = await eventful(doors)
    whole = (await story(doors, "orders", order_id))["timeline"]
    pages: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        page = await story(doors, "orders", order_id, limit=2, **cursor)
        pages += page["timeline"]
        if "next" not in page:
            break
        cursor = {"cursor": page["next"]}
    assert pages == whole
