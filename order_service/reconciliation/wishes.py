"""Wishes of orders that have no final receipt when they should."""

from collections.abc import Awaitable, Callable
from typing import Any, LiteralString

from contracts import order as contract
from contracts.chassis.postgres import Database, Row
from contracts.chassis.reconciler import Finding, Kind, Repair, Rule, Seen
from contracts.chassis.settings import HousekeepingSettings
from order_service.reconciliation.open_orders import is_explained

PAGE = 200

_OPEN: LiteralString = """
    select
        receipts.command_id,
        receipts.name,
        receipts.status as receipt,
        order_view.*,
        exists (
            select from exceptions
            where exceptions.stream = receipts.stream and resolved_at is null
        ) as has_exception,
        false as has_open_call
    from receipts
    join order_view on order_view.order_id = substr(receipts.stream, length('order-') + 1)
    cross join (select steady_since from reconciler_rules where rule = 'all') as house
    where receipts.status in ('RECEIVED', 'ACCEPTED')
      and receipts.stream like 'order-%%'
      and receipts.command_id > %(after)s
      and greatest(receipts.received_at, order_view.updated_at, house.steady_since)
          < now() - case when step = 'end' then %(quiet)s else %(wish)s end
      and (step = 'end' or receipts.status = 'RECEIVED')
    order by receipts.command_id
    limit %(limit)s
    """

Send = Callable[[str, str], Awaitable[Any]]
"""Sends a wish of an order to its fulfillment; one that is known there has no second effect."""


class WishRules:
    """Looks at what was promised and not kept."""

    def __init__(self, database: Database, send: Send, settings: HousekeepingSettings) -> None:
        self._database = database
        self._send = send
        self._settings = settings

    def all(self) -> list[Rule]:
        return [Rule("wishes", self.look)]

    async def look(self, cursor: str) -> Seen:
        rows = await self._database.fetch(
            _OPEN, after=cursor, quiet=self._settings.quiet, wish=self._settings.wish, limit=PAGE
        )
        findings = [found for row in rows if (found := judged(row, self._sending(row)))]
        return Seen(findings, cursor=rows[-1]["command_id"] if len(rows) == PAGE else "")

    def _sending(self, row: Row) -> Repair:
        order_id, command_id = row["order_id"], row["command_id"]

        async def send() -> None:
            await self._send(order_id, command_id)

        return Repair("SENT_AGAIN", outside=send)


def judged(row: Row, sending: Repair) -> Finding | None:
    """What is wrong with a wish that waits; None where a person or its own deadline sees to it."""
    order_id, command_id = row["order_id"], row["command_id"]
    is_over = row["step"] == "end"
    cancels: list[dict[str, Any]] = row["document"]["unansweredCancels"]
    has_deadline = any(cancel["commandId"] == command_id for cancel in cancels)
    if not is_over and (has_deadline or is_explained(row)):
        return None
    return Finding(
        Kind.WISH_UNSETTLED if is_over else Kind.WISH_UNANSWERED,
        order_id,
        contract.stream(order_id),
        f"{row['name']} {command_id} of order {order_id} is {row['receipt']}"
        + (", and the order has ended" if is_over else " for long"),
        {"commandId": command_id, "name": row["name"], "receipt": row["receipt"], "step": row["step"]},
        mark=command_id,
        version=row["version"],
        repair=None if is_over else sending,
        tries=2,
    )
