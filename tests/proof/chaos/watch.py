"""Who waits for a fact is told as soon as it is stored."""

import asyncio
from collections.abc import Callable
from typing import LiteralString

import psycopg

from deploy.local.stack import Stack
from tests.proof.chaos.plan import ENDS
from tests.proof.record import Service

_LOOK_SECONDS = 0.03
_BACK = 500
"""Positions are given before the commit, so a look goes back by so many."""
_NEW: LiteralString = "select position, stream, type from events where position > %s order by position"


class Watch:
    """The facts of both stores, by order, as they appear."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._seen: dict[str, set[str]] = {}
        self._changed = asyncio.Condition()
        self.facts = 0

    async def run(self) -> None:
        """Looks until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow("orders", lambda stream: stream.removeprefix("order-")))
            group.create_task(self._follow("fulfillments", _order_of_parcel))

    async def appears(self, order_id: str, moment: str) -> None:
        """The order or its parcel has that fact, or will never have it, as it has ended."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._is_there(order_id, moment))

    def has(self, order_id: str, fact: str) -> bool:
        """The order or its parcel had that fact when it was last looked at."""
        return fact in self._seen.get(order_id, set())

    def has_ended(self, order_id: str) -> bool:
        return bool(self._seen.get(order_id, set()) & set(ENDS))

    def _is_there(self, order_id: str, moment: str) -> bool:
        return moment in self._seen.get(order_id, set()) or self.has_ended(order_id)

    async def _follow(self, database: Service, order_of: Callable[[str], str]) -> None:
        known: set[int] = set()
        last = 0
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._stack.postgres_url(database), autocommit=True, connect_timeout=5
                ) as connection:
                    while True:
                        cursor = await connection.execute(_NEW, (last - _BACK,))
                        rows = [row for row in await cursor.fetchall() if row[0] not in known]
                        if rows:
                            known |= {row[0] for row in rows}
                            last = max(last, rows[-1][0])
                            await self._tell([(order_of(row[1]), row[2]) for row in rows])
                        await asyncio.sleep(_LOOK_SECONDS)
            except psycopg.OperationalError:
                await asyncio.sleep(0.1)

    async def _tell(self, found: list[tuple[str, str]]) -> None:
        async with self._changed:
            self.facts += len(found)
            for order_id, kind in found:
                self._seen.setdefault(order_id, set()).add(kind)
            self._changed.notify_all()


def _order_of_parcel(stream: str) -> str:
    return stream.removeprefix("fulfillment-").rpartition("-")[0]
