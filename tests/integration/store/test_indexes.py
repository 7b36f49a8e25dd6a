"""What a table that grows for ever is asked for is found by an index."""

from collections.abc import AsyncGenerator, Callable
from typing import Any, LiteralString

import pytest

import fulfillment_service.projection as parcels
import order_service.projection as orders
from contracts.chassis.postgres import Database
from contracts.chassis.settings import PostgresSettings
from deploy.local.stack import Stack

NO_FILTER = dict.fromkeys(("status", "customer_id", "order_id", "after_at", "after_id"))


@pytest.fixture(params=["orders", "fulfillments"])
async def database(
    request: pytest.FixtureRequest, migrated: Stack, make_database: Callable[[str], str]
) -> AsyncGenerator[Database]:
    """Of each service."""
    assert migrated
    async with Database(PostgresSettings(url=make_database(request.param)), request.param) as database:
        yield database


async def plan_of(database: Database, query: LiteralString, **given: Any) -> str:
    """As for a large table: neither read whole nor sorted."""
    async with database.transaction() as connection:
        await connection.execute("set local enable_seqscan = off")
        await connection.execute("set local enable_sort = off")
        rows = await connection.execute(f"explain {query}", given)
        return "\n".join(row["QUERY PLAN"] for row in await rows.fetchall())


async def test_a_stage_is_found_by_an_index(migrated: Stack, make_database: Callable[[str], str]):
    """In the order of the page."""
    assert migrated
    for name, view in (("orders", orders), ("fulfillments", parcels)):
        async with Database(PostgresSettings(url=make_database(name)), "test") as database:
            plan = await plan_of(database, view.PAGE, **NO_FILTER, stage="SHIPPED", limit=50)
        assert "_view_stage" in plan


async def test_what_was_answered_long_ago_is_found_by_an_index(database: Database):
    """Calls are kept for months and looked through each minute."""
    query: LiteralString = "select ctid from external_calls where answered_at < now() - interval '90 days'"
    assert "external_calls_age" in await plan_of(database, query)


async def test_exceptions_are_paged_by_an_index_also_when_resolved(database: Database):
    """They are never deleted."""
    query: LiteralString = "select * from exceptions order by raised_at, id limit 50"
    assert "exceptions_age" in await plan_of(database, query)
