"""Open parcels that nothing runs for, or that nobody moves."""

from typing import Any, LiteralString

from contracts import fulfillment as contract
from contracts.chassis.postgres import Database, Row
from contracts.chassis.reconciler import Finding, Kind, Repair, Rule, Seen, knocking
from contracts.chassis.settings import HousekeepingSettings
from contracts.chassis.temporal.presence import Attendance, Presence

# The next open ones by id. Who waits for a knock is moved by the relay; who moved just now is well.
_PAGE: LiteralString = """
    select
        fulfillment_id,
        version,
        step,
        status,
        document,
        greatest(updated_at, house.steady_since) + (document ->> 'paceSeconds')::float * interval '1 second'
            < now() - %(stalled)s as is_stalled,
        exists (
            select from exceptions where stream = 'fulfillment-' || fulfillment_id and resolved_at is null
        ) as has_exception,
        exists (
            select from external_calls
            where stream = 'fulfillment-' || fulfillment_id and answered_at is null
        )
        or exists (
            select from circuit_breakers where state <> 'CLOSED' or changed_at > now() - %(stalled)s
        ) as has_open_call
    from fulfillment_view
    cross join (select steady_since from reconciler_rules where rule = 'all') as house
    where step <> 'end'
      and fulfillment_id > %(after)s
      and updated_at < now() - %(quiet)s
      and not exists (select from knocks where workflow_id = 'fulfillment-' || fulfillment_id)
    order by fulfillment_id
    limit %(limit)s
    """


class OpenParcelRules:
    """Looks through the open parcels, a page at a time and round and round."""

    def __init__(self, database: Database, attendance: Attendance, settings: HousekeepingSettings) -> None:
        self._database = database
        self._attendance = attendance
        self._settings = settings

    def all(self) -> list[Rule]:
        return [Rule("open-parcels", self.look)]

    async def look(self, cursor: str) -> Seen:
        rows = await self._database.fetch(
            _PAGE,
            after=cursor,
            limit=self._settings.reconcile_page,
            quiet=self._settings.quiet,
            stalled=self._settings.stalled,
        )
        present = await self._attendance.of([contract.workflow_id(row["fulfillment_id"]) for row in rows])
        findings = [
            finding
            for row, presence in zip(rows, present.values(), strict=True)
            if (finding := judged(row, presence))
        ]
        is_full = len(rows) == self._settings.reconcile_page
        return Seen(findings, cursor=rows[-1]["fulfillment_id"] if is_full else "")


def judged(row: Row, presence: Presence) -> Finding | None:
    """What is wrong with an open parcel that was quiet for a while; most often nothing."""
    kind, reason, repair, tries = _case(row, presence)
    if kind is None:
        return None
    name = row["fulfillment_id"]
    return Finding(
        kind,
        name,
        contract.stream(name),
        f"parcel {name} at {row['step']}: {reason}",
        {"status": row["status"], "step": row["step"], "workflow": presence.run},
        mark="" if presence.is_running else presence.run_id or f"v{row['version']}",
        version=row["version"],
        repair=repair,
        tries=tries,
    )


def _case(row: Row, presence: Presence) -> tuple[Kind | None, str, Repair | None, int]:
    knock = knocking(contract.workflow_id(row["fulfillment_id"]))
    if presence.is_completed:
        return Kind.WORKFLOW_COMPLETED, "its workflow says it is done", None, 0
    if not presence.is_running:
        return Kind.WORKFLOW_MISSING, "no workflow runs for it", knock, 3
    if row["is_stalled"] and not is_explained(row):
        return Kind.NO_PROGRESS, "nothing has happened for long", knock, 1
    return None, "", None, 0


def is_explained(row: Row) -> bool:
    """A person knows of it or has it in hand, a hold stands, or the carrier has not answered yet."""
    document: dict[str, Any] = row["document"]
    is_known = document["exception"] or row["has_exception"] or row["has_open_call"]
    is_in_hand = document["mode"] == "manual" and row["step"] in ("work", "hand-over")
    return bool(is_known or is_in_hand or document["holds"] or document["cancellationRequests"])
