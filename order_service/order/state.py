"""The order as its facts have made it, and what comes next."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Literal, assert_never

from contracts.envelope import FINAL, ReceiptStatus
from contracts.order import PaymentStatus, Stage, stream
from contracts.values import Code, Hold, LineItem, Outcome, WarehouseMode
from order_service.events import (
    AddressChanged,
    AttentionRaised,
    AttentionResolved,
    CancelRequested,
    CaptureRefused,
    CaptureRequested,
    ContactChanged,
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
    VoidRequested,
)

Stock = Literal["none", "held", "confirmed", "released", "shipped"]


class Step(StrEnum):
    """What the workflow has to do next."""

    HOLD_STOCK = "hold-stock"
    AUTHORIZE = "authorize"
    CONFIRM = "confirm"
    START_FULFILLMENT = "start-fulfillment"
    AWAIT_OUTCOME = "await-outcome"
    CAPTURE = "capture"
    UNDO = "undo"
    """Void what was authorized, release what was held, then say how the order ended."""
    END = "end"


@dataclass(frozen=True, slots=True)
class Call:
    """One operation at the payment provider, named before it is made."""

    n: int
    provider_key: str
    answered: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """A hold that was placed or lifted and has not taken effect yet."""

    command_id: str
    handle: str | None = None
    """Of the hold that was placed; None where one was lifted."""
    step: Step | None = None
    """Of the lifted one: what has to begin."""


@dataclass(frozen=True, slots=True)
class Order:
    """An order as its facts have made it."""

    order_id: str
    customer_id: str
    lines: tuple[LineItem, ...]
    currency: str
    total_minor: int
    country: str
    service_level: str
    mode: WarehouseMode | None
    pace_seconds: float | None
    stage: Stage = Stage.PENDING
    payment: PaymentStatus = PaymentStatus.NONE
    stock: Stock = "none"
    contact_version: int = 1
    address_version: int = 1
    instructions_version: int = 0
    authorization: Call | None = None
    reference: str | None = None
    """The provider's name of the authorization."""
    authorized_until: datetime | None = None
    capture: Call | None = None
    void: Call | None = None
    holds: tuple[Hold, ...] = ()
    """While one stands the order begins no further step; only before the boundary."""
    waiting: tuple[Waiting, ...] = ()
    held: tuple[Hold, ...] = ()
    """Holds for a parcel that does not exist yet; the order itself goes on."""
    fulfillment_n: int = 0
    fulfillment_started: bool = False
    lane: tuple[FulfillmentInstructed, ...] = ()
    """Wishes for the parcel that the fulfillment has not answered, oldest first."""
    accepted: tuple[FulfillmentInstructed, ...] = ()
    """Wishes that the fulfillment accepted and that have not taken effect there yet."""
    cancels: tuple[str, ...] = ()
    """The commands that asked for the end and were not refused; all of them hear how it ends."""
    unanswered: tuple[CancelRequested, ...] = ()
    """Those of them that the fulfillment has to answer in time and has not."""
    completion: Outcome | None = None
    """How the fulfillment ended."""
    failure: Code | None = None
    """Why the order cannot be fulfilled."""
    attention: Code | None = None

    @property
    def stream(self) -> str:
        return stream(self.order_id)

    @property
    def is_requested(self) -> bool:
        """The boundary: from FulfillmentRequested on, the parcel is the fulfillment's."""
        return self.fulfillment_n > 0

    @property
    def is_authorizing(self) -> bool:
        """The provider was asked for the first authorization, and its answer is not known."""
        asked = self.authorization is not None and not self.authorization.answered
        return asked and self.payment is PaymentStatus.NONE

    @property
    def is_undone(self) -> bool:
        """It will not be fulfilled: what was authorized and held goes back."""
        is_cancelled = bool(self.cancels) and not self.is_requested
        return self.failure is not None or self.completion in ("CANCELLED", "FAILED") or is_cancelled

    @property
    def is_stopped(self) -> bool:
        """The next step would have to begin, and may not. Undoing and capturing are never stopped."""
        begins = self.step in (Step.HOLD_STOCK, Step.AUTHORIZE, Step.CONFIRM) and not self.is_authorizing
        return begins and bool(self.holds)

    @property
    def alarm(self) -> datetime | None:
        """The earliest moment at which time alone changes the order."""
        due = [cancel.answer_by for cancel in self.unanswered if self.attention is None]
        if not self.is_undone:
            due += [hold.until for hold in self.holds]
        return min((moment for moment in due if moment), default=None)

    @property
    def step(self) -> Step:
        """What comes next; a function of the facts alone, so any worker goes on where another one died."""
        if self.stage in (Stage.CANCELLED, Stage.FAILED) or self.payment is PaymentStatus.CAPTURED:
            return Step.END
        if self.completion == "SHIPPED":
            return Step.CAPTURE
        if self.is_authorizing:
            # An authorization whose answer is unknown is resolved before anything else, a cancel included.
            return Step.AUTHORIZE
        if self.is_undone:
            return Step.UNDO
        if self.stock == "none":
            return Step.HOLD_STOCK
        if self.payment is PaymentStatus.NONE:
            return Step.AUTHORIZE
        if not self.is_requested:
            return Step.CONFIRM
        return Step.AWAIT_OUTCOME if self.fulfillment_started else Step.START_FULFILLMENT

    @property
    def status(self) -> str:
        """What people see: the stage, unless an overlay hides it."""
        if self.cancels and self.stage not in (Stage.CANCELLED, Stage.FAILED, Stage.SHIPPED):
            return "CANCEL_REQUESTED"
        if self.attention:
            return "NEEDS_ATTENTION"
        return "PAUSED" if self.holds and not self.is_undone else self.stage.value

    @property
    def outcome(self) -> Outcome | None:
        """How the order ended, money and stock included; None while it lives."""
        if self.step is not Step.END:
            return None
        return "SHIPPED" if self.stage is Stage.SHIPPED else _ENDS[self.stage]

    @property
    def steps_done(self) -> int:
        """Of the seven steps from the stock to the money."""
        return _STEPS_DONE[self.stage] + (1 if self.payment is PaymentStatus.CAPTURED else 0)


