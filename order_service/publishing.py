"""Each fact of an order becomes exactly one public event, so the events' sequence has no gaps."""

from collections.abc import Iterator

from contracts import fulfillment, order
from contracts.chassis.event_store import Change, Recorded
from contracts.chassis.outbox import OutboxRecord
from contracts.chassis.publishing import Publication
from contracts.order import OrderEventData
from contracts.values import Line
from order_service.events import OrderEvent
from order_service.order import Order
from order_service.order.state import STEPS_TOTAL

PUBLICATION = Publication(order.TOPIC, order.SOURCE, order.EVENT_TYPE_PREFIX)


def records(change: Change[Order, OrderEvent]) -> Iterator[OutboxRecord]:
    """One record for each new fact, in order, with the order as it was right after that fact."""
    for _, recorded, state in change.steps:
        yield PUBLICATION.record(recorded, state.order_id, _data(recorded, state))


def _data(recorded: Recorded[OrderEvent], state: Order) -> OrderEventData:
    return OrderEventData(
        order_id=state.order_id,
        workflow_id=order.workflow_id(state.order_id),
        status=state.status,
        stage=state.stage,
        payment_status=state.payment,
        total_minor=state.total_minor,
        currency=state.currency,
        customer_id=state.customer_id,
        lines=tuple(Line(sku=each.sku, quantity=each.quantity) for each in state.lines),
        address_version=state.address_version,
        fulfillment_id=fulfillment_id(state),
        percent=percent(state),
        code=getattr(recorded.fact, "code", None),
        command_id=recorded.command_id,
        actor=recorded.actor,
        hold=getattr(recorded.fact, "hold", None),
        handle=getattr(recorded.fact, "handle", None),
    )


def fulfillment_id(state: Order) -> str | None:
    return fulfillment.fulfillment_id(state.order_id, state.fulfillment_n) if state.fulfillment_n else None


def percent(state: Order) -> int:
    return round(100 * state.steps_done / STEPS_TOTAL)
