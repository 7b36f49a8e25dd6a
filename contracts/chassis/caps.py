"""How much may be wished of one order or fulfillment: so often in a minute, so often in its life.

Each wish costs its workflow a few history events, so a caller that never stops would wear it out. What
is refused for this reason is not counted itself, or whoever insists could never ask again. Who counts has
locked the stream, so a last place is taken once.
"""

from datetime import timedelta
from typing import Any, LiteralString

import psycopg

from contracts.chassis.errors import TooMany
from contracts.chassis.postgres import Connection, Row

LIFE = 500
RESERVE = 20
"""The last ones of a life are kept for the ways out."""
WAYS_OUT = ("cancel", "release", "resume", "resolve")
PER_MINUTE = 30

# A place in the minute is free again once the 30th newest wish is older than that.
_COUNT: LiteralString = """
    select
        (
            select count(*)
            from receipts
            where stream = %(stream)s and code is distinct from 'TOO_MANY_WISHES'
        ) as life,
        (
            select extract(epoch from received_at + interval '1 minute' - now())::float
            from receipts
            where stream = %(stream)s and code is distinct from 'TOO_MANY_WISHES'
            order by received_at desc
            offset %(per_minute)s - 1
            limit 1
        ) as free_in_seconds
    """


async def count(connection: Connection, stream: str) -> psycopg.AsyncCursor[Row]:
    """What has been wished of the locked stream is asked for; the answer comes with the next that is read."""
    return await connection.queue(_COUNT, {"stream": stream, "per_minute": PER_MINUTE})


def check(name: str, life: int, free_in_seconds: float | None) -> None:
    """Raises TooMany when a wish of this name is one too many."""
    if life >= LIFE:
        raise _for_good(f"{LIFE} wishes were taken here, and none is taken any more", ())
    if life >= LIFE - RESERVE and not name.startswith(WAYS_OUT):
        left = f"of {LIFE} wishes the last {LIFE - life} are for {', '.join(WAYS_OUT)} only"
        raise _for_good(left, WAYS_OUT)
    if free_in_seconds is not None and free_in_seconds > 0:
        raise TooMany(
            f"more than {PER_MINUTE} wishes in a minute; ask again later",
            retry_after=timedelta(seconds=free_in_seconds),
        )


def _for_good(detail: str, still_allowed: tuple[str, ...]) -> TooMany:
    refusal = TooMany(detail)
    refusal.extensions = {"retryable": False, "allowedActions": list[Any](still_allowed)}
    return refusal
