"""Both real doors over a real PostgreSQL: whatever comes in, the answer is a 4xx and nothing is stored."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, cast

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

import fulfillment_service.bootstrap as fulfillments
import order_service.bootstrap as orders
from contracts.chassis import telemetry
from contracts.chassis.lifecycle import Health, Role
from contracts.chassis.postgres import Database
from contracts.chassis.settings import HealthSettings
from contracts.fulfillment import StartFulfillment
from contracts.order import workflow_id
from contracts.values import Address, Code, Line
from fulfillment_service.bootstrap import api as fulfillments_api
from fulfillment_service.intake import Intake
from fulfillment_service.settings import FulfillmentPostgresSettings
from order_service.bootstrap import api as orders_api
from order_service.settings import OrderPostgresSettings
from tests.integration.hostile import (
    ADDRESS,
    JSON_TYPE,
    KEY_OF_A_WISH,
    KEY_OF_AN_ORDER,
    ORDER,
    PERSONAL,
    REQUESTS,
    Hostile,
    Service,
    raw,
)

in_the_house = pytest.mark.asyncio(loop_scope="module")

_COUNTS = """
    select 'events' as name, count(*) as rows from events
    union all select 'receipts', count(*) from receipts
    union all select 'outbox', count(*) from outbox
    union all select 'knocks', count(*) from knocks
    union all select 'pii', count(*) from pii
    """


@dataclass
class House:
    """Both doors, their databases, and the things that exist there."""

    doors: Mapping[Service, httpx.AsyncClient]
    databases: Mapping[Service, Database]
    order: str = ""

    async def stored(self) -> dict[str, int]:
        """The number of rows of each table that a request may write to."""
        counts: dict[str, int] = {}
        for service, database in self.databases.items():
            for row in await database.fetch(_COUNTS):
                counts[f"{service}.{row['name']}"] = row["rows"]
        return counts

    async def ask(self, hostile: Hostile) -> httpx.Response:
        path = hostile.path.replace("{order}", self.order).replace("{parcel}", f"{self.order}-1")
        headers = {"Content-Type": JSON_TYPE, **hostile.headers} if hostile.content is not None else {}
        sent = {name: each.encode() if isinstance(each, str) else each for name, each in headers.items()}
        return await self.doors[hostile.service].request(
            hostile.method, path, content=hostile.content, headers=cast("Any", sent)
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(orders_url: str, fulfillments_url: str) -> AsyncGenerator[House]:
    telemetry.ensure_provider()
    health = Health(HealthSettings())
    order_settings = orders.Settings(postgres=OrderPostgresSettings(url=orders_url))
    parcel_settings = fulfillments.Settings(postgres=FulfillmentPostgresSettings(url=fulfillments_url))
    async with AsyncExitStack() as stack:
        roles: dict[Service, Role] = {
            "orders": await stack.enter_async_context(orders_api.open_role(order_settings, health)),
            "fulfillments": await stack.enter_async_context(
                fulfillments_api.open_role(parcel_settings, health)
            ),
        }
        apps: dict[Service, FastAPI] = {name: cast("FastAPI", role.door) for name, role in roles.items()}
        doors: dict[Service, httpx.AsyncClient] = {
            name: await stack.enter_async_context(
                httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://door")
            )
            for name, app in apps.items()
        }
        databases: dict[Service, Database] = {name: app.state.door.database for name, app in apps.items()}
        house = House(doors, databases)
        await _furnish(house, apps["fulfillments"].state.door.intake)
        yield house


async def _furnish(house: House, intake: Intake) -> None:
    """An order, its parcel, and an accepted wish for each, under keys that the table uses again."""
    key = {"Idempotency-Key": KEY_OF_AN_ORDER}
    placed = await house.doors["orders"].post("/orders", json=ORDER, headers=key)
    assert placed.status_code == 201, placed.text
    house.order = placed.json()["orderId"]
    await intake.accept(
        StartFulfillment(
            order_id=house.order,
            n=1,
            lines=(Line(sku="TEAPOT", quantity=1),),
            address=Address.model_validate(ADDRESS),
            address_version=1,
            country="USA",
            customer_ref="hostile-1",
            mode="manual",
            reply_to=workflow_id(house.order),
        )
    )
    key = {"Idempotency-Key": KEY_OF_A_WISH}
    wished = await house.doors["orders"].patch(
        f"/orders/{house.order}", json={"instructions": "the secret door"}, headers=key
    )
    paused = await house.doors["fulfillments"].post(f"/fulfillments/{house.order}-1/pause", headers=key)
    assert (wished.status_code, paused.status_code) == (200, 200)


def test_the_table_is_long_enough():
    """At least sixty requests, both doors, every kind of answer."""
    assert len(REQUESTS) >= 60
    assert {each.service for each in REQUESTS} == {"orders", "fulfillments"}
    assert {each.status for each in REQUESTS} == {400, 404, 405, 412, 413, 415, 422}


@pytest.mark.parametrize("hostile", REQUESTS, ids=str)
@in_the_house
async def test_a_hostile_request_is_told_what_is_wrong_and_leaves_nothing(house: House, hostile: Hostile):
    """A problem with a code and a detail that helps, no word of a person in it, and not one row more."""
    before = await house.stored()
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
    assert await house.stored() == before


@in_the_house
async def test_the_same_key_and_body_at_once_is_one_order(house: House):
    """Ten twins wait for the first one and get its answer; one of them is new."""
    headers = {"Idempotency-Key": "twins"}
    twins = [house.doors["orders"].post("/orders", json=ORDER, headers=headers) for _ in range(10)]
    answers = await asyncio.gather(*twins)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["orderId"] for answer in answers}) == 1
    assert sum("Idempotent-Replayed" in answer.headers for answer in answers) == 9


@in_the_house
async def test_a_refused_body_does_not_use_up_its_key(house: House):
    """A validation failure is not stored: the corrected request under the same key is accepted."""
    headers = {"Idempotency-Key": "second-try", "Content-Type": JSON_TYPE}
    door = house.doors["orders"]
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
    answer = await house.doors["orders"].get(f"/orders/{house.order}", headers={header: value})
    assert answer.status_code == 200
    assert len(answer.headers["Trace-Id"]) == 32
