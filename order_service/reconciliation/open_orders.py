"""Open orders that nothing runs for, that nobody moves, or that did not hear how their parcel ended."""

from collections.abc import Awaitable, Callable
from typing import Any, LiteralString

from contracts import order as contract
from contracts.chassis.postgres import Database, Row
from contracts.chassis.reconciler import Finding, Kind, Repair, Rule, Seen, knocking
from contracts.chassis.settings import HousekeepingSettings
from contracts.chassis.temporal.presence import Attendance, Presence

ENDED = ("SHIPPED", "CANCELLED", "FAILED")

# The next open ones by id. Who waits for a knock is moved by the relay; who moved just now is well.
_PAGE: LiteralString = """
    select
        order_id,
        version,
        step,
        status,
        document,
        fulfillment,
        greatest(updated_at, house.steady_since) < now() - %(stalled)s as is_stalled,
        greatest(fulfillment_at, house.steady_since) < now() - %(quiet)s as is_told_long,
        greatest(updated_at, house.steady_since) < now() - %(wish)s
        and exists (select from heard where heard_at > now() - interval '10 minutes')
        and not exists (
            select from parked where parked.order_id = order_view.order_id and parked.outcome is null
        ) as is_unheard,
        exists (
            select from exceptions where stream = 'order-' || order_id and resolved_at is null
        ) as has_exception,
        exists (
            select from external_calls where stream = 'order-' || order_id and answered_at is null
        )
        or exists (
            select from circuit_breakers where state <> 'CLOSED' or changed_at > now() - %(stalled)s
        ) as has_open_call
    from order_view
    cross join (select steady_since from reconciler_rules where rule = 'all') as house
    where step <> 'end'
      and order_id > %(after)s
      and updated_at < now() - %(quiet)s
      and not exists (select from knocks where workflow_id = 'order-workflow-' || order_id)
    order by order_id
    limit %(limit)s
    """

Ask = Callable[[str], Awaitable[Any]]
"""Asks the order's fulfillment how it stands, records that, and starts again one that is lost."""


class OpenOrderRules:
    """Looks through the open orders, a page at a time and round and round."""

    def __init__(
        self, database: Database, attendance: Attendance, ask: Ask, settings: HousekeepingSettings
    ) -> None:
        self._database = database
        self._attendance = attendance
        self._ask = ask
        self._settings = settings

    def all(self) -> list[Rule]:
        return [Rule("open-orders", self.look)]

    async def look(self, cursor: str) -> Seen:
        rows = await self._database.fetch(
            _PAGE,
            after=cursor,
            limit=self._settings.reconcile_page,
            quiet=self._settings.quiet,
            stalled=self._settings.stalled,
            wish=self._settings.wish,
        )
        present = await self._attendance.of([contract.workflow_id(row["order_id"]) for row in rows])
        findings = [
            finding
            for row, presence in zip(rows, present.values(), strict=True)
            if (finding := judged(row, presence, self._asking(row["order_id"])))
        ]
        is_full = len(rows) == self._settings.reconcile_page
        return Seen(findings, cursor=rows[-1]["order_id"] if is_full else "")

    def _asking(self, order_id: str) -> Repair:
        async def ask() -> None:
            await self._ask(order_id)

        knock = knocking(contract.workflow_id(order_id))
        return Repair("ASKED", inside=knock.inside, outside=ask)


def judged(row: Row, presence: Presence, asking: Repair) -> Finding | None:
    """What is wrong with an open order that was quiet for a while; most often nothing."""
    kind, reason, repair, tries = _case(row, presence, asking)
    if kind is None:
        return None
    order_id = row["order_id"]
    return Finding(
        kind,
        order_id,
        contract.stream(order_id),
        f"order {order_id} at {row['step']}: {reason}",
        {"status": row["status"], "step": row["step"], "workflow": presence.run},
        mark="" if presence.is_running else presence.run_id or f"v{row['version']}",
        version=row["version"],
        repair=repair,
        tries=tries,
    )


def _case(row: Row, presence: Presence, asking: Repair) -> tuple[Kind | None, str, Repair | None, int]:
    knock = knocking(contract.workflow_id(row["order_id"]))
    told: dict[str, Any] | None = row["fulfillment"]
    waits = row["step"] == "await-outcome"
    # An exception is a person's: it may say that this very store is not to be believed.
    asks = waits and not row["has_exception"]
    if presence.is_completed:
        return Kind.WORKFLOW_COMPLETED, "its workflow says it is done", None, 0
    if not presence.is_running:
        return Kind.WORKFLOW_MISSING, "no workflow runs for it", knock, 3
    if asks and told and told["status"] in ENDED and row["is_told_long"]:
        return Kind.OUTCOME_UNHEARD, "its parcel has ended, and it waits", asking, 3
    if asks and told is None and row["is_unheard"]:
        return Kind.FULFILLMENT_UNHEARD, "nothing was ever heard of its parcel", asking, 1
    if not waits and row["is_stalled"] and not is_explained(row):
        return Kind.NO_PROGRESS, "nothing has happened for long", knock, 1
    return None, "", None, 0


def is_explained(row: Row) -> bool:
    """A person knows of it, a hold stands, or a provider has not answered yet."""
    document: dict[str, Any] = row["document"]
    is_known = row["has_exception"] or row["has_open_call"]
    return bool(is_known or document["holds"] or document["isUnpaid"])