STEPS_TOTAL = 7

_ENDS: dict[Stage, Outcome] = {Stage.CANCELLED: "CANCELLED", Stage.FAILED: "FAILED"}
_STEPS_DONE = {
    Stage.PENDING: 0,
    Stage.INVENTORY_RESERVED: 1,
    Stage.PAYMENT_PROCESSING: 1,
    Stage.PAYMENT_CONFIRMED: 2,
    Stage.CONFIRMED: 3,
    Stage.FULFILLMENT_STARTED: 4,
    Stage.FULFILLMENT_IN_PROGRESS: 5,
    Stage.SHIPPED: 6,
    Stage.CANCELLED: 7,
    Stage.FAILED: 7,
    Stage.DELIVERED: 7,
}


def evolve(order: Order | None, fact: OrderEvent) -> Order:
    """The order after one more fact."""
    if isinstance(fact, OrderPlaced):
        return _placed(fact)
    if order is None:
        raise ValueError("an order begins with OrderPlaced")
    after = _learnt(order, fact)
    waiting = (*order.waiting, *_wished(after, fact))
    return replace(after, waiting=tuple(each for each in waiting if verdict(after, each) == "ACCEPTED"))


def _learnt(order: Order, fact: OrderEvent) -> Order:
    match fact:
        case OrderPlaced():
            raise ValueError("an order is placed once")
        case StockHeld():
            return replace(order, stage=Stage.INVENTORY_RESERVED, stock="held")
        case StockRefused():
            return replace(order, failure=Code.OUT_OF_STOCK)
        case PaymentAuthorizationRequested():
            call = Call(fact.n, fact.provider_key)
            return replace(order, stage=Stage.PAYMENT_PROCESSING, authorization=call)
        case PaymentAuthorized():
            return replace(
                order,
                stage=Stage.PAYMENT_CONFIRMED,
                payment=PaymentStatus.AUTHORIZED,
                authorization=_answered(order.authorization),
                reference=fact.reference,
                authorized_until=fact.expires_at,
            )
        case PaymentDeclined():
            return replace(order, failure=Code.PAYMENT_DECLINED, authorization=_answered(order.authorization))
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
            return replace(order, capture=Call(fact.n, fact.provider_key))
        case PaymentCaptured():
            return replace(order, payment=PaymentStatus.CAPTURED, capture=_answered(order.capture))
        case CaptureRefused():
            return replace(order, capture=_answered(order.capture))
        case VoidRequested():
            return replace(order, void=Call(fact.n, fact.provider_key))
        case PaymentVoided():
            return replace(order, payment=PaymentStatus.VOIDED, void=_answered(order.void))
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
        case AttentionRaised():
            # A void that was refused is asked for again under another name; this one has its answer.
            void = _answered(order.void) if fact.code is Code.VOID_FAILED else order.void
            return replace(order, attention=fact.code, void=void)
        case AttentionResolved():
            return replace(order, attention=None)
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
