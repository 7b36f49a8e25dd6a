"""What the order service promises: its workflow, its messages, its public events and its names."""

import re
from abc import ABC, abstractmethod
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, WrapValidator, model_validator
from temporalio import workflow

from contracts.envelope import CommandOutcome, Wish, none_if_malformed
from contracts.values import (
    ORDER_ID,
    Address,
    Code,
    Currency,
    Hold,
    HoldReason,
    Line,
    LineItem,
    Message,
    Moment,
    Outcome,
    Reference,
    Text100,
    Text500,
)

TASK_QUEUE = "order-processing"
PAYMENTS_QUEUE = "order-payments"
"""Calls to the payment provider, which may be slow without keeping anything else from its place."""
HOUSEKEEPING_QUEUE = "order-housekeeping"
NAMESPACE = "orders"
TOPIC = "orders.events.v1"
SOURCE = "/orders"
EVENT_TYPE_PREFIX = "tandem.order."

_WORKFLOW_PREFIX = "order-workflow-"


def workflow_id(order_id: str) -> str:
    return f"{_WORKFLOW_PREFIX}{order_id}"


def stream(order_id: str) -> str:
    return f"order-{order_id}"


def order_id_of(name: str) -> str:
    """The order that an order id, a workflow id or a stream names. Raises ValueError for anything else."""
    order_id = name.removeprefix(_WORKFLOW_PREFIX).removeprefix("order-")
    if ORDER_ID.fullmatch(order_id) is None:
        raise ValueError("not an order id: expected ORD-<13 digits>-<9 letters or digits>")
    return order_id


class Stage(StrEnum):
    """How far the order itself has come."""

    PENDING = "PENDING"
    INVENTORY_RESERVED = "INVENTORY_RESERVED"
    PAYMENT_PROCESSING = "PAYMENT_PROCESSING"
    PAYMENT_CONFIRMED = "PAYMENT_CONFIRMED"
    CONFIRMED = "CONFIRMED"
    FULFILLMENT_STARTED = "FULFILLMENT_STARTED"
    FULFILLMENT_IN_PROGRESS = "FULFILLMENT_IN_PROGRESS"
    SHIPPED = "SHIPPED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"
    DELIVERED = "DELIVERED"
    """Reserved for carrier events."""


OVERLAYS = ("CANCEL_REQUESTED", "NEEDS_ATTENTION", "PAUSED")
"""Shown as the status instead of the stage while they last, the first one wins."""


class PaymentStatus(StrEnum):
    NONE = "NONE"
    AUTHORIZED = "AUTHORIZED"
    CAPTURED = "CAPTURED"
    VOIDED = "VOIDED"
    REFUNDED = "REFUNDED"
    """Reserved."""


class Request(Message):
    """A REST body: an unknown field is an error, so a typo is never silently ignored."""

    model_config = ConfigDict(extra="forbid")


class RequestAddress(Address, Request):
    """Where the parcel goes."""


class RequestItem(LineItem, Request):
    """An article, how many, and the price it was sold for."""


class Contact(Request):
    """Whom to ask about the order. Personal: kept only in the PII table."""

    name: Text100
    email: Annotated[
        str, StringConstraints(pattern=r"^[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]{1,190}$", strict=True)
    ]
    phone: Annotated[str, StringConstraints(pattern=r"^\+?[0-9 ()/.-]{3,30}$", strict=True)] | None = None


class Payment(Request):
    token: Annotated[str, StringConstraints(pattern=r"^tok_[A-Za-z0-9_]{1,60}$", strict=True)]
    """What the provider's checkout gave the shop. A card number is refused here: it must never reach us."""


class PlaceOrder(Request):
    """What a customer bought, and where it goes."""

    customer_id: Reference
    items: Annotated[tuple[RequestItem, ...], Field(min_length=1, max_length=50)]
    currency: Currency
    shipping_address: RequestAddress
    contact: Contact
    payment: Payment
    instructions: Text500 | None = None


class UpdateOrder(Request):
    """The parts of an order that may change: at least one; never its id, lines or total."""

    contact: Contact | None = None
    shipping_address: RequestAddress | None = None
    instructions: Text500 | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if self.contact is None and self.shipping_address is None and self.instructions is None:
            raise ValueError("send at least one of contact, shippingAddress, instructions")
        return self


class CancelOrder(Request):
    reason: Text500


class Because(Request):
    """Why somebody asks for something; kept apart from everything else, since it may name a person."""

    reason: Text500 | None = None
    note: Text500 | None = None


class Resolve(Because):
    """What is to be done about what waits for a person."""

    resolution: Literal["retry", "skip"] = "retry"
    """`skip` leaves the step out, where what it was for has been settled elsewhere."""


class Pause(Because):
    until: Moment | None = None
    """It is lifted by itself at this time."""


class Resume(Because):
    handle: Reference | None = None
    """The one hold to lift; without it every pause is lifted."""


class PlaceHold(Request):
    """One more reason not to move."""

    reason: HoldReason
    handle: Reference | None = None
    """The name to lift it by; without one the command's id."""
    note: Text500 | None = None
    """Kept apart from everything else, since it may name a person."""
    until: Moment | None = None
    """It is lifted by itself at this time."""


