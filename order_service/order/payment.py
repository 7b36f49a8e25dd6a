"""What the payment provider's calls add to an order: each is named before it is made, and answered once.

An authorization lapses after some days. While nothing is handed over it is replaced in time: the next one is
asked for, and once it stands the one before is voided. At every moment the newest that stands is captured.
"""

from datetime import datetime, timedelta

from contracts.chassis.faults import Failure
from contracts.chassis.troubles import raised, resolved
from contracts.values import Code, Hold, HoldReason
from order_service.events import (
    CaptureRefused,
    CaptureRequested,
    FulfillmentInstructed,
    HoldPlaced,
    HoldReleased,
    OrderEvent,
    PaymentAuthorizationRequested,
    PaymentAuthorized,
    PaymentCaptured,
    PaymentDeclined,
    PaymentVoided,
    VoidRefused,
    VoidRequested,
)
from order_service.order.state import Call, Order, Step

RENEW_AFTER = 6 / 7
"""Of the lifetime: of the usual week a day is left for a provider that is away."""
RENEW_AT_MOST_EVERY = timedelta(seconds=60)
ASK_AGAIN = timedelta(days=1)
"""After a renewal was declined."""
LAPSED = ("expired", "voided")
"""The provider's codes for an authorization that can never be captured any more."""


def ask_authorization(order: Order) -> PaymentAuthorizationRequested:
    """The next authorization has a name before the provider hears of it."""
    n = order.authorization.n + 1 if order.authorization else 1
    key = f"{order.stream}:authorize:{n}"
    return PaymentAuthorizationRequested(n=n, provider_key=key, amount_minor=order.total_minor)


def request_authorization(order: Order) -> list[OrderEvent]:
    """The first authorization is asked for, unless a hold stands."""
    if order.step is not Step.AUTHORIZE or order.authorization or order.is_stopped:
        return []
    return [ask_authorization(order)]


def authorized(order: Order, *, reference: str, expires_at: datetime, now: datetime) -> list[OrderEvent]:
    """The money is reserved; a hold for want of it is over."""
    if (call := order.open_authorization) is None:
        return []
    renew_at = max(now + (expires_at - now) * RENEW_AFTER, now + RENEW_AT_MOST_EVERY)
    facts: list[OrderEvent] = [
        PaymentAuthorized(n=call.n, reference=reference, expires_at=expires_at, renew_at=renew_at)
    ]
    if order.unpaid is None or not order.is_waiting_for_parcel:
        return facts
    handle = _unpaid_hold(order.unpaid).handle
    if not order.is_requested:
        stands = handle in {hold.handle for hold in order.holds}
        return [*facts, HoldReleased(handle=handle)] if stands else facts
    release = FulfillmentInstructed(
        command_id=f"{order.stream}:payment-renewed:{call.n}", instruction="releaseHold", handle=handle
    )
    return [*facts, release]


def declined(order: Order, *, reason: str, now: datetime) -> list[OrderEvent]:
    """The money is not reserved: the first time that ends the order, later its parcel is held."""
    if (call := order.open_authorization) is None:
        return []
    if order.is_authorizing:
        return [PaymentDeclined(n=call.n, reason=reason)]
    facts: list[OrderEvent] = [PaymentDeclined(n=call.n, reason=reason, retry_at=now + ASK_AGAIN)]
    if order.step is Step.CAPTURE and order.reference is None:
        return [*facts, *_attention(order, Code.CAPTURE_FAILED, reason)]
    if order.unpaid is not None or not order.is_waiting_for_parcel:
        return facts
    hold = _unpaid_hold(call.n)
    if not order.is_requested:
        return [*facts, HoldPlaced(hold=hold)]
    place = FulfillmentInstructed(
        command_id=f"{order.stream}:awaiting-payment:{call.n}", instruction="applyHold", hold=hold
    )
    return [*facts, place]


def request_capture(order: Order) -> list[OrderEvent]:
    """The newest authorization is to be captured; where none stands any more, one is asked for first.

    Not while an answer or a void of a renewal is missing: that decides which one is the newest."""
    if order.step is not Step.CAPTURE or order.is_renewing or open_call(order.capture):
        return []
    if order.reference is None:
        return [ask_authorization(order)]
    n = order.capture.n + 1 if order.capture else 1
    return [CaptureRequested(n=n, provider_key=f"{order.stream}:capture:{n}", reference=order.reference)]


def captured(order: Order) -> list[OrderEvent]:
    """The money is ours, and nobody has to look at this order any more."""
    if (call := open_call(order.capture)) is None:
        return []
    return [PaymentCaptured(n=call.n), *resolved(order.troubles)]


def capture_refused(order: Order, *, reason: str, failure: Failure | None = None) -> list[OrderEvent]:
    """The parcel has left and the money is refused: a person has to know.

    Only not yet when the authorization had lapsed: then another one is tried first."""
    if (call := open_call(order.capture)) is None:
        return []
    has_lapsed = reason in LAPSED
    refused = CaptureRefused(n=call.n, reason=reason, has_lapsed=has_lapsed)
    if has_lapsed and call.n == 1:
        return [refused]
    return [refused, *_attention(order, Code.CAPTURE_FAILED, reason, failure)]


def request_void(order: Order) -> list[OrderEvent]:
    """What was replaced is to be voided, and in the end of an order that is undone everything.

    Not while an authorization is unanswered: whether it stands decides what is to be voided."""
    reference = order.outdated or (order.reference if order.step is Step.UNDO else None)
    if reference is None or order.open_authorization or open_call(order.void):
        return []
    n = order.void.n + 1 if order.void else 1
    return [VoidRequested(n=n, provider_key=f"{order.stream}:void:{n}", reference=reference)]


def voided(order: Order) -> list[OrderEvent]:
    """That reservation is gone."""
    call = open_call(order.void)
    return [PaymentVoided(n=call.n)] if call else []


def void_refused(order: Order, *, reason: str, failure: Failure | None = None) -> list[OrderEvent]:
    """The provider will not void. What was replaced lapses by itself; the last one is for a person."""
    if (call := open_call(order.void)) is None:
        return []
    refused = VoidRefused(n=call.n, reason=reason)
    return [refused] if order.outdated else [refused, *_attention(order, Code.VOID_FAILED, reason, failure)]


def _attention(order: Order, code: Code, reason: str, failure: Failure | None = None) -> list[OrderEvent]:
    """A person has to know, once."""
    why = failure or Failure(fault="refusal", kind=reason)
    return [] if order.has(code) else [raised(order.step, code, why)]


def _unpaid_hold(n: int) -> Hold:
    """The hold for want of money, by the number of the authorization that was declined first."""
    return Hold(handle=f"awaiting-payment:{n}", reason=HoldReason.AWAITING_PAYMENT, holder="order-service")


def open_call(call: Call | None) -> Call | None:
    """The call, if its answer is not known."""
    return call if call and not call.answered else None
