"""What our own database knows of why something waits."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from contracts.chassis.postgres import Database

_FACTS: LiteralString = """
    select
        events.version,
        type,
        data,
        meta ->> 'actor' as actor,
        coalesce(pii.content ->> 'note', pii.content ->> 'reason') as note,
        recorded_at as at
    from events
    left join pii on pii.ref = meta ->> 'commandId' and pii.kind = 'note' and pii.version = 1
    where stream = %(stream)s
    order by events.version
    """

_ROWS: LiteralString = """
    select
        now() as now,
        (
            select count(*)
            from outbox
            where key = %(order_id)s and published_at is null and parked_at is null
        ) as unpublished,
        (
            select min(created_at)
            from outbox
            where key = %(order_id)s and published_at is null and parked_at is null
        ) as unpublished_at,
        (
            select min(parked_at)
            from outbox
            where key = %(order_id)s and published_at is null and parked_at is not null
        ) as unsendable_at,
        (select min(created_at) from knocks where workflow_id = %(workflow_id)s) as knock_at
    """

# Every later record of the order is parked behind the first one, which tells the reason.
_PARKED: LiteralString = """
    select distinct on (topic) topic, reason, parked_at as at
    from parked
    where order_id = %(order_id)s and outcome is null
    order by topic, id
    """


@dataclass(frozen=True, slots=True)
class Told:
    """One fact, with what was said about it."""

    version: int
    type: str
    data: dict[str, Any]
    actor: str | None
    note: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Parked:
    topic: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Evidence:
    """A stream's facts, and what of it has not moved on."""

    now: datetime
    facts: Sequence[Told] = ()
    unpublished: int = 0
    unpublished_at: datetime | None = None
    unsendable_at: datetime | None = None
    knock_at: datetime | None = None
    parked: Sequence[Parked] = ()

    def last(self, *types: str, **data: Any) -> Told | None:
        """The newest fact of these types that says this; None when there is none."""
        for fact in reversed(self.facts):
            if fact.type in types and all(fact.data.get(name) == value for name, value in data.items()):
                return fact
        return None


async def gather(database: Database, *, stream: str, order_id: str, workflow_id: str) -> Evidence:
    """What is known of this stream now."""
    facts = await database.fetch(_FACTS, stream=stream)
    rows = await database.fetch_one(_ROWS, order_id=order_id, workflow_id=workflow_id)
    parked = await database.fetch(_PARKED, order_id=order_id)
    return Evidence(
        facts=[Told(**fact) for fact in facts], parked=[Parked(**each) for each in parked], **(rows or {})
    )
