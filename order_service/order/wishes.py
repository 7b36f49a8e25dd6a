"""What a customer or an operator may wish of an order, and what still moves the receipt afterwards.

Before the fulfillment is requested the order decides alone. Afterwards every wish for the parcel joins one
lane and waits for the fulfillment's answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from contracts.chassis.errors import Refused
from contracts.chassis.receipts import Advance
from contracts.chassis.troubles import resolved
from contracts.envelope import ReceiptStatus
from contracts.order import Stage
from contracts.values import Code, Hold, HoldReason
from order_service.events import (
    AddressChanged,
    CancelRequested,
    ContactChanged,
    FulfillmentAnswered,
    FulfillmentHoldPlaced,
    FulfillmentHoldsReleased,
    FulfillmentInstructed,
    HoldPlaced,
    HoldReleased,
    InstructionsChanged,
    OrderEvent,
)
from order_service.order.evolution import verdict
from order_service.order.state import Order, Step

REQUESTED = "FulfillmentRequested"
HAND_OVER = "HandOverStarted"


def request_cancel(order: Order, *, command_id: str, answer_by: datetime | None) -> list[OrderEvent]:
    """Ask for the end of the order; asked once more, both who asked have their answer when it comes.

    Where the fulfillment decides, it has until `answer_by`.

    Raises Refused when the parcel is with the carrier or the order failed by itself."""
    if order.stage is Stage.CANCELLED:
        return []
    _refuse_after_the_end(order)
    if not order.is_requested:
        # What is parked is tried again at once, so that the end does not wait for its pause.
        waits = [each for each in order.troubles if each.is_parked]
        return [CancelRequested(command_id=command_id), *resolved(waits, "cancel")]
    return [
        CancelRequested(command_id=command_id, answer_by=answer_by),
        FulfillmentInstructed(command_id=command_id, instruction="cancelFulfillment"),
    ]


def pause(order: Order, *, hold: Hold, command_id: str) -> list[OrderEvent]:
    """The parcel gets one more reason not to move; before it exists, the order keeps the hold and goes on.

    Raises Refused when another kind of hold has this handle."""
    _refuse_after_the_end(order)
    if order.is_requested:
        return [FulfillmentInstructed(command_id=command_id, instruction="pauseFulfillment", hold=hold)]
    _refuse_when_cancelled(order)
    _refuse_a_taken_handle(hold, order.holds)
    return [] if hold.handle in _handles(order.held) else [FulfillmentHoldPlaced(hold=hold)]


def resume(order: Order, *, handle: str | None, command_id: str) -> list[OrderEvent]:
    """Every pause of the parcel is lifted, or the hold of that handle; other reasons not to move stay."""
    _refuse_after_the_end(order)
    if order.is_requested:
        return [FulfillmentInstructed(command_id=command_id, instruction="resumeFulfillment", handle=handle)]
    if handle is not None:
        return release(order, handle=handle, command_id=command_id)
    _refuse_when_cancelled(order)
    paused = tuple(each.handle for each in order.held if each.reason is HoldReason.OPERATOR_PAUSE)
    return [FulfillmentHoldsReleased(handles=paused)] if paused else []


def place_hold(order: Order, *, hold: Hold, command_id: str) -> list[OrderEvent]:
    """Nothing further begins while this stands; a handle that stands already changes nothing.

    Before the boundary that is the order's next step, afterwards the parcel's.
    Raises Refused when another kind of hold has this handle."""
    _refuse_after_the_end(order)
    if order.is_requested:
        return [FulfillmentInstructed(command_id=command_id, instruction="applyHold", hold=hold)]
    _refuse_when_cancelled(order)
    _refuse_a_taken_handle(hold, order.held)
    return [] if hold.handle in _handles(order.holds) else [HoldPlaced(hold=hold, command_id=command_id)]


def release(order: Order, *, handle: str | None, command_id: str) -> list[OrderEvent]:
    """The hold of that handle is lifted, or all of them, those kept for the parcel included.

    Raises Refused when other holds stand and none has this handle."""
    _refuse_after_the_end(order)
    if order.is_requested:
        return [FulfillmentInstructed(command_id=command_id, instruction="releaseHold", handle=handle)]
    _refuse_when_cancelled(order)
    own = [each for each in _handles(order.holds) if handle in (None, each)]
    kept = tuple(each for each in _handles(order.held) if handle in (None, each))
    if not own and not kept and (order.holds or order.held):
        raise Refused("no hold of this handle stands; GET the order for its holds", code=Code.HOLD_NOT_FOUND)
    released: list[OrderEvent] = [HoldReleased(handle=each, command_id=command_id) for each in own]
    return [*released, FulfillmentHoldsReleased(handles=kept)] if kept else released


@dataclass(frozen=True, slots=True)
class Changes:
    """Which personal parts of an order a request brings anew."""

    contact: bool = False
    country: str | None = None
    """Of the new address; None leaves the address as it is."""
    instructions: bool = False


def update(order: Order, changes: Changes, *, command_id: str) -> list[OrderEvent]:
    """The parts have new versions; an address belongs to the fulfillment once the parcel is requested.

    Raises Refused for what the warehouse has already planned with: instructions, and the country."""
    _refuse_after_the_end(order)
    _refuse_when_cancelled(order)
    if changes.instructions and order.is_requested:
        raise Refused(
            "the warehouse already has the instructions; ask an operator",
            code=Code.NOT_ALLOWED_NOW,
            cut_off=REQUESTED,
        )
    if changes.country not in (None, order.country) and order.is_requested:
        raise Refused(
            "the parcel is on its way to another country; cancel the order and place a new one",
            code=Code.COUNTRY_CANNOT_CHANGE,
            cut_off=REQUESTED,
        )
    facts: list[OrderEvent] = []
    if changes.contact:
        facts.append(ContactChanged(version=order.contact_version + 1))
    if changes.instructions:
        facts.append(InstructionsChanged(version=order.instructions_version + 1))
    if changes.country and order.is_requested:
        facts.append(FulfillmentInstructed(command_id=command_id, instruction="updateShippingAddress"))
    elif changes.country:
        facts.append(AddressChanged(version=order.address_version + 1, country=changes.country))
    return facts


def status_of(order: Order, command_id: str) -> ReceiptStatus:
    """The receipt of a wish that was just granted."""
    if any(wish.command_id == command_id for wish in order.lane):
        return "RECEIVED"
    waits = any(wish.command_id == command_id for wish in order.waiting)
    if waits or (command_id in order.cancels and order.step is not Step.END):
        return "ACCEPTED"
    return "EFFECTIVE"


def advances(before: Order | None, after: Order, facts: Sequence[OrderEvent]) -> list[Advance]:
    """The receipts that move because of these facts."""
    if before is None:
        return []
    steps = [_answer(before, fact) for fact in facts if isinstance(fact, FulfillmentAnswered)]
    steps += [
        Advance(wish.command_id, verdict(after, wish)) for wish in before.waiting if wish not in after.waiting
    ]
    if before.completion is None and after.completion is not None:
        steps += _at_completion(before, shipped=after.completion == "SHIPPED")
    if before.stage is not after.stage and after.stage in (Stage.CANCELLED, Stage.FAILED):
        steps += [_at_the_end(command_id, after) for command_id in before.cancels]
    return steps


def _answer(before: Order, fact: FulfillmentAnswered) -> Advance:
    """A cancelled parcel is not the cancel's effect yet: that comes when money and stock are settled."""
    if fact.command_id in before.cancels and fact.status != "REJECTED":
        return Advance(fact.command_id, "ACCEPTED")
    return Advance(fact.command_id, fact.status, fact.code, cut_off=fact.cut_off)


