"""What each fact makes of the fulfillment, and what becomes of the wishes that were granted."""

from collections.abc import Iterable
from dataclasses import replace
from typing import assert_never

from contracts.chassis import troubles
from contracts.envelope import FINAL, ReceiptStatus
from contracts.fulfillment import PACK, QUALITY, Stage
from contracts.values import Hold
from fulfillment_service.events import (
    AddressChanged,
    CancelAsked,
    CancelRejected,
    CancelRequested,
    ExceptionRaised,
    ExceptionResolved,
    FulfillmentAccepted,
    FulfillmentCancelled,
    FulfillmentEvent,
    FulfillmentFailed,
    HandedOver,
    HandOverRefused,
    HandOverStarted,
    HoldPlaced,
    HoldReleased,
    LabelBooked,
    LabelRefused,
    LabelRequested,
    LabelVoided,
    Restocked,
    StepCompleted,
    StepFailed,
    StepStarted,
)
from fulfillment_service.fulfillment.state import Asked, Fulfillment, Label, Setback, Waiting


def evolve(fulfillment: Fulfillment | None, fact: FulfillmentEvent) -> Fulfillment:
    """The fulfillment after one more fact."""
    if isinstance(fact, FulfillmentAccepted):
        return Fulfillment(**dict(fact))
    if fulfillment is None:
        raise ValueError("a fulfillment begins with FulfillmentAccepted")
    after = _learnt(fulfillment, fact)
    wished = dict.fromkeys((*fulfillment.waiting, *_wished(fact)))
    waiting = tuple(each for each in wished if verdict(after, each) not in FINAL)
    done = after.steps_done
    percent = max(after.percent, 100 * done // after.steps_total)
    setback = _setback(after, fact) if done < fulfillment.steps_done else after.setback
    if (percent, setback, waiting) == (after.percent, after.setback, after.waiting):
        # So most facts leave them, and a copy costs as much as all that the fact itself changed.
        return after
    return replace(after, percent=percent, setback=setback, waiting=waiting)


def evolved(fulfillment: Fulfillment, facts: Iterable[FulfillmentEvent]) -> Fulfillment:
    """The fulfillment after several more facts."""
    for fact in facts:
        fulfillment = evolve(fulfillment, fact)
    return fulfillment


def _learnt(f: Fulfillment, fact: FulfillmentEvent) -> Fulfillment:
    match fact:
        case FulfillmentAccepted():
            raise ValueError("a fulfillment is accepted once")
        case HoldPlaced():
            return replace(f, holds=(*f.holds, _hold(fact)))
        case HoldReleased():
            ended = {hold.handle for hold in f.holds if hold.standing and hold.handle == fact.handle}
            left = tuple(hold for hold in f.holds if hold.handle != fact.handle)
            return replace(f, holds=left, outlived=f.outlived | ended)
        case StepStarted():
            stage = Stage.PACKING if fact.step_key == PACK else Stage.PICKING
            return replace(f, open_step=fact.step_key, stage=stage)
        case StepCompleted():
            stage = {QUALITY: Stage.PACKING, PACK: Stage.READY_TO_SHIP}.get(fact.step_key, f.stage)
            return replace(f, open_step=None, worked=f.worked + 1, stage=stage)
        case StepFailed():
            return replace(f, open_step=None, failure=fact.code)
        case LabelRequested():
            label = Label(fact.n, fact.address_version, fact.provider_key)
            return replace(f, labels=fact.n, label=label)
        case LabelBooked():
            return _booked(f, fact)
        case LabelRefused():
            return replace(f, label=None)
        case LabelVoided():
            costs = replace(f.costs, wasted_minor=f.costs.wasted_minor + fact.cost_minor)
            return replace(f, label=None, costs=costs)
        case HandOverStarted():
            return replace(f, hand_over=fact.provider_key, hand_overs=f.hand_overs + 1)
        case HandedOver():
            return replace(f, hand_over=None, stage=Stage.SHIPPED)
        case HandOverRefused():
            return replace(f, hand_over=None, refusals=f.refusals + 1)
        case AddressChanged():
            return replace(f, address_version=fact.version)
        case CancelAsked():
            return replace(f, asked=(*f.asked, Asked(fact.command_id, fact.answer_by)))
        case CancelRejected():
            return replace(f, asked=_without(f.asked, fact.command_id))
        case CancelRequested():
            # A warehouse step in flight is left as it is: what it was about has not been picked.
            asked = _without(f.asked, fact.command_id)
            return replace(f, is_cancelled=True, asked=asked, open_step=None)
        case Restocked():
            return f
        case FulfillmentCancelled():
            return replace(f, stage=Stage.CANCELLED)
        case FulfillmentFailed():
            return replace(f, stage=Stage.FAILED)
        case ExceptionRaised():
            return replace(f, troubles=troubles.opened(f.troubles, fact))
        case ExceptionResolved():
            return replace(f, troubles=troubles.without(f.troubles, fact), refusals=0)
        case _:
            assert_never(fact)


def _hold(fact: HoldPlaced) -> Hold:
    return Hold(
        handle=fact.handle,
        reason=fact.reason,
        holder=fact.holder,
        until=fact.until,
        standing=fact.standing,
    )


def _booked(f: Fulfillment, fact: LabelBooked) -> Fulfillment:
    if f.label is None:
        return f
    label = replace(
        f.label,
        tracking_reference=fact.tracking_reference,
        cost_minor=fact.cost_minor,
        currency=fact.currency,
    )
    booked = f.costs.booked_minor + fact.cost_minor
    return replace(f, label=label, costs=replace(f.costs, booked_minor=booked, currency=fact.currency))


def _without(asked: tuple[Asked, ...], command_id: str) -> tuple[Asked, ...]:
    return tuple(each for each in asked if each.command_id != command_id)


def _setback(after: Fulfillment, fact: FulfillmentEvent) -> Setback:
    """Only a label is ever made anew: for another address, or for no parcel any more."""
    if isinstance(fact, AddressChanged):
        return Setback("address", fact.command_id)
    return Setback("cancel" if after.is_cancelled else "failure")


def _wished(fact: FulfillmentEvent) -> list[Waiting]:
    """The wish that a fact grants."""
    match fact:
        case HoldPlaced(command_id=str() as command_id):
            return [Waiting(command_id, "hold", fact.handle)]
        case HoldReleased(command_id=str() as command_id):
            return [Waiting(command_id, "release")]
        case AddressChanged(command_id=str() as command_id):
            return [Waiting(command_id, "address", str(fact.version))]
        case CancelAsked() | CancelRequested():
            return [Waiting(fact.command_id, "cancel")]
        case _:
            return []


def verdict(f: Fulfillment, wish: Waiting) -> ReceiptStatus:
    """What has become of a wish: ACCEPTED until it takes effect or something overtakes it.

    RECEIVED is a cancel that a person still has to accept or reject."""
    match wish.name:
        case "hold":
            if wish.subject not in {hold.handle for hold in f.holds}:
                return "SUPERSEDED"
            return "ACCEPTED" if f.is_moving else "EFFECTIVE"
        case "release":
            if f.is_undone:
                return "SUPERSEDED"
            goes_on = f.is_moving or f.is_ended or f.waits_for_operator
            return "EFFECTIVE" if goes_on or f.obstacle else "ACCEPTED"
        case "address":
            if wish.subject != str(f.address_version):
                return "SUPERSEDED"
            carried = f.label is None or str(f.label.address_version) == wish.subject
            return "EFFECTIVE" if carried else "ACCEPTED"
        case "cancel":
            if f.is_ended:
                return "EFFECTIVE" if f.stage is Stage.CANCELLED else "SUPERSEDED"
            if wish.command_id in {each.command_id for each in f.asked}:
                return "RECEIVED"
            return "ACCEPTED" if f.is_cancelled else "REJECTED"
