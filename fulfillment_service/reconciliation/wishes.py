"""Wishes for parcels that have no final receipt when they should."""

from typing import Any, LiteralString

from contracts import fulfillment as contract
from contracts.chassis.postgres import Database, Row
from contracts.chassis.reconciler import Finding, Kind, Rule, Seen, knocking
from contracts.chassis.settings import HousekeepingSettings

PAGE = 200

_OPEN: LiteralString = """
    select
        receipts.command_id,
        receipts.name,
        receipts.status as receipt,
        fulfillment_view.fulfillment_id,
        fulfillment_view.version,
        fulfillment_view.step,
        fulfillment_view.document,
        exists (
            select from exceptions
            where exceptions.stream = receipts.stream and resolved_at is null
        ) as has_exception
    from receipts
    join fulfillment_view
        on fulfillment_view.fulfillment_id = substr(receipts.stream, length('fulfillment-') + 1)
    cross join (select steady_since from reconciler_rules where rule = 'all') as house
    where receipts.status in ('RECEIVED', 'ACCEPTED')
      and receipts.stream like 'fulfillment-%%'
      and receipts.command_id > %(after)s
      and greatest(receipts.received_at, fulfillment_view.updated_at, house.steady_since)
          < now() - case when step = 'end' then %(quiet)s else %(wish)s end
      and (step = 'end' or receipts.status = 'RECEIVED')
    order by receipts.command_id
    limit %(limit)s
    """


class WishRules:
    """Looks at what was promised and not kept."""

    def __init__(self, database: Database, settings: HousekeepingSettings) -> None:
        self._database = database
        self._settings = settings

    def all(self) -> list[Rule]:
        return [Rule("wishes", self.look)]

    async def look(self, cursor: str) -> Seen:
        rows = await self._database.fetch(
            _OPEN, after=cursor, quiet=self._settings.quiet, wish=self._settings.wish, limit=PAGE
        )
        findings = [found for row in rows if (found := judged(row))]
        return Seen(findings, cursor=rows[-1]["command_id"] if len(rows) == PAGE else "")


def judged(row: Row) -> Finding | None:
    """What is wrong with a wish that waits; None where a person decides it or knows of the parcel."""
    document: dict[str, Any] = row["document"]
    name, command_id, is_over = row["fulfillment_id"], row["command_id"], row["step"] == "end"
    is_known = document["cancellationRequests"] or document["exception"] or row["has_exception"]
    if not is_over and is_known:
        return None
    return Finding(
        Kind.WISH_UNSETTLED if is_over else Kind.WISH_UNANSWERED,
        name,
        contract.stream(name),
        f"{row['name']} {command_id} of parcel {name} is {row['receipt']}"
        + (", and the parcel has ended" if is_over else " for long"),
        {"commandId": command_id, "name": row["name"], "receipt": row["receipt"], "step": row["step"]},
        mark=command_id,
        version=row["version"],
        repair=None if is_over else knocking(contract.workflow_id(name)),
    )
