"""What each step of an order's way adds to it. A step that the stream already records adds nothing."""

from datetime import datetime

from contracts.envelope import FINAL, CommandOutcome
from contracts.order import FulfillmentCompleted as Completion
from contracts.order import PaymentStatus
from contracts.values import Code
from order_service.events import (
    AddressChanged,
    AttentionRaised,
    AttentionResolved,
    CaptureRefused,
    CaptureRequested,
    FulfillmentAnswered,
    FulfillmentCompleted,
    FulfillmentRequested,
    FulfillmentStarted,
    FulfillmentUnderWay,
    HoldReleased,
    OrderCancelled,
    OrderConfirmed,
    OrderEvent,
    OrderFailed,
    OrderShipped,
    PaymentAuthorizationRequested,
    PaymentAuthorized,
    PaymentCaptured,
    PaymentDeclined,
    PaymentVoided,
    StockHeld,
    StockRefused,
    StockReleased,
    VoidRequested,
)
from order_service.order.state import Call, Order, Step


def hold_stock(order: Order, *, short_of: str | None) -> list[OrderEvent]:
    """All lines are held, or none is because of the article that is short."""
    if order.step is not Step.HOLD_STOCK or order.is_stopped:
        return []
    return [StockHeld()] if short_of is None else [StockRefused(sku=short_of)]


def request_authorization(order: Order) -> list[OrderEvent]:
    """The authorization has a name before the provider hears of it."""
    if order.step is not Step.AUTHORIZE or order.authorization or order.is_stopped:
        return []
    return [
        PaymentAuthorizationRequested(
            n=1, provider_key=f"{order.stream}:authorize:1", amount_minor=order.total_minor
        )
    ]


def authorized(order: Order, *, reference: str, expires_at: datetime) -> list[OrderEvent]:
    if (call := _open(order.authorization)) is None:
        return []
    return [PaymentAuthorized(n=call.n, reference=reference, expires_at=expires_at)]


def declined(order: Order, *, reason: str) -> list[OrderEvent]:
    if (call := _open(order.authorization)) is None:
        return []
    return [PaymentDeclined(n=call.n, reason=reason)]


def confirm(order: Order) -> list[OrderEvent]:
    """The order is confirmed and its parcel asked for: the boundary after which the fulfillment decides."""
    if order.step is not Step.CONFIRM or order.is_stopped:
        return []
    return [
        OrderConfirmed(),
        FulfillmentRequested(n=1, holds=order.held, address_version=order.address_version),
    ]


def fulfillment_started(order: Order) -> list[OrderEvent]:
    """The fulfillment exists; asking it twice to start adds nothing."""
    if order.fulfillment_started or not order.is_requested:
        return []
    return [FulfillmentStarted(n=order.fulfillment_n), FulfillmentUnderWay()]


def elapse(order: Order, now: datetime) -> list[OrderEvent]:
    """What time has changed by now: holds that are over are lifted, a missing answer is for a person."""
    if order.alarm is None or order.alarm > now:
        return []
    facts: list[OrderEvent] = []
    if not order.is_undone:
        over = [hold.handle for hold in order.holds if hold.until and hold.until <= now]
        facts += [HoldReleased(handle=handle) for handle in over]
    if order.attention is None and any(_is_due(cancel.answer_by, now) for cancel in order.unanswered):
        facts.append(AttentionRaised(code=Code.CANCEL_UNANSWERED))
    return facts


