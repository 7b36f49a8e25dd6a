"""The streams that ended since the last look, each once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import takewhile
from typing import LiteralString

from contracts.chassis.postgres import Database

PAGE = 1_000
"""Facts read at a time; a look goes on at once while pages are full."""

# Every fact once, in the order of the log. What is younger than the pause may still be joined by what commits
# late under a lower position, so the page ends before the first such.
_SINCE: LiteralString = """
    select
        position,
        stream,
        type,
        recorded_at < now() - %(pause)s as is_settled
    from events
    where position > %(after)s
    order by position
    limit %(limit)s
    """


@dataclass(frozen=True, slots=True)
class Endings:
    """What a look saw, and where the next one begins."""

    streams: Sequence[str]
    cursor: str
    has_more: bool


async def endings(database: Database, cursor: str, types: Sequence[str], pause: timedelta) -> Endings:
    """The streams that have a fact of one of these types behind the cursor, older than the pause."""
    rows = await database.fetch(_SINCE, after=int(cursor or 0), pause=pause, limit=PAGE)
    seen = list(takewhile(lambda row: row["is_settled"], rows))
    return Endings(
        [row["stream"] for row in seen if row["type"] in types],
        str(seen[-1]["position"]) if seen else cursor,
        has_more=len(seen) == PAGE,
    )
