"""Both real doors over a real PostgreSQL: whatever comes in, the answer is a 4xx and nothing is stored."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, cast

import httpx
import pytest
import pytest_asyncio

from contracts.values import Code
from tests.integration.doors import Doors, open_doors
from tests.integration.hostile import (
    ADDRESS,
    JSON_TYPE,
    KEY_OF_A_WISH,
    KEY_OF_AN_ORDER,
    ORDER,
    PERSONAL,
    REQUESTS,
    Hostile,
    raw,
)

in_the_house = pytest.mark.asyncio(loop_scope="module")


@dataclass
class House:
    """Both doors, and the order whose things exist there."""

    doors: Doors
    order: str

    async def ask(self, hostile: Hostile) -> httpx.Response:
        path = hostile.path.replace("{order}", self.order).replace("{parcel}", f"{self.order}-1")
        plain = {} if hostile.content is None else {"Content-Type": JSON_TYPE}
        headers = {**plain, **hostile.headers}
        sent = {name: each.encode() if isinstance(each, str) else each for name, each in headers.items()}
        return await self.doors.http[hostile.service].request(
            hostile.method, path, content=hostile.content, headers=cast("Any", sent)
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(orders_url: str, fulfillments_url: str) -> AsyncGenerator[House]:
    async with open_doors(orders_url, fulfillments_url) as doors:
        yield House(doors, await _furnished(doors))


async def _furnished(doors: Doors) -> str:
    """An order, its parcel, and an accepted wish for each, under keys that the table uses again."""
    order_id = await doors.order(ORDER, KEY_OF_AN_ORDER)
    parcel = await doors.parcel(order_id, ADDRESS)
    key = {"Idempotency-Key": KEY_OF_A_WISH}
    wished = await doors.http["orders"].patch(
        f"/orders/{order_id}", json={"instructions": "the secret door"}, headers=key
    )
    paused = await doors.http["fulfillments"].post(f"/fulfillments/{parcel}/pause", headers=key)
    assert (wished.status_code, paused.status_code) == (200, 200)
    return order_id


def test_the_table_is_long_enough():
    """At least sixty requests, both doors, every kind of answer."""
    assert len(REQUESTS) >= 60
    assert {each.service for each in REQUESTS} == {"orders", "fulfillments"}
    assert {each.status for each in REQUESTS} == {400, 404, 405, 412, 413, 415, 422}


@pytest.mark.parametrize("hostile", REQUESTS, ids=str)
@in_the_house
async def test_a_hostile_request_is_told_what_is_wrong_and_leaves_nothing(house: House, hostile: Hostile):
    """A problem with a code and a detail that helps, no word of a person in it, and not one row more."""
    before = await house.doors.stored()
    answer = await house.ask(hostile)
    assert answer.status_code == hostile.status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    told = answer.json()
    assert told["code"] == hostile.code in set(Code)
    assert told["status"] == hostile.status
    assert hostile.names in told["detail"] or hostile.names in [
        each["field"] for each in told.get("errors", [])
    ]
    assert len(told["detail"]) >= 10
    assert [part for part in PERSONAL if part in answer.text] == []
    assert answer.headers["Trace-Id"] == told["traceId"]
    assert await house.doors.stored() == before


@in_the_house
async def test_the_same_key_and_body_at_once_is_one_order(house: House):
    """Ten twins wait for the first one and get its answer; one of them is new."""
    headers = {"Idempotency-Key": "twins"}
    twins = [house.doors.http["orders"].post("/orders", json=ORDER, headers=headers) for _ in range(10)]
    answers = await asyncio.gather(*twins)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["orderId"] for answer in answers}) == 1
    assert sum("Idempotent-Replayed" in answer.headers for answer in answers) == 9


@in_the_house
async def test_a_refused_body_does_not_use_up_its_key(house: House):
    """A validation failure is not stored: the corrected request under the same key is accepted."""
    headers = {"Idempotency-Key": "second-try", "Content-Type": JSON_TYPE}
    door = house.doors.http["orders"]
    wrong = await door.post("/orders", content=raw({**ORDER, "currency": "usd"}), headers=headers)
    unsold = {**ORDER, "items": [{"sku": "NO-SUCH", "quantity": 1, "unitPriceMinor": 1}]}
    unknown = await door.post("/orders", content=raw(unsold), headers=headers)
    right = await door.post("/orders", content=raw(ORDER), headers=headers)
    assert (wrong.status_code, unknown.status_code, right.status_code) == (422, 422, 201)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("traceparent", "00-nonsense-01"),
        ("traceparent", "x" * 5000),
        ("tracestate", "=,=,="),
        ("Prefer", "respond-sometime"),
        ("Authorization", "Bearer " + "x" * 5000),
        ("Accept", "image/png"),
        ("Cookie", "x" * 5000),
    ],
)
@in_the_house
async def test_headers_that_mean_nothing_to_us_are_harmless(house: House, header: str, value: str):
    """A broken trace header begins a new trace; the request itself is answered."""
    answer = await house.doors.http["orders"].get(f"/orders/{house.order}", headers={header: value})
    assert answer.status_code == 200
    assert len(answer.headers["Trace-Id"]) == 32
