"""The streams that ended since the last look, each once."""

import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from itertools import takewhile
from typing import LiteralString, TypeVar

from contracts.chassis.errors import Unavailable
from contracts.chassis.event_store import Change, Fact, Journal
from contracts.chassis.reconciler import Finding, Kind, Rule, Seen
from contracts.chassis.settings import HousekeepingSettings

S = TypeVar("S")
F = TypeVar("F", bound=Fact)

PAGE = 100
"""Endings audited in one look; the next one comes at once while pages are full."""
LOOK_SECONDS = 3.0
"""A look that takes longer is the last one for now: a provider that is slow is asked little."""

# Each once, in the order of the log. What was written while an older transaction was still under way may be
# joined by what that one commits under a lower position, so the page ends before the first such, or that is
# younger than the pause. After a day time alone decides: in a database that was put back from a dump the
# transactions are another cluster's. Says word for word what its index says.
SINCE: LiteralString = """
    select
        position,
        stream,
        recorded_at < now() - %(pause)s
        and (
            transaction_id < pg_snapshot_xmin(pg_current_snapshot())
            or recorded_at < now() - interval '1 day'
        ) as is_settled
    from events
    where type in ({ends})
      and position > %(after)s
    order by position
    limit %(limit)s
    """


def ending_rule(
    name: str,
    ends: LiteralString,
    audit: Callable[[Change[S, F]], Awaitable[Sequence[Finding]]],
    journal: Journal[S, F],
    settings: HousekeepingSettings,
    *,
    finds: Collection[Kind],
) -> Rule:
    """Audits each stream once after a fact of one of these types, given as SQL, ended it; retried, once more.

    When the audit raises Unavailable, the next look begins with that stream."""
    since: LiteralString = SINCE.format(ends=ends)

    async def look(cursor: str) -> Seen:
        rows = await journal.database.fetch(since, after=int(cursor or 0), pause=settings.quiet, limit=PAGE)
        settled = list(takewhile(lambda row: row["is_settled"], rows))
        findings: list[Finding] = []
        began, reached = time.monotonic(), cursor
        for row in settled:
            if reached != cursor and time.monotonic() - began > LOOK_SECONDS:
                break
            try:
                change = await journal.read(row["stream"])
                findings += await audit(change) if change else []
            except Unavailable:
                if reached == cursor:
                    raise
                break
            reached = str(row["position"])
        is_full = len(settled) == PAGE and reached == str(settled[-1]["position"])
        return Seen(findings, reached, has_more=is_full)

    async def again(stream: str) -> Sequence[Finding]:
        change = await journal.read(stream)
        return await audit(change) if change else []

    return Rule(name, look, kinds=finds, again=again)
