"""The stock under several orders at once."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest

from contracts.chassis.postgres import Connection, Database
from contracts.values import LineItem
from order_service import inventory
from order_service.settings import OrderPostgresSettings

FIRST, LAST = "MUG-BLUE", "TEAPOT"
"""As everybody locks them."""


@pytest.fixture
async def stock(make_database: Callable[[str], str], migrated: None) -> AsyncGenerator[Database]:
    """Of the order service, where one order holds two articles; their rows lie in no particular order."""
    async with Database(OrderPostgresSettings(url=make_database("orders")), "test") as database:
        for sku in (LAST, FIRST):
            async with database.transaction() as connection:
                await inventory.hold(connection, sku, [_line(sku)])
        await database.execute("update stock_ledger set order_id = 'o'")
        yield database


def _line(sku: str) -> LineItem:
    return LineItem(sku=sku, quantity=1, unit_price_minor=100)


@pytest.mark.parametrize("move", [inventory.release, inventory.ship])
async def test_who_waits_for_an_article_holds_none_behind_it(
    stock: Database, move: Callable[[Connection, str], Awaitable[None]]
):
    """So whoever has the first may go on to the next: two orders never wait for each other."""

    async def moves() -> None:
        async with stock.transaction() as connection:
            await move(connection, "o")

    async with stock.transaction() as connection:
        await inventory.hold(connection, "other", [_line(FIRST)])
        moving = asyncio.create_task(moves())
        async with asyncio.timeout(60):
            while not await _somebody_waits(stock):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        found = await connection.execute("select sku from stock where sku = %s for update nowait", (LAST,))
        assert await found.fetchone() == {"sku": LAST}
    await moving


async def _somebody_waits(database: Database) -> bool:
    row = await database.fetch_one("select count(*) as waiting from pg_locks where not granted")
    return bool(row and row["waiting"])
