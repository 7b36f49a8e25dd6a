"""What REST shows of a fulfillment: its own facts at once, its order as Kafka tells it."""

from datetime import datetime
from functools import partial
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from contracts.chassis import exception_facts, outbox, receipts
from contracts.chassis.event_store import Change
from contracts.chassis.postgres import Connection
from contracts.envelope import Event
from fulfillment_service.events import FulfillmentEvent
from fulfillment_service.fulfillment import Fulfillment
from fulfillment_service.fulfillment.horizon import allowed_actions, resolutions
from fulfillment_service.fulfillment.steps import provider_key
from fulfillment_service.fulfillment.wishes import advances
from fulfillment_service.publishing import paused_from, records


async def follow(connection: Connection, change: Change[Fulfillment, FulfillmentEvent]) -> None:
    """The view, the outbox and the receipts agree with the new facts when this transaction commits."""
    await project(connection, change.state, change.version, change.recorded[-1].recorded_at)
    await outbox.add(connection, list(records(change)))
    for before, recorded, after in change.steps:
        await receipts.advance(connection, advances(before, [recorded.fact]), recorded.version)
        await exception_facts.follow(
            connection,
            recorded,
            after.fulfillment_id,
            resolutions=partial(resolutions, change.state),
            provider_key=partial(provider_key, after),
        )


_PROJECT: LiteralString = """
    insert into fulfillment_view (
        fulfillment_id, order_id, n, stage, status, step, version, document, accepted_at, updated_at
    )
    values (
        %(fulfillment_id)s, %(order_id)s, %(n)s, %(stage)s, %(status)s, %(step)s, %(version)s, %(document)s,
        %(at)s, %(at)s
    )
    on conflict (fulfillment_id) do update
    set stage = excluded.stage,
        status = excluded.status,
        step = excluded.step,
        version = excluded.version,
        document = excluded.document,
        updated_at = excluded.updated_at
    where fulfillment_view.version < excluded.version
    """


async def project(connection: Connection, state: Fulfillment, version: int, at: datetime) -> None:
    """The fulfillment's row shows this state; a newer row stays as it is."""
    await connection.queue(
        _PROJECT,
        {
            "fulfillment_id": state.fulfillment_id,
            "order_id": state.order_id,
            "n": state.n,
            "stage": state.stage,
            "status": state.status,
            "step": state.step,
            "version": version,
            "document": Jsonb(document(state)),
            "at": at,
        },
    )


def document(state: Fulfillment) -> dict[str, Any]:
    """What else the view shows; only its `holds` are searched, for those who wait. Nothing personal."""
    return {
        "lines": [line.model_dump(mode="json") for line in state.lines],
        "mode": state.mode,
        "paceSeconds": state.pace_seconds,
        "serviceLevel": state.service_level,
        "customerRef": state.customer_ref,
        "country": state.country,
        "warehouse": state.warehouse,
        "carrier": state.carrier,
        "currentStep": state.step_key,
        "stepOpen": state.is_moving,
        "pausedFrom": paused_from(state),
        "holds": [hold.model_dump(mode="json", exclude_none=True) for hold in state.holds],
        "itemsPicked": state.items_picked,
        "itemsTotal": state.items_total,
        "stepsDone": state.steps_done,
        "stepsTotal": state.steps_total,
        "percent": state.percent,
        "setback": {"reason": state.setback.reason, "commandId": state.setback.command_id}
        if state.setback
        else None,
        "addressVersion": state.address_version,
        "trackingReference": state.label.tracking_reference if state.label else None,
        "labelCosts": {
            "bookedMinor": state.costs.booked_minor,
            "wastedMinor": state.costs.wasted_minor,
            "currency": state.costs.currency,
        }
        if state.costs.booked_minor
        else None,
        "cancellationRequests": [
            {"commandId": asked.command_id, "answerBy": asked.answer_by.isoformat()} for asked in state.asked
        ],
        "exception": {"stepKey": state.trouble.step_key, "code": state.trouble.code}
        if state.trouble and not state.is_ended
        else None,
        "exceptions": [
            {"stepKey": each.step_key, "code": each.code, "fault": each.fault} for each in state.troubles
        ],
        "failure": state.failure,
        "pendingCommands": [wish.command_id for wish in state.waiting],
        "allowedActions": allowed_actions(state),
    }


_HEARD: LiteralString = """
    insert into order_view (order_id, status, payment_status, sequence, at)
    values (%(order_id)s, %(status)s, %(payment_status)s, %(sequence)s, %(at)s)
    on conflict (order_id) do update
    set status = excluded.status,
        payment_status = excluded.payment_status,
        sequence = excluded.sequence,
        at = excluded.at
    where order_view.sequence < excluded.sequence
    """


async def show_order(connection: Connection, event: Event) -> None:
    """The order is shown as its event says, unless something newer is shown already.

    It speaks before its first parcel exists here, so it has a row of its own."""
    await connection.queue(
        _HEARD,
        {
            "order_id": event.correlation_id,
            "status": event.data["status"],
            "payment_status": event.data["paymentStatus"],
            "sequence": event.sequence,
            "at": event.time,
        },
    )


_SELECT: LiteralString = """
    select
        parcel.*,
        buyer.status as order_status,
        buyer.payment_status as order_payment_status,
        buyer.sequence as order_sequence,
        buyer.at as order_at,
        now() as now
    from fulfillment_view as parcel
    left join order_view as buyer using (order_id)
    """

FIND: LiteralString = _SELECT + "where fulfillment_id = %(fulfillment_id)s"

NEWEST_OF_ORDER: LiteralString = _SELECT + "where order_id = %(order_id)s order by n desc limit 1"

# Keyset: a page never shifts when new fulfillments arrive.
PAGE: LiteralString = (
    _SELECT
    + """
    where (%(status)s::text is null or parcel.status = %(status)s)
      and (%(stage)s::text is null or stage = %(stage)s)
      and (%(order_id)s::text is null or order_id = %(order_id)s)
      and (
          %(after_at)s::timestamptz is null
          or (accepted_at, fulfillment_id) < (%(after_at)s, %(after_id)s)
      )
    order by accepted_at desc, fulfillment_id desc
    limit %(limit)s
    """
)
