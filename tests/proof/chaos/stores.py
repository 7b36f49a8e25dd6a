"""The databases as chaos looks at them: past the proxies, and whether they answer or not."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal, LiteralString, TypeVar

import psycopg
from psycopg.rows import dict_row

from deploy.local.stack import Stack
from tests.proof.record import Service

Rows = list[dict[str, Any]]
Found = TypeVar("Found")
DATABASES: tuple[Service, ...] = ("orders", "fulfillments")
Side = Literal["orders", "fulfillments"]

_PATIENCE_SECONDS = 120
_AGAIN_SECONDS = 0.2


class Stores:
    """Statements of our own, each on a connection of its own, tried until the database answers."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    async def rows(self, database: Service, statement: LiteralString, **values: Any) -> Rows:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                try:
                    return await self._ask(database, statement, values)
                except psycopg.OperationalError:
                    await asyncio.sleep(_AGAIN_SECONDS)

    async def count(self, database: Service, statement: LiteralString, **values: Any) -> int:
        """How many rows the statement changed or found."""
        return len(await self.rows(database, statement, **values))

    async def _ask(self, database: Service, statement: LiteralString, values: dict[str, Any]) -> Rows:
        url = self._stack.postgres_url(database)
        async with await psycopg.AsyncConnection[dict[str, Any]].connect(
            url, autocommit=True, row_factory=dict_row, connect_timeout=5
        ) as connection:
            cursor = await connection.execute(statement, values or None)
            return await cursor.fetchall() if cursor.description else []


async def eventually(
    ask: Callable[[], Awaitable[Found]], *, seconds: float = _PATIENCE_SECONDS
) -> Found | None:
    """What was found as soon as it is something; None when it never is."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        if found := await ask():
            return found
        if loop.time() > deadline:
            return None
        await asyncio.sleep(0.05)
