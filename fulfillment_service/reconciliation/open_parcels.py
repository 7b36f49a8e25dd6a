"""Open parcels that nothing runs for, or that nobody moves."""

from typing import Any, LiteralString

from contracts import fulfillment as contract
from contracts.chassis.housekeeping.open_streams import Case, Subject, open_stream_rule
from contracts.chassis.postgres import Database, Row
from contracts.chassis.reconciler import Kind, Rule, knocking
from contracts.chassis.settings import HousekeepingSettings
from contracts.chassis.temporal.presence import Attendance

PARCELS = Subject("parcel", "fulfillment_view", "fulfillment_id", contract.stream, contract.workflow_id)

# The next open ones by id. Who waits for a knock is moved by the relay; who moved just now is well.
_PAGE: LiteralString = """
    select
        fulfillment_id as id,
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


def open_parcel_rule(database: Database, attendance: Attendance, settings: HousekeepingSettings) -> Rule:
    return open_stream_rule(PARCELS, database, attendance, settings, page=_PAGE, judge=_judged)


def _judged(row: Row) -> Case | None:
    if row["is_stalled"] and not is_explained(row):
        knock = knocking(contract.workflow_id(row["id"]))
        return Case(Kind.NO_PROGRESS, "nothing has happened for long", knock)
    return None


def is_explained(row: Row) -> bool:
    """A person knows of it or has it in hand, a hold stands, or the carrier has not answered yet."""
    document: dict[str, Any] = row["document"]
    is_known = document["exception"] or row["has_exception"] or row["has_open_call"]
    is_in_hand = document["mode"] == "manual" and row["step"] in ("work", "hand-over")
    return bool(is_known or is_in_hand or document["holds"] or document["cancellationRequests"])
