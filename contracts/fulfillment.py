"""What the fulfillment service promises: its workflow, its messages, its public events and its names."""

import re
from abc import ABC, abstractmethod
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, WrapValidator
from temporalio import workflow

from contracts.envelope import Wish, none_if_malformed
from contracts.values import (
    Address,
    Code,
    Hold,
    Line,
    Message,
    Outcome,
    Reference,
    Text500,
    WarehouseMode,
)  # fmt: skip

TASK_QUEUE = "fulfillment-processing"
CARRIER_QUEUE = "fulfillment-carrier"
"""Calls to the carrier, which may be slow without keeping anything else from its place."""
HOUSEKEEPING_QUEUE = "fulfillment-housekeeping"
NAMESPACE = "fulfillments"
TOPIC = "fulfillments.events.v1"
SOURCE = "/fulfillments"
EVENT_TYPE_PREFIX = "tandem.fulfillment."

_FULFILLMENT_ID = re.compile(r"(?P<order>ORD-[0-9]{13}-[A-Z0-9]{9})-(?P<n>[1-9][0-9]{0,2})")
_PREFIX = "fulfillment-"


def fulfillment_id(order_id: str, n: int) -> str:
    """The n-th fulfillment of an order, counted from 1."""
    return f"{order_id}-{n}"


def workflow_id(fulfillment_id: str) -> str:
    return f"{_PREFIX}{fulfillment_id}"


def stream(fulfillment_id: str) -> str:
    return f"{_PREFIX}{fulfillment_id}"


def fulfillment_id_of(name: str) -> str:
    """The fulfillment that its id, workflow id or stream names. Raises ValueError for anything else."""
    found = name.removeprefix(_PREFIX)
    if _FULFILLMENT_ID.fullmatch(found) is None:
        raise ValueError("not a fulfillment id: expected <orderId>-<n>")
    return found


def order_id_of(fulfillment_id: str) -> str:
    """The order a fulfillment belongs to. Raises ValueError when it is no fulfillment id."""
    return fulfillment_id_of(fulfillment_id).rsplit("-", 1)[0]


class Stage(StrEnum):
    """How far the parcel has come."""

    WAITING = "WAITING"
    PICKING = "PICKING"
    PACKING = "PACKING"
    READY_TO_SHIP = "READY_TO_SHIP"
    SHIPPED = "SHIPPED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


OVERLAYS = ("CANCEL_REQUESTED", "EXCEPTION", "PAUSED")
"""Shown as the status instead of the stage while they last, the first one wins."""

StandingKind = Literal["sku", "warehouse", "carrier", "country", "customer"]
"""What a standing hold may freeze."""

QUALITY = "quality"
PACK = "pack"
HAND_OVER = "hand-over"


def pick_step(line: int) -> str:
    """The step that picks one line; lines count from 1."""
    return f"pick:{line}"


def label_step(n: int) -> str:
    return f"label:{n}"


class StartFulfillment(Message):
    """Everything the warehouse needs to begin; the address is encrypted on its way."""

    order_id: Reference
    n: Annotated[int, Field(ge=1, le=999)]
    lines: Annotated[tuple[Line, ...], Field(min_length=1, max_length=50)]
    address: Address
    address_version: Annotated[int, Field(ge=1)]
    country: str
    customer_ref: Reference
    service_level: Reference = "standard"
    holds: tuple[Hold, ...] = ()
    """Placed before the parcel existed; it begins held."""
    mode: WarehouseMode | None = None
    """None leaves it to the fulfillment service's own setting."""
    pace_seconds: Annotated[float, Field(ge=0, le=3600)] | None = None
    """How long the simulated warehouse takes for a step."""
    instructions: Text500 | None = None
    reply_to: str
    """The order's workflow id."""


StartSignal = Annotated[StartFulfillment | None, WrapValidator(none_if_malformed)]


