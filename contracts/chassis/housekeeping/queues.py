"""What waits in a service's queues longer than it should: events for Kafka, records that were set aside."""

from collections.abc import Sequence
from typing import Literal, LiteralString

from contracts.chassis import outbox
from contracts.chassis.faults import Resolution
from contracts.chassis.parking import is_dead_letters, told_of
from contracts.chassis.postgres import Connection, Database, Row
from contracts.chassis.reconciler import Finding, Kind, Repair, Rule, Seen
from contracts.chassis.settings import HousekeepingSettings
from contracts.values import ORDER_ID

Where = Literal["outbox", "inbox"]

PAGE = 200

_OUTBOX: LiteralString = """
    select id, created_at, attempts, last_error
    from outbox
    cross join (select steady_since from reconciler_rules where rule = 'all') as house
    where published_at is null
      and parked_at is null
      and greatest(created_at, house.steady_since) < now() - %(stalled)s
    order by id
    limit 1
    """

# What is told and open leaves its place in the page to what is not.
_BLOCKED: LiteralString = """
    select key, id, topic, last_error as reason
    from outbox
    where published_at is null
      and parked_at < now() - %(quiet)s
      and not exists (
          select from exceptions where stream = 'outbox-' || outbox.id and resolved_at is null
      )
    order by id
    limit %(limit)s
    """

_PARKED: LiteralString = """
    select key, id, topic, reason
    from (
        select distinct on (order_id) order_id as key, id, topic, reason
        from parked
        where outcome is null
          and parked_at < now() - %(stalled)s
        order by order_id, id
    ) as first_of_order
    where not exists (
        select from exceptions where stream = 'inbox-' || first_of_order.id and resolved_at is null
    )
    order by id
    limit %(limit)s
    """


def queue_rule(database: Database, service: str, settings: HousekeepingSettings) -> Rule:
    """Looks at the outbox and at what the inbox set aside."""

    async def look(_: str) -> Seen:
        oldest = await database.fetch(_OUTBOX, stalled=settings.stalled)
        blocked = await database.fetch(_BLOCKED, quiet=settings.quiet, limit=PAGE)
        parked = await database.fetch(_PARKED, stalled=settings.stalled, limit=PAGE)
        return Seen(
            [
                *(_old(row, service) for row in oldest),
                *(_blocked(row, "outbox") for row in blocked),
                *(_blocked(row, "inbox") for row in parked),
            ]
        )

    return Rule("queues", look)


def _old(row: Row, service: str) -> Finding:
    """Nobody can do more than wake the relay; an alert tells those who look after Kafka."""
    return Finding(
        Kind.OUTBOX_OLD,
        service,
        service,
        "events wait for Kafka for long",
        {"since": row["created_at"].isoformat(), "tries": row["attempts"], "error": row["last_error"]},
        mark=str(row["id"]),
        repair=Repair("WOKEN", inside=_wake),
        is_for_a_person=False,
    )


async def _wake(connection: Connection) -> None:
    connection.bells.add(outbox.CHANNEL)


def _blocked(row: Row, where: Where) -> Finding:
    """The first of its order. A key that is no order's is not told: a stranger may have written anything."""
    name = f"{where}-{row['id']}"
    key = told_of(row["key"])
    what = "sent" if where == "outbox" else "applied"
    return Finding(
        Kind.RECORD_BLOCKED,
        key if ORDER_ID.fullmatch(key) else name,
        name,
        f"a record can never be {what} as it is, and those of its order wait behind it",
        {"where": where, "id": row["id"], "topic": row["topic"], "reason": row["reason"]},
        mark=name,
        resolutions=_ways(where, row["topic"]),
    )


def _ways(where: Where, topic: str) -> Sequence[Resolution]:
    """An event of ours is not left out: who reads its stream is promised that no number is missing."""
    is_an_event = where == "outbox" and not is_dead_letters(topic)
    return ("retry",) if is_an_event else ("retry", "skip")
