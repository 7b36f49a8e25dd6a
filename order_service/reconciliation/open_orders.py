"""Open orders that nothing runs for, that nobody moves, or that did not hear how their parcel ended."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, LiteralString

from contracts import order as contract
from contracts.chassis.housekeeping.open_streams import Case, Subject, open_stream_rule
from contracts.chassis.postgres import Database, Row
from contracts.chassis.reconciler import Kind, Repair, Rule, knocking
from contracts.chassis.settings import HousekeepingSettings
from contracts.chassis.temporal.presence import Attendance

ORDERS = Subject("order", "order_view", "order_id", contract.stream, contract.workflow_id)
ENDED = ("SHIPPED", "CANCELLED", "FAILED")

# The next open ones by id. Who waits for a knock is moved by the relay; who moved just now is well.
_PAGE: LiteralString = """
    select
        order_id as id,
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


def open_order_rule(
    database: Database, attendance: Attendance, ask: Ask, settings: HousekeepingSettings
) -> Rule:
    return open_stream_rule(ORDERS, database, attendance, settings, page=_PAGE, judge=partial(_judged, ask))


def _judged(ask: Ask, row: Row) -> Case | None:
    told: dict[str, Any] | None = row["fulfillment"]
    waits = row["step"] == "await-outcome"
    # An exception is a person's: it may say that this very store is not to be believed.
    asks = waits and not row["has_exception"]
    if asks and told and told["status"] in ENDED and row["is_told_long"]:
        return Case(Kind.OUTCOME_UNHEARD, "its parcel has ended, and it waits", _asking(ask, row, tries=3))
    if asks and told is None and row["is_unheard"]:
        return Case(Kind.FULFILLMENT_UNHEARD, "nothing was ever heard of its parcel", _asking(ask, row))
    if not waits and row["is_stalled"] and not (row["has_open_call"] or is_explained(row)):
        knock = knocking(contract.workflow_id(row["id"]))
        return Case(Kind.NO_PROGRESS, "nothing has happened for long", knock)
    return None


def _asking(ask: Ask, row: Row, *, tries: int = 1) -> Repair:
    """What it hears is recorded, and the workflow is knocked to read it."""
    knock = knocking(contract.workflow_id(row["id"]))
    return Repair("ASKED", inside=knock.inside, outside=partial(ask, row["id"]), tries=tries)


def is_explained(row: Row) -> bool:
    """A person knows of it, or a hold stands."""
    document: dict[str, Any] = row["document"]
    return bool(row["has_exception"] or document["holds"] or document["isUnpaid"])
