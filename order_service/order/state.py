"""The order as its facts have made it, and what comes next."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from contracts.chassis.troubles import Open
from contracts.order import PaymentStatus, Stage, stream
from contracts.values import Code, Hold, LineItem, Outcome, WarehouseMode
from order_service.events import CancelRequested, FulfillmentInstructed

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


RENEW = "renew"
"""What is done beside the steps: an authorization is replaced."""


@dataclass(frozen=True, slots=True)
class Call:
    """One operation at the payment provider, named before it is made."""

    n: int
    provider_key: str
    reference: str | None = None
    """The authorization it is about; None where it asks for one."""
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
    """The last one that was asked for."""
    authorizations: tuple[str, ...] = ()
    """The provider's names of those that stand, neither captured nor voided, oldest first."""
    authorized_until: datetime | None = None
    renew_at: datetime | None = None
    unpaid: int | None = None
    """The number of the renewal that was declined first; its hold stands until another one is not."""
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
    troubles: tuple[Open, ...] = ()
    """What waits for a person, oldest first."""

    @property
    def stream(self) -> str:
        return stream(self.order_id)

    @property
    def attention(self) -> Code | None:
        """What a person has to look at first."""
        return self.troubles[0].code if self.troubles else None

    def has(self, code: Code) -> bool:
        """An exception of this code is open."""
        return any(trouble.code is code for trouble in self.troubles)

    def parked(self, step_key: str) -> Open | None:
        """Why that step waits for a person; None when it does not."""
        return next((each for each in self.troubles if each.is_parked and each.step_key == step_key), None)

    @property
    def is_requested(self) -> bool:
        """The boundary: from FulfillmentRequested on, the parcel is the fulfillment's."""
        return self.fulfillment_n > 0

    @property
    def is_authorizing(self) -> bool:
        """The provider was asked for the first authorization, and its answer is not known."""
        return self.payment is PaymentStatus.NONE and self.open_authorization is not None

    @property
    def open_authorization(self) -> Call | None:
        """The one that was asked for and whose answer is not known."""
        return self.authorization if self.authorization and not self.authorization.answered else None

    @property
    def reference(self) -> str | None:
        """The newest authorization: the one to capture."""
        return self.authorizations[-1] if self.authorizations else None

    @property
    def outdated(self) -> str | None:
        """An authorization that was replaced and is to be voided."""
        return self.authorizations[0] if len(self.authorizations) > 1 else None

    @property
    def is_renewing(self) -> bool:
        """One authorization is being replaced by another; both calls of that may be out."""
        is_asked = self.open_authorization is not None or self.outdated is not None
        return is_asked and self.payment is PaymentStatus.AUTHORIZED

    @property
    def is_waiting_for_parcel(self) -> bool:
        """Authorized, and neither is the parcel's end known nor is anything taken back."""
        return self.payment is PaymentStatus.AUTHORIZED and not self.completion and not self.is_undone

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
        is_late = self.has(Code.CANCEL_UNANSWERED)
        due = [] if is_late else [cancel.answer_by for cancel in self.unanswered]
        if not self.is_undone:
            due += [hold.until for hold in self.holds]
        if self.is_waiting_for_parcel and not self.is_renewing:
            due.append(self.renew_at)
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