class FulfillmentCompleted(Message):
    """The fulfillment ended, and its own compensation with it."""

    n: int
    outcome: Outcome
    version: int
    """The last version of the fulfillment's stream."""
    code: Code | None = None


CompletionSignal = Annotated[FulfillmentCompleted | None, WrapValidator(none_if_malformed)]
AnswerSignal = Annotated[CommandOutcome | None, WrapValidator(none_if_malformed)]
"""What signals bring; None where the payload could not be understood."""


class OrderStatusView(Message):
    """The order as its own workflow last saw it."""

    order_id: str
    workflow_id: str
    status: str
    stage: Stage
    payment_status: PaymentStatus
    version: int
    holds: tuple[Hold, ...] = ()
    """While one stands the order begins no further step."""
    attention: Code | None = None
    """What a person has to look at."""
    fulfillment_id: str | None = None


class OrderProgressView(Message):
    order_id: str
    current_step: str
    percent: int
    steps_done: int
    steps_total: int


class OrderEventData(Message):
    """The data of every public order event: the order after the fact, and the little the fact adds."""

    order_id: str
    workflow_id: str
    status: str
    stage: Stage
    payment_status: PaymentStatus
    total_minor: int
    currency: str
    customer_id: str
    lines: tuple[Line, ...]
    address_version: int
    fulfillment_id: str | None = None
    percent: int
    code: Code | None = None
    """Why, where the fact has a reason."""
    command_id: str | None = None
    """The wish it grants, where there is one."""
    actor: str | None = None
    """Whose wish or work it was."""
    hold: Hold | None = None
    """The hold it is about, where it is about one."""
    handle: str | None = None
    """The hold that is lifted."""


FACTS = (
    "OrderPlaced",
    "StockHeld",
    "StockRefused",
    "PaymentAuthorizationRequested",
    "PaymentAuthorized",
    "PaymentDeclined",
    "HoldPlaced",
    "HoldReleased",
    "OrderConfirmed",
    "FulfillmentRequested",
    "FulfillmentStarted",
    "FulfillmentUnderWay",
    "FulfillmentHoldPlaced",
    "FulfillmentHoldsReleased",
    "FulfillmentInstructed",
    "FulfillmentAnswered",
    "FulfillmentCompleted",
    "OrderShipped",
    "CancelRequested",
    "CaptureRequested",
    "PaymentCaptured",
    "CaptureRefused",
    "VoidRequested",
    "PaymentVoided",
    "VoidRefused",
    "StockReleased",
    "OrderCancelled",
    "OrderFailed",
    "ContactChanged",
    "AddressChanged",
    "InstructionsChanged",
    "ExceptionRaised",
    "ExceptionResolved",
)
"""Every kind of fact of an order stream; each appears on the topic as exactly one public event."""


def event_type(fact: str, prefix: str = EVENT_TYPE_PREFIX) -> str:
    """`OrderPlaced` is `tandem.order.order-placed.v1`."""
    return f"{prefix}{re.sub(r'(?<!^)(?=[A-Z])', '-', fact).lower()}.v1"


def fact_of(event_type: str) -> str:
    """`tandem.order.order-placed.v1` is `OrderPlaced`; what is no event of ours keeps its name."""
    parts = event_type.split(".")
    return "".join(word.capitalize() for word in parts[-2].split("-")) if len(parts) == 4 else event_type


@workflow.defn(name="processOrderWorkflow")
class OrderApi(ABC):
    """The order's workflow as the other service and the REST door may use it."""

    @workflow.run
    @abstractmethod
    async def run(self, order_id: str) -> Outcome: ...

    @workflow.signal(name="cancelOrder")
    @abstractmethod
    def cancel(self, wish: Wish | None = None, *extra: Any) -> None: ...

    @workflow.signal(name="updateOrder")
    @abstractmethod
    def update(self, wish: Wish | None = None, *extra: Any) -> None: ...

    @workflow.signal(name="pauseOrderFulfillment")
    @abstractmethod
    def pause(self, wish: Wish | None = None, *extra: Any) -> None: ...

    @workflow.signal(name="resumeOrderFulfillment")
    @abstractmethod
    def resume(self, wish: Wish | None = None, *extra: Any) -> None: ...

    @workflow.signal(name="applyHold")
    @abstractmethod
    def apply_hold(self, wish: Wish | None = None, *extra: Any) -> None: ...

    @workflow.signal(name="releaseHold")
    @abstractmethod
    def release_hold(self, wish: Wish | None = None, *extra: Any) -> None: ...

    @workflow.signal(name="fulfillmentCompleted")
    @abstractmethod
    def fulfillment_completed(
        self,
        news: CompletionSignal = None,
        *extra: Any,
    ) -> None: ...

    @workflow.signal(name="commandOutcome")
    @abstractmethod
    def command_outcome(self, news: AnswerSignal = None, *extra: Any) -> None: ...

    @workflow.signal(name="knock")
    @abstractmethod
    def knock(self, *extra: Any) -> None: ...

    @workflow.query(name="getOrderStatus")
    @abstractmethod
    def status(self) -> OrderStatusView: ...

    @workflow.query(name="getOrderProgress")
    @abstractmethod
    def progress(self) -> OrderProgressView: ...
