"""Parcels that were heard of and that no order asked for."""

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString

from contracts import fulfillment
from contracts import order as contract
from contracts.chassis.postgres import Database, Row
from contracts.chassis.reconciler import Finding, Kind, Rule, Seen
from contracts.chassis.settings import HousekeepingSettings

PAGE = 500

_FIRST: LiteralString = """
    select
        heard.order_id,
        heard.stream,
        heard.heard_at,
        order_view.document ->> 'fulfillmentId' as known
    from heard
    left join order_view using (order_id)
    where heard.sequence = 1
    """

_OF_ORDER: LiteralString = _FIRST + "and heard.order_id = %(order_id)s"

# In the order they were heard; what is younger may still be joined by what commits late.
_HEARD: LiteralString = (
    _FIRST
    + """
      and (heard.heard_at, heard.stream) > (%(after_at)s, %(after)s)
      and heard.heard_at >= %(after_at)s
      and heard.heard_at < now() - %(quiet)s
    order by heard.heard_at, heard.stream
    limit %(limit)s
    """
)


def heard_parcel_rule(database: Database, settings: HousekeepingSettings) -> Rule:
    """Looks at each parcel once, when it was heard of, and at an order's when a person retries that."""

    async def look(cursor: str) -> Seen:
        at, _, stream = cursor.partition(" ")
        rows = await database.fetch(
            _HEARD,
            after_at=datetime.fromisoformat(at or "1970-01-01T00:00:00Z"),
            after=stream,
            quiet=settings.quiet,
            limit=PAGE,
        )
        findings = [_finding(row) for row in rows if not _is_asked_for(row)]
        last = f"{rows[-1]['heard_at'].isoformat()} {rows[-1]['stream']}" if rows else cursor
        return Seen(findings, last, has_more=len(rows) == PAGE)

    async def again(stream: str) -> Sequence[Finding]:
        rows = await database.fetch(_OF_ORDER, order_id=contract.order_id_of(stream))
        return [_finding(row) for row in rows if not _is_asked_for(row)]

    return Rule("heard-parcels", look, kinds=(Kind.FULFILLMENT_UNKNOWN,), again=again)


def _is_asked_for(row: Row) -> bool:
    """The order has asked for this one or a later one."""
    known: str | None = row["known"]
    return known is not None and _number(known) >= _number(fulfillment.fulfillment_id_of(row["stream"]))


def _number(fulfillment_id: str) -> int:
    return int(fulfillment_id.rpartition("-")[2])


def _finding(row: Row) -> Finding:
    order_id = row["order_id"]
    return Finding(
        Kind.FULFILLMENT_UNKNOWN,
        order_id,
        contract.stream(order_id),
        f"there is a parcel {row['stream']} that the order did not ask for",
        {"parcel": row["stream"], "heardAt": row["heard_at"].isoformat(), "known": row["known"]},
        mark=row["stream"],
    )
