"""What waits in a service's queues longer than it should: events for Kafka, records that were set aside."""

from typing import LiteralString

from contracts.chassis import outbox
from contracts.chassis.postgres import Connection, Database, Row
from contracts.chassis.reconciler import Finding, Kind, Repair, Rule, Seen
from contracts.chassis.settings import HousekeepingSettings

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

_BLOCKED: LiteralString = """
    select key as order_id, id, topic, last_error as reason
    from outbox
    where published_at is null
      and parked_at < now() - %(quiet)s
    order by id
    limit %(limit)s
    """

_PARKED: LiteralString = """
    select distinct on (order_id) order_id, id, topic, reason
    from parked
    where outcome is null
      and parked_at < now() - %(stalled)s
    order by order_id, id
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
                *(_blocked(row, "be sent", "outbox") for row in blocked),
                *(_blocked(row, "be applied", "inbox") for row in parked),
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


def _blocked(row: Row, what: str, where: str) -> Finding:
    return Finding(
        Kind.RECORD_BLOCKED,
        row["order_id"],
        f"{where}-{row['order_id']}",
        f"a record of {row['order_id']} can never {what} as it is; later ones wait behind it",
        {"where": where, "id": row["id"], "topic": row["topic"], "reason": row["reason"]},
        mark=f"{where}/{row['id']}",
    )
