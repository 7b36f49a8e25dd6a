"""How each fact changes an order."""

from dataclasses import replace
from typing import assert_never

from contracts.chassis import troubles
from contracts.envelope import FINAL, ReceiptStatus
from contracts.order import PaymentStatus, Stage
from contracts.values import Code
from order_service.events import (
    AddressChanged,
    CancelRequested,
    CaptureRefused,
    CaptureRequested,
    ContactChanged,
    ExceptionRaised,
    ExceptionResolved,
    FulfillmentAnswered,
    FulfillmentCompleted,
    FulfillmentHoldPlaced,
    FulfillmentHoldsReleased,
    FulfillmentInstructed,
    FulfillmentRequested,
    FulfillmentStarted,
    FulfillmentUnderWay,
    HoldPlaced,
    HoldReleased,
    InstructionsChanged,
    OrderCancelled,
    OrderConfirmed,
    OrderEvent,
    OrderFailed,
    OrderPlaced,
    OrderShipped,
    PaymentAuthorizationRequested,
    PaymentAuthorized,
    PaymentCaptured,
    PaymentDeclined,
    PaymentVoided,
    StockHeld,
    StockRefused,
    StockReleased,
    VoidRefused,
    VoidRequested,
)
from order_service.order.state import Call, Order, Waiting


def evolve(order: Order | None, fact: OrderEvent) -> Order:
    """The order after one more fact."""
    if isinstance(fact, OrderPlaced):
        return _placed(fact)
    if order is None:
        raise ValueError("an order begins with OrderPlaced")
    after = _learnt(order, fact)
    wished = (*order.waiting, *_wished(after, fact))
    waiting = tuple(each for each in wished if verdict(after, each) == "ACCEPTED")
    # Most facts change nothing of it, and a copy costs as much as all that the fact itself changed.
    return after if waiting == after.waiting else replace(after, waiting=waiting)


def _learnt(order: Order, fact: OrderEvent) -> Order:
    match fact:
        case OrderPlaced():
            raise ValueError("an order is placed once")
        case StockHeld():
            return replace(order, stage=Stage.INVENTORY_RESERVED, stock="held")
        case StockRefused():
            return replace(order, failure=Code.OUT_OF_STOCK)
        case PaymentAuthorizationRequested():
            is_first = order.payment is PaymentStatus.NONE
            stage = Stage.PAYMENT_PROCESSING if is_first else order.stage
            return replace(order, stage=stage, authorization=Call(fact.n, fact.provider_key))
        case PaymentAuthorized():
            return _authorized(order, fact)
        case PaymentDeclined():
            return _declined(order, fact)
        case HoldPlaced():
            return replace(order, holds=(*order.holds, fact.hold))
        case HoldReleased():
            return replace(order, holds=tuple(h for h in order.holds if h.handle != fact.handle))
        case OrderConfirmed():
            return replace(order, stage=Stage.CONFIRMED, stock="confirmed")
        case FulfillmentRequested():
            return replace(order, fulfillment_n=fact.n)
        case FulfillmentStarted():
            return replace(order, stage=Stage.FULFILLMENT_STARTED, fulfillment_started=True)
        case FulfillmentUnderWay():
            return replace(order, stage=Stage.FULFILLMENT_IN_PROGRESS)
        case FulfillmentHoldPlaced():
            return replace(order, held=(*order.held, fact.hold))
        case FulfillmentHoldsReleased():
            return replace(order, held=tuple(h for h in order.held if h.handle not in fact.handles))
        case FulfillmentInstructed():
            return replace(order, lane=(*order.lane, fact))
        case FulfillmentAnswered():
            return _heard(order, fact)
        case FulfillmentCompleted():
            return replace(order, completion=fact.outcome, lane=(), accepted=(), unanswered=())
        case OrderShipped():
            return replace(order, stage=Stage.SHIPPED, stock="shipped", cancels=())
        case CancelRequested():
            unanswered = (*order.unanswered, fact) if fact.answer_by else order.unanswered
            return replace(order, cancels=(*order.cancels, fact.command_id), unanswered=unanswered)
        case CaptureRequested():
            return replace(order, capture=Call(fact.n, fact.provider_key, fact.reference))
        case PaymentCaptured():
            return replace(order, payment=PaymentStatus.CAPTURED, capture=_answered(order.capture))
        case CaptureRefused():
            after = _without(order, order.capture) if fact.has_lapsed else order
            return replace(after, capture=_answered(order.capture))
        case VoidRequested():
            return replace(order, void=Call(fact.n, fact.provider_key, fact.reference))
        case PaymentVoided():
            after = _without(order, order.void)
            payment = order.payment if after.authorizations else PaymentStatus.VOIDED
            return replace(after, payment=payment, void=_answered(order.void))
        case VoidRefused():
            # One that was replaced lapses by itself; nobody waits for it.
            after = _without(order, order.void) if order.outdated else order
            return replace(after, void=_answered(order.void))
        case StockReleased():
            return replace(order, stock="released")
        case OrderCancelled():
            return replace(order, stage=Stage.CANCELLED)
        case OrderFailed():
            return replace(order, stage=Stage.FAILED)
        case ContactChanged():
            return replace(order, contact_version=fact.version)
        case AddressChanged():
            return replace(order, address_version=fact.version, country=fact.country)
        case InstructionsChanged():
            return replace(order, instructions_version=fact.version)
        case ExceptionRaised():
            return replace(order, troubles=troubles.opened(order.troubles, fact))
        case ExceptionResolved():
            return replace(order, troubles=troubles.without(order.troubles, fact))
        case _:
            assert_never(fact)


