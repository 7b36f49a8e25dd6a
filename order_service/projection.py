"""What REST shows of an order: its own facts at once, its fulfillment as Kafka tells it."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from contracts.chassis import exception_facts, outbox, receipts
from contracts.chassis.event_store import Change, Recorded
from contracts.chassis.postgres import Connection, Row
from contracts.envelope import Event
from contracts.values import Hold
from order_service.events import FulfillmentInstructed, OrderEvent
from order_service.order import STEPS_TOTAL, Order
from order_service.order.exceptions import provider_key
from order_service.order.horizon import allowed_actions, resolutions
from order_service.order.wishes import advances
from order_service.publishing import fulfillment_id, percent, records


async def follow(connection: Connection, change: Change[Order, OrderEvent]) -> None:
    """The view, the outbox and the receipts agree with the new facts when this transaction commits."""
    await project(connection, change.state, change.version, change.recorded[-1].recorded_at)
    await outbox.add(connection, list(records(change)))
    for before, recorded, after in change.steps:
        await _receive(connection, recorded)
        await receipts.advance(connection, advances(before, after, [recorded.fact]), recorded.version)
        await exception_facts.follow(
            connection,
            recorded,
            after.order_id,
            resolutions=partial(resolutions, change.state),
            provider_key=partial(provider_key, after),
        )


async def _receive(connection: Connection, recorded: Recorded[OrderEvent]) -> None:
    """What the order wishes by itself has a receipt like any other wish."""
    fact = recorded.fact
    if isinstance(fact, FulfillmentInstructed) and fact.command_id != recorded.command_id:
        command = receipts.Command(fact.command_id, fact.instruction, recorded.stream, recorded.actor, "")
        await receipts.receive(connection, command)


async def project(connection: Connection, order: Order, version: int, at: datetime) -> None:
    """The order's row shows this state; a newer row stays as it is."""
    await connection.queue(
        """
        insert into order_view (
            order_id, customer_id, stage, status, payment_status, step,
            version, document, placed_at, updated_at
        )
        values (
            %(order_id)s, %(customer_id)s, %(stage)s, %(status)s, %(payment)s, %(step)s,
            %(version)s, %(document)s, %(at)s, %(at)s
        )
        on conflict (order_id) do update
        set stage = excluded.stage,
            status = excluded.status,
            payment_status = excluded.payment_status,
            step = excluded.step,
            version = excluded.version,
            document = excluded.document,
            updated_at = excluded.updated_at
        where order_view.version < excluded.version
        """,
        {
            "order_id": order.order_id,
            "customer_id": order.customer_id,
            "stage": order.stage,
            "status": order.status,
            "payment": order.payment,
            "step": order.step,
            "version": version,
            "document": Jsonb(document(order)),
            "at": at,
        },
    )


def document(order: Order) -> dict[str, Any]:
    """The parts of the view that no query filters by; nothing personal."""
    return {
        "lines": [line.model_dump(mode="json") for line in order.lines],
        "currency": order.currency,
        "totalMinor": order.total_minor,
        "addressVersion": order.address_version,
        "contactVersion": order.contact_version,
        "instructionsVersion": order.instructions_version,
        "fulfillmentId": fulfillment_id(order),
        "holds": _shown(order.holds),
        "holdsForFulfillment": _shown(() if order.is_requested else order.held),
        "pendingCommands": [wish.command_id for wish in (*order.lane, *order.waiting)],
        "stepsDone": order.steps_done,
        "stepsTotal": STEPS_TOTAL,
        "percent": percent(order),
        "unansweredCancels": [
            {"commandId": cancel.command_id, "answerBy": _moment(cancel.answer_by)}
            for cancel in order.unanswered
        ],
        "authorizedUntil": _moment(order.authorized_until),
        "renewAt": _moment(order.renew_at),
        "isUnpaid": order.unpaid is not None,
        "attention": order.attention,
        "exceptions": [
            {"stepKey": each.step_key, "code": each.code, "fault": each.fault} for each in order.troubles
        ],
        "failure": order.failure,
        "allowedActions": allowed_actions(order),
    }


def _shown(holds: Sequence[Hold]) -> list[dict[str, Any]]:
    return [hold.model_dump(mode="json", exclude_none=True) for hold in holds]


def _moment(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


async def show_fulfillment(connection: Connection, event: Event) -> None:
    """The order's row shows what the fulfillment's event says, unless it already shows something newer."""
    await connection.queue(
        """
        update order_view
        set fulfillment = %(data)s,
            fulfillment_sequence = %(sequence)s,
            fulfillment_at = %(at)s
        where order_id = %(order_id)s
          and fulfillment_sequence < %(sequence)s
        """,
        {
            "data": Jsonb(event.data),
            "sequence": event.sequence,
            "at": event.time,
            "order_id": event.correlation_id,
        },
    )


FIND: LiteralString = "select * from order_view where order_id = %(order_id)s"

# Keyset: a page never shifts when new orders arrive.
PAGE: LiteralString = """
    select *
    from order_view
    where (%(status)s::text is null or status = %(status)s)
      and (%(stage)s::text is null or stage = %(stage)s)
      and (%(customer_id)s::text is null or customer_id = %(customer_id)s)
      and (%(after_at)s::timestamptz is null or (placed_at, order_id) < (%(after_at)s, %(after_id)s))
    order by placed_at desc, order_id desc
    limit %(limit)s
    """


async def find(connection: Connection, order_id: str) -> Row | None:
    return await (await connection.execute(FIND, {"order_id": order_id})).fetchone()
