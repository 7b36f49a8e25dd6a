"""The facts of a fulfillment: what happened, in the past tense, without anything that names a person."""

from datetime import datetime

from contracts.chassis.event_store import Fact
from contracts.chassis.troubles import ExceptionRaised, ExceptionResolved
from contracts.fulfillment import StandingKind
from contracts.values import Code, HoldReason, Line, WarehouseMode


class FulfillmentAccepted(Fact):
    """The warehouse has everything it needs to begin."""

    order_id: str
    n: int
    lines: tuple[Line, ...]
    country: str
    customer_ref: str
    service_level: str
    mode: WarehouseMode
    pace_seconds: float
    address_version: int
    reply_to: str
    """The order's workflow id."""
    warehouse: str
    carrier: str


class HoldPlaced(Fact):
    handle: str
    reason: HoldReason
    holder: str | None = None
    until: datetime | None = None
    standing: bool = False
    """It freezes everything that matches; this parcel met it."""
    command_id: str | None = None
    """None for a hold that came with the parcel, and for a standing one."""


class HoldReleased(Fact):
    handle: str
    command_id: str | None = None
    """None for one that ended by itself, and for a standing one."""


class StepStarted(Fact):
    """A person or a machine works at it; labels and the hand-over begin by their own facts."""

    step_key: str


class StepCompleted(Fact):
    step_key: str


class StepFailed(Fact):
    """It cannot be done at all: the parcel is taken apart again."""

    step_key: str
    code: Code


class LabelRequested(Fact):
    """Stored before the carrier is asked."""

    n: int
    address_version: int
    provider_key: str


class LabelBooked(Fact):
    n: int
    tracking_reference: str
    cost_minor: int
    currency: str


class LabelRefused(Fact):
    n: int
    code: str
    """The carrier's own code."""


class LabelVoided(Fact):
    n: int
    cost_minor: int
    """What it had cost, and is of no use any more."""
    currency: str
    outside: bool = False
    """The carrier knows no such label any more: a person says so."""


class HandOverStarted(Fact):
    """The cut-off: stored before the carrier is asked, and from here on no wish can stop the parcel."""

    provider_key: str
    label_n: int


class HandedOver(Fact):
    """The point of no return: the carrier has the parcel."""

    reference: str


class HandOverRefused(Fact):
    """The parcel is still here, so wishes are heard again."""

    code: str
    """The carrier's own code."""


class AddressChanged(Fact):
    version: int
    command_id: str | None = None


class CancelAsked(Fact):
    """The order asks for the end; nothing begins before a person has said yes or no."""

    command_id: str
    answer_by: datetime


class CancelRejected(Fact):
    """A person said no: the parcel goes on with the very step."""

    command_id: str


class CancelRequested(Fact):
    """The parcel is taken apart, by an operator's own word or because a request was accepted."""

    command_id: str


class Restocked(Fact):
    """What had been picked is back on the shelf."""

    lines: tuple[Line, ...]


class FulfillmentCancelled(Fact):
    """The end, after label and shelf are settled."""


class FulfillmentFailed(Fact):
    """The end, after label and shelf are settled."""

    code: Code


FulfillmentEvent = (
    FulfillmentAccepted
    | HoldPlaced
    | HoldReleased
    | StepStarted
    | StepCompleted
    | StepFailed
    | LabelRequested
    | LabelBooked
    | LabelRefused
    | LabelVoided
    | HandOverStarted
    | HandedOver
    | HandOverRefused
    | AddressChanged
    | CancelAsked
    | CancelRejected
    | CancelRequested
    | Restocked
    | FulfillmentCancelled
    | FulfillmentFailed
    | ExceptionRaised
    | ExceptionResolved
)

FACTS: tuple[type[FulfillmentEvent], ...] = FulfillmentEvent.__args__


class StandingHoldPlaced(Fact):
    """From the commit on nothing that matches can begin a step."""

    handle: str
    kind: StandingKind
    value: str
    reason: HoldReason
    holder: str
    until: datetime | None = None


class StandingHoldLifted(Fact):
    """It stands no more, for good."""


StandingHoldEvent = StandingHoldPlaced | StandingHoldLifted
"""Kept in a stream of its own; what a parcel shows of it is told by the parcel's own facts."""

STANDING_FACTS: tuple[type[StandingHoldEvent], ...] = StandingHoldEvent.__args__