def _placed(fact: OrderPlaced) -> Order:
    return Order(
        order_id=fact.order_id,
        customer_id=fact.customer_id,
        lines=fact.lines,
        currency=fact.currency,
        total_minor=fact.total_minor,
        country=fact.country,
        service_level=fact.service_level,
        mode=fact.mode,
        pace_seconds=fact.pace_seconds,
        instructions_version=1 if fact.has_instructions else 0,
    )


def _authorized(order: Order, fact: PaymentAuthorized) -> Order:
    is_first = order.payment is PaymentStatus.NONE
    return replace(
        order,
        stage=Stage.PAYMENT_CONFIRMED if is_first else order.stage,
        payment=PaymentStatus.AUTHORIZED,
        authorization=_answered(order.authorization),
        authorizations=(*order.authorizations, fact.reference),
        authorized_until=fact.expires_at,
        renew_at=fact.renew_at,
        unpaid=None,
    )


def _declined(order: Order, fact: PaymentDeclined) -> Order:
    """The first no ends the order; a later one only means that it is not paid for much longer."""
    after = replace(order, authorization=_answered(order.authorization))
    if order.payment is PaymentStatus.NONE:
        return replace(after, failure=Code.PAYMENT_DECLINED)
    return replace(after, renew_at=fact.retry_at, unpaid=order.unpaid or fact.n)


def _without(order: Order, call: Call | None) -> Order:
    """The authorization that the call was about stands no more."""
    gone = call.reference if call else None
    return replace(order, authorizations=tuple(each for each in order.authorizations if each != gone))


def _heard(order: Order, fact: FulfillmentAnswered) -> Order:
    """The wish left the lane: refused, in effect, or accepted and still to take effect."""
    command_id = fact.command_id
    asked = [each for each in (*order.lane, *order.accepted) if each.command_id == command_id]
    waits = fact.status not in FINAL and command_id not in order.cancels
    return replace(
        order,
        lane=tuple(each for each in order.lane if each.command_id != command_id),
        accepted=(
            *(each for each in order.accepted if each.command_id != command_id),
            *(asked[:1] if waits else ()),
        ),
        cancels=tuple(each for each in order.cancels if each != command_id or fact.status != "REJECTED"),
        unanswered=tuple(each for each in order.unanswered if each.command_id != command_id),
    )


def _wished(after: Order, fact: OrderEvent) -> list[Waiting]:
    """The wish that a fact grants and that may still have to take effect."""
    match fact:
        case HoldPlaced(command_id=str() as command_id):
            return [Waiting(command_id, handle=fact.hold.handle)]
        case HoldReleased(command_id=str() as command_id):
            return [Waiting(command_id, step=after.step)]
        case _:
            return []


def verdict(order: Order, wish: Waiting) -> ReceiptStatus:
    """What has become of a hold or its end: ACCEPTED until it takes effect or something overtakes it."""
    if order.is_undone:
        return "SUPERSEDED"
    if wish.handle is None:
        goes_on = order.is_authorizing or order.step is not wish.step
        return "EFFECTIVE" if goes_on or order.holds else "ACCEPTED"
    if wish.handle not in {hold.handle for hold in order.holds}:
        return "SUPERSEDED"
    return "ACCEPTED" if order.is_authorizing else "EFFECTIVE"


def _answered(call: Call | None) -> Call | None:
    return replace(call, answered=True) if call else None