def _at_completion(before: Order, *, shipped: bool) -> list[Advance]:
    """The parcel ended before it answered these wishes, or before it said that they had taken effect."""
    cancels = before.cancels if shipped else ()
    unheard = [wish for wish in before.lane if wish.command_id not in before.cancels]
    return [
        *(_unheard(wish, shipped=shipped) for wish in unheard),
        *(_too_late(command_id, shipped=shipped) for command_id in cancels),
        *(Advance(wish.command_id, _overtaken(wish, shipped=shipped)) for wish in before.accepted),
    ]


def _unheard(wish: FulfillmentInstructed, *, shipped: bool) -> Advance:
    """What the parcel says as well when the wish reaches it at its end: what has left is not held."""
    if shipped and wish.instruction in ("resumeFulfillment", "releaseHold"):
        return Advance(wish.command_id, "EFFECTIVE")
    return _too_late(wish.command_id, shipped=shipped)


def _too_late(command_id: str, *, shipped: bool) -> Advance:
    """Refused in the words of whoever asks a moment later."""
    end = _end(shipped=shipped)
    return Advance(command_id, "REJECTED", end.code, end.detail, end.cut_off)


def _overtaken(wish: FulfillmentInstructed, *, shipped: bool) -> ReceiptStatus:
    """A parcel leaves with the last accepted address, whether or not that was said."""
    is_carried = shipped and wish.instruction == "updateShippingAddress"
    return "EFFECTIVE" if is_carried else "SUPERSEDED"


def _at_the_end(command_id: str, after: Order) -> Advance:
    if after.stage is Stage.CANCELLED:
        return Advance(command_id, "EFFECTIVE")
    return Advance(command_id, "SUPERSEDED", after.failure or Code.FULFILLMENT_FAILED)


def _handles(holds: Sequence[Hold]) -> list[str]:
    return [hold.handle for hold in holds]


def _refuse_a_taken_handle(hold: Hold, others: Sequence[Hold]) -> None:
    if hold.handle in _handles(others):
        raise Refused("another kind of hold has this handle; choose a new one", code=Code.HANDLE_TAKEN)


def _refuse_when_cancelled(order: Order) -> None:
    if order.cancels:
        raise Refused("the order is being cancelled", code=Code.CANCEL_IN_PROGRESS)


def _refuse_after_the_end(order: Order) -> None:
    if order.step is Step.END or order.completion is not None or order.failure is not None:
        raise _end(shipped=order.completion == "SHIPPED")


def _end(*, shipped: bool) -> Refused:
    if shipped:
        detail = "the parcel is with the carrier; nothing can be changed"
        return Refused(detail, code=Code.ALREADY_ENDED, cut_off=HAND_OVER)
    return Refused("the order has ended", code=Code.ALREADY_ENDED)
