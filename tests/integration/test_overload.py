"""Too much at once at the real door: who is turned away, and that nothing accepted is lost."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, LiteralString, cast

import httpx
import psycopg
import pytest
from fastapi import FastAPI

from contracts.chassis import telemetry
from contracts.chassis.errors import Overloaded
from contracts.chassis.lifecycle import Health
from contracts.chassis.postgres import Database
from contracts.chassis.settings import HealthSettings, PostgresSettings
from contracts.order import workflow_id
from order_service.bootstrap import Settings
from order_service.bootstrap.api import open_role
from order_service.rest.inflow import FEW, Inflow
from order_service.settings import OrderApiSettings, OrderPostgresSettings
from tests.integration.hostile import ORDER

CROWD = 40


@pytest.fixture
def url(migrated: Any, make_database: Any) -> str:
    """An order service's database of the test's own."""
    return make_database("orders")


@asynccontextmanager
async def opened(url: str, api: OrderApiSettings) -> AsyncGenerator[httpx.AsyncClient]:
    telemetry.ensure_provider()
    settings = Settings(postgres=OrderPostgresSettings(url=url), api=api)
    async with open_role(settings, Health(HealthSettings())) as role:
        transport = httpx.ASGITransport(cast("FastAPI", role.door))
        async with httpx.AsyncClient(transport=transport, base_url="http://door", timeout=60) as client:
            yield client


async def test_a_crowd_is_served_or_told_to_come_again(url: str):
    """One place and two chairs while the store stands still: three are accepted, kept and knocked for."""
    tiny = OrderApiSettings(in_flight=1, waiting_room=2, longest_wait_seconds=60)
    async with opened(url, tiny) as door:
        assert (await door.post("/orders", json=ORDER)).status_code == 201
        async with await psycopg.AsyncConnection.connect(url) as store:
            await store.execute("lock table receipts in access exclusive mode")
            crowd = [asyncio.create_task(door.post("/orders", json=ORDER)) for _ in range(CROWD)]
            async with asyncio.timeout(60):
                while sum(each.done() for each in crowd) < CROWD - 3:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            probe = await door.get("/health/live")
            await store.rollback()
        answers = await asyncio.gather(*crowd)
        again = await door.post("/orders", json=ORDER)
    assert (probe.status_code, again.status_code) == (200, 201)
    accepted = [answer.json()["orderId"] for answer in answers if answer.status_code == 201]
    refused = [answer for answer in answers if answer.status_code != 201]
    assert len(accepted) == 3
    assert {(each.status_code, each.json()["code"]) for each in refused} == {(503, "OVERLOADED")}
    assert all(int(each.headers["Retry-After"]) >= 1 for each in refused)
    async with Database(PostgresSettings(url=url), "test") as database:
        kept = await database.fetch(
            "select order_id from order_view where order_id = any(%(ids)s)", ids=accepted
        )
        knocks = await database.fetch(
            "select distinct workflow_id from knocks where workflow_id = any(%(ids)s)",
            ids=[workflow_id(order_id) for order_id in accepted],
        )
    assert len(kept) == len(knocks) == 3


WAITING: LiteralString = """
    insert into order_view (
        order_id, customer_id, stage, status, payment_status, step, version, document, placed_at, updated_at
    )
    select 'w' || n, 'c', 'PENDING', %(status)s, 'NONE', 's', 1, '{}', now() - %(age)s::interval, now()
    from generate_series(1, %(orders)s) as n
    """
MOVED: LiteralString = """
    insert into events (stream, version, event_id, type, schema_version, data, meta, recorded_at)
    values ('s', 1, gen_random_uuid(), 'StockHeld', 1, '{}', '{}', now() - %(age)s::interval)
    """


@pytest.mark.parametrize(
    ("orders", "seconds", "status", "moved", "is_open"),
    [
        pytest.param(FEW + 1, 45, "PENDING", 1, False, id="many wait too long"),
        pytest.param(FEW, 45, "PENDING", 1, True, id="a few wait long"),
        pytest.param(FEW + 1, 5, "PENDING", 1, True, id="many came just now"),
        pytest.param(FEW + 1, 45, "PENDING", 3600, True, id="nothing moves: an outage"),
        pytest.param(FEW + 1, 3600, "PENDING", 1, True, id="they wait since an outage"),
        pytest.param(FEW + 1, 45, "PAUSED", 1, True, id="they are held"),
    ],
)
async def test_orders_are_taken_as_long_as_they_get_under_way(
    url: str, orders: int, seconds: int, status: str, moved: int, is_open: bool
):
    """A queue is an overload when it is long, late, young and moving."""
    async with Database(PostgresSettings(url=url), "test") as database:
        await database.execute(WAITING, orders=orders, age=timedelta(seconds=seconds), status=status)
        await database.execute(MOVED, age=timedelta(seconds=moved))
        inflow = Inflow(database, longest_wait_seconds=15)
        if is_open:
            await inflow.let_in()
        else:
            with pytest.raises(Overloaded):
                await inflow.let_in()


async def test_an_order_that_would_wait_too_long_is_a_problem(url: str):
    """503 with Retry-After; everything else is still answered."""
    async with opened(url, OrderApiSettings()) as door:
        async with Database(PostgresSettings(url=url), "test") as database:
            await database.execute(WAITING, orders=FEW + 1, age=timedelta(seconds=40), status="PENDING")
            await database.execute(MOVED, age=timedelta(seconds=1))
        refused = await door.post("/orders", json=ORDER)
        assert (refused.status_code, refused.json()["code"]) == (503, "OVERLOADED")
        assert refused.headers["Retry-After"] == "5"
        assert (await door.get("/ops/outbox")).status_code == 200