class FulfillmentStatusView(Message):
    """The parcel as its own workflow last saw it."""

    fulfillment_id: str
    workflow_id: str
    status: str
    stage: Stage
    paused_from: Stage | None = None
    holds: tuple[Hold, ...] = ()
    outcome: Outcome | None = None
    """Set once the fulfillment ended, its compensation included."""
    code: Code | None = None
    version: int
    address_version: int
    cancellation_requests: tuple[str, ...] = ()
    """Commands that want it cancelled and wait for an operator's word."""


class FulfillmentProgressView(Message):
    fulfillment_id: str
    current_step: str | None
    items_picked: int
    items_total: int
    steps_done: int
    steps_total: int
    percent: int


class FulfillmentEventData(Message):
    """The data of every public fulfillment event: the parcel after the fact, and the little the fact adds."""

    order_id: str
    fulfillment_id: str
    workflow_id: str
    status: str
    stage: Stage
    paused_from: Stage | None = None
    holds: tuple[Hold, ...] = ()
    current_step: str | None = None
    items_picked: int
    items_total: int
    steps_done: int
    steps_total: int
    percent: int
    address_version: int
    tracking_reference: str | None = None
    step_key: str | None = None
    """The step the fact is about, where it is about one."""
    code: Code | None = None
    command_id: str | None = None
    actor: str | None = None
    """Who wanted it; the service itself for what follows by itself."""
    hold: Hold | None = None
    """The hold the fact is about, where it is about one."""


FACTS = (
    "FulfillmentAccepted",
    "HoldPlaced",
    "HoldReleased",
    "StepStarted",
    "StepCompleted",
    "StepFailed",
    "LabelRequested",
    "LabelBooked",
    "LabelRefused",
    "LabelVoided",
    "HandOverStarted",
    "HandedOver",
    "HandOverRefused",
    "AddressChanged",
    "CancelAsked",
    "CancelRejected",
    "CancelRequested",
    "Restocked",
    "FulfillmentCancelled",
    "FulfillmentFailed",
    "ExceptionRaised",
    "ExceptionResolved",
)
"""Every kind of fact of a fulfillment stream; each appears on the topic as exactly one public event."""


@workflow.defn(name="fulfillmentWorkflow")
class FulfillmentApi(ABC):
    """The fulfillment's workflow as the order service may use it."""

    @workflow.run
    @abstractmethod
    async def run(self, fulfillment_id: str) -> Outcome: ...

    @workflow.signal(name="startFulfillment")
    @abstractmethod
    def start(self, request: StartSignal = None, *extra: Any) -> None: ...

    @workflow.signal(name="pauseFulfillment")
    @abstractmethod
    def pause(self, wish: Wish | None = None, *extra: Any) -> None: ...

    @workflow.signal(name="resumeFulfillment")
    @abstractmethod
    def resume(self, wish: Wish | None = None, *extra: Any) -> None: ...

    @workflow.signal(name="cancelFulfillment")
    @abstractmethod
    def cancel(self, wish: Wish | None = None, *extra: Any) -> None: ...

    @workflow.signal(name="updateShippingAddress")
    @abstractmethod
    def update_address(self, wish: Wish | None = None, *extra: Any) -> None: ...

    @workflow.signal(name="applyHold")
    @abstractmethod
    def apply_hold(self, wish: Wish | None = None, *extra: Any) -> None: ...

    @workflow.signal(name="releaseHold")
    @abstractmethod
    def release_hold(self, wish: Wish | None = None, *extra: Any) -> None: ...

    @workflow.signal(name="completeStep")
    @abstractmethod
    def complete_step(self, wish: Wish | None = None, *extra: Any) -> None: ...

    @workflow.signal(name="resolveException")
    @abstractmethod
    def resolve_exception(self, wish: Wish | None = None, *extra: Any) -> None: ...

    @workflow.signal(name="knock")
    @abstractmethod
    def knock(self, *extra: Any) -> None: ...

    @workflow.query(name="getFulfillmentStatus")
    @abstractmethod
    def status(self) -> FulfillmentStatusView: ...

    @workflow.query(name="getFulfillmentProgress")
    @abstractmethod
    def progress(self) -> FulfillmentProgressView: ...
