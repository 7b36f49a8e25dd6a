"""The streams that ended since the last look, each once."""

from collections.abc import Awaitable, Callable, Sequence
from itertools import takewhile
from typing import LiteralString, TypeVar

from contracts.chassis.event_store import Change, Fact, Journal
from contracts.chassis.reconciler import Finding, Rule, Seen
from contracts.chassis.settings import HousekeepingSettings

S = TypeVar("S")
F = TypeVar("F", bound=Fact)

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


def ending_rule(
    name: str,
    ends: Sequence[str],
    audit: Callable[[Change[S, F]], Awaitable[Sequence[Finding]]],
    journal: Journal[S, F],
    settings: HousekeepingSettings,
) -> Rule:
    """Audits each stream once after a fact of one of these types ended it.

    When the audit raises Unavailable, the next look begins at the same place."""

    async def look(cursor: str) -> Seen:
        rows = await journal.database.fetch(_SINCE, after=int(cursor or 0), pause=settings.quiet, limit=PAGE)
        settled = list(takewhile(lambda row: row["is_settled"], rows))
        findings: list[Finding] = []
        for row in settled:
            if row["type"] in ends and (change := await journal.read(row["stream"])):
                findings += await audit(change)
        reached = str(settled[-1]["position"]) if settled else cursor
        return Seen(findings, reached, has_more=len(settled) == PAGE)

    return Rule(name, look)