def _is_due(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment <= now


def answered(order: Order, news: CommandOutcome) -> list[OrderEvent]:
    """The fulfillment's answer is recorded, and the address it accepted, whoever asked for that."""
    facts: list[OrderEvent] = []
    if _moves_a_wish(order, news):
        facts.append(
            FulfillmentAnswered(
                command_id=news.command_id, status=news.status, code=news.code, cut_off=news.cut_off
            )
        )
        if all(cancel.command_id == news.command_id for cancel in order.unanswered):
            facts += _all_answered(order)
    if accepts_address(order, news) and news.address and news.address_version:
        facts.append(AddressChanged(version=news.address_version, country=news.address.country))
    return facts


def _all_answered(order: Order) -> list[OrderEvent]:
    """Nobody has to ask the fulfillment about a cancel any more."""
    if order.attention is not Code.CANCEL_UNANSWERED:
        return []
    return [AttentionResolved(code=Code.CANCEL_UNANSWERED)]


def _moves_a_wish(order: Order, news: CommandOutcome) -> bool:
    """The first answer to a wish that waits, or the end of one that had only been accepted.

    RECEIVED is no answer: a person over there still decides."""
    if news.status == "RECEIVED":
        return False
    waits = any(wish.command_id == news.command_id for wish in order.lane)
    was_accepted = any(wish.command_id == news.command_id for wish in order.accepted)
    return waits or (was_accepted and news.status in FINAL)


def accepts_address(order: Order, news: CommandOutcome) -> bool:
    """True when the news brings an address version that the order does not have yet."""
    return (
        news.address is not None
        and news.address_version is not None
        and news.address_version > order.address_version
    )


def complete(order: Order, news: Completion) -> list[OrderEvent]:
    """How the fulfillment ended is recorded once, and a shipped parcel makes a shipped order.

    A quick parcel ends before its start has returned: that it started is recorded first."""
    if order.completion is not None or not order.is_requested or news.n != order.fulfillment_n:
        return []
    completed = FulfillmentCompleted(n=news.n, outcome=news.outcome, version=news.version, code=news.code)
    shipped = [OrderShipped()] if news.outcome == "SHIPPED" else []
    return [*fulfillment_started(order), completed, *shipped, *_all_answered(order)]


def request_capture(order: Order) -> list[OrderEvent]:
    """The capture has a name before the provider hears of it; a refused one gets a new name."""
    if order.step is not Step.CAPTURE or order.reference is None or _open(order.capture):
        return []
    n = order.capture.n + 1 if order.capture else 1
    return [CaptureRequested(n=n, provider_key=f"{order.stream}:capture:{n}", reference=order.reference)]


def captured(order: Order) -> list[OrderEvent]:
    """The money is ours, and nobody has to look at this order any more."""
    if (call := _open(order.capture)) is None:
        return []
    facts: list[OrderEvent] = [PaymentCaptured(n=call.n)]
    return [*facts, AttentionResolved(code=order.attention)] if order.attention else facts


def capture_refused(order: Order, *, reason: str) -> list[OrderEvent]:
    """The parcel has left and the money is refused: a person has to know."""
    if (call := _open(order.capture)) is None:
        return []
    facts: list[OrderEvent] = [CaptureRefused(n=call.n, reason=reason)]
    return facts if order.attention else [*facts, AttentionRaised(code=Code.CAPTURE_FAILED)]


def request_void(order: Order) -> list[OrderEvent]:
    """The void has a name before the provider hears of it; a refused one gets a new name."""
    if order.step is not Step.UNDO or order.payment is not PaymentStatus.AUTHORIZED or _open(order.void):
        return []
    if order.reference is None:
        return []
    n = order.void.n + 1 if order.void else 1
    return [VoidRequested(n=n, provider_key=f"{order.stream}:void:{n}", reference=order.reference)]


def void_refused(order: Order) -> list[OrderEvent]:
    """The provider will not void: a person has to know, and it is asked again."""
    return [AttentionRaised(code=Code.VOID_FAILED)] if _open(order.void) else []


def undone(order: Order) -> list[OrderEvent]:
    """Money and stock are settled, and only now the order says that it ended, and why."""
    void = _open(order.void)
    if order.step is not Step.UNDO or (order.payment is PaymentStatus.AUTHORIZED and void is None):
        return []
    facts: list[OrderEvent] = []
    if void:
        facts.append(PaymentVoided(n=void.n))
    if order.stock in ("held", "confirmed"):
        facts.append(StockReleased())
    if order.attention:
        facts.append(AttentionResolved(code=order.attention))
    return [*facts, _end(order)]


def _end(order: Order) -> OrderEvent:
    if order.failure is not None:
        return OrderFailed(code=order.failure)
    if order.completion == "FAILED":
        return OrderFailed(code=Code.FULFILLMENT_FAILED)
    if order.completion == "CANCELLED" and not order.cancels:
        return OrderCancelled(code=Code.FULFILLMENT_CANCELLED)
    return OrderCancelled(code=Code.CANCELLED_ON_REQUEST)


def _open(call: Call | None) -> Call | None:
    return call if call and not call.answered else None
