"""The facts of an order: what happened, in the past tense, without anything that names a person."""

from datetime import datetime
from typing import Literal

from contracts.chassis.event_store import Fact
from contracts.chassis.troubles import ExceptionRaised, ExceptionResolved
from contracts.envelope import ReceiptStatus
from contracts.values import Code, Hold, LineItem, Outcome, WarehouseMode

Instruction = Literal[
    "pauseFulfillment",
    "resumeFulfillment",
    "cancelFulfillment",
    "updateShippingAddress",
    "applyHold",
    "releaseHold",
]
"""What the order may ask of a parcel once the fulfillment owns it."""


class OrderPlaced(Fact):
    order_id: str
    customer_id: str
    lines: tuple[LineItem, ...]
    currency: str
    total_minor: int
    country: str
    service_level: str
    mode: WarehouseMode | None = None
    pace_seconds: float | None = None
    has_instructions: bool = False


class StockHeld(Fact):
    """Every line of the order is held."""


class StockRefused(Fact):
    """Nothing is held, because one article is short."""

    sku: str


class PaymentAuthorizationRequested(Fact):
    n: int
    provider_key: str
    amount_minor: int


class PaymentAuthorized(Fact):
    n: int
    reference: str
    expires_at: datetime
    renew_at: datetime
    """Nothing handed over by then, it is replaced, well before it lapses."""


class PaymentDeclined(Fact):
    n: int
    reason: str
    """The provider's own code."""
    retry_at: datetime | None = None
    """Where an earlier authorization still stands: when the next one is asked for."""


class HoldPlaced(Fact):
    """The order does not begin its next step while this stands."""

    hold: Hold
    command_id: str | None = None
    """None for a hold of the order's own."""


class HoldReleased(Fact):
    handle: str
    command_id: str | None = None
    """None when its time was over or its reason gone."""


class OrderConfirmed(Fact):
    """Paid for and in stock: the held stock is confirmed."""


class FulfillmentRequested(Fact):
    """From here on the fulfillment decides about the parcel."""

    n: int
    holds: tuple[Hold, ...]
    address_version: int


class FulfillmentStarted(Fact):
    n: int


class FulfillmentUnderWay(Fact):
    """The fulfillment has everything it needs and works on its own."""


class FulfillmentHoldPlaced(Fact):
    """Kept for a parcel that does not exist yet."""

    hold: Hold


class FulfillmentHoldsReleased(Fact):
    handles: tuple[str, ...]


class FulfillmentInstructed(Fact):
    """A wish for the parcel waits for the fulfillment's answer."""

    command_id: str
    instruction: Instruction
    hold: Hold | None = None
    handle: str | None = None
    """The hold to lift; None lifts all that this instruction may lift."""


class FulfillmentAnswered(Fact):
    command_id: str
    status: ReceiptStatus
    code: Code | None = None
    cut_off: str | None = None


class FulfillmentCompleted(Fact):
    n: int
    outcome: Outcome
    version: int
    code: Code | None = None


class OrderShipped(Fact):
    """The carrier has the parcel, its stock has left."""


class CancelRequested(Fact):
    command_id: str
    answer_by: datetime | None = None
    """When the fulfillment has to have answered; None where the order decides alone."""


class CaptureRequested(Fact):
    n: int
    provider_key: str
    reference: str


class PaymentCaptured(Fact):
    n: int
    outside: bool = False
    """It was settled without the provider's word: a person says so."""


class CaptureRefused(Fact):
    n: int
    reason: str
    has_lapsed: bool = False
    """The authorization is no more; another one has to be asked for."""


class VoidRequested(Fact):
    n: int
    provider_key: str
    reference: str


class PaymentVoided(Fact):
    n: int
    outside: bool = False
    """The provider knows no such authorization any more: a person says so."""


class VoidRefused(Fact):
    n: int
    reason: str


class StockReleased(Fact):
    """Whatever was held or confirmed is available again."""


class OrderCancelled(Fact):
    """The end, after money and stock are settled."""

    code: Code


class OrderFailed(Fact):
    """The end, after money and stock are settled."""

    code: Code


class ContactChanged(Fact):
    version: int


class AddressChanged(Fact):
    version: int
    country: str


class InstructionsChanged(Fact):
    version: int


OrderEvent = (
    OrderPlaced
    | StockHeld
    | StockRefused
    | PaymentAuthorizationRequested
    | PaymentAuthorized
    | PaymentDeclined
    | HoldPlaced
    | HoldReleased
    | OrderConfirmed
    | FulfillmentRequested
    | FulfillmentStarted
    | FulfillmentUnderWay
    | FulfillmentHoldPlaced
    | FulfillmentHoldsReleased
    | FulfillmentInstructed
    | FulfillmentAnswered
    | FulfillmentCompleted
    | OrderShipped
    | CancelRequested
    | CaptureRequested
    | PaymentCaptured
    | CaptureRefused
    | VoidRequested
    | PaymentVoided
    | VoidRefused
    | StockReleased
    | OrderCancelled
    | OrderFailed
    | ContactChanged
    | AddressChanged
    | InstructionsChanged
    | ExceptionRaised
    | ExceptionResolved
)

FACTS: tuple[type[OrderEvent], ...] = OrderEvent.__args__
