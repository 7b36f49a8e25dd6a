"""Whether one more order is taken, or those that wait to get under way would have to wait too long.

Orders come faster than they can be carried out: then they queue, and each would be later than the one before.
So the queue is kept as short as a wait of `orders_wait_seconds`, whatever the machines can do. When nothing
gets under way at all, that is an outage and no overload: orders are taken, and wait in the store.
"""

import time
from datetime import timedelta
from typing import LiteralString

from fastapi import Depends, Request

from contracts.chassis.admission import TURNED_AWAY
from contracts.chassis.errors import Overloaded
from contracts.chassis.postgres import Database

LOOK_SECONDS = 0.5
FEW = 100
"""So many may always wait: a crowd that comes at once is no overload."""

# Older ones are not asked for: what waits since an outage is carried out, and takes nobody's place.
_WAITING: LiteralString = """
    with waiting as (
        select placed_at
        from order_view
        where placed_at > now() - interval '1 minute' and stage = 'PENDING' and status = 'PENDING'
    ),
    newest as (select type, recorded_at from events order by position desc limit 1000)
    select
        (select count(*) from waiting) as orders,
        coalesce((select extract(epoch from now() - min(placed_at)) from waiting), 0)::float as seconds,
        exists (
            select 1
            from newest
            where type in ('StockHeld', 'StockRefused') and recorded_at > now() - interval '10 seconds'
        ) as is_moving
    """


class Inflow:
    """What one door knows of the orders that wait; it looks only while orders come, and not for each."""

    def __init__(self, database: Database, longest_wait_seconds: float) -> None:
        self._database = database
        self._longest_wait_seconds = longest_wait_seconds
        self._is_open = True
        self._looks_at = 0.0

    async def let_in(self) -> None:
        """Raises Overloaded when the order would wait too long."""
        if time.monotonic() >= self._looks_at:
            self._looks_at = time.monotonic() + LOOK_SECONDS
            await self._look()
        if not self._is_open:
            TURNED_AWAY.labels("backlog").inc()
            raise Overloaded(
                "More orders wait to get under way than can soon be carried out; come again later.",
                retry_after=timedelta(seconds=self._longest_wait_seconds / 4),
            )

    async def _look(self) -> None:
        found = await self._database.fetch_one(_WAITING)
        if found is not None:
            is_late = found["seconds"] > self._longest_wait_seconds
            self._is_open = not (is_late and found["orders"] > FEW and found["is_moving"])


async def _let_in(request: Request) -> None:
    inflow: Inflow = request.app.state.inflow
    await inflow.let_in()


TakesOneMore = Depends(_let_in)
