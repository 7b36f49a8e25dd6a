"""What a customer or an operator may wish of an order, and what still moves the receipt afterwards.

Before the fulfillment is requested the order decides alone. Afterwards every wish for the parcel joins one
lane and waits for the fulfillment's answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.chassis.errors import Refused
from contracts.chassis.receipts import Advance
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
    Instruction,
    InstructionsChanged,
    OrderEvent,
)
from order_service.order.state import Order, Step

REQUESTED = "FulfillmentRequested"
HAND_OVER = "HandOverStarted"


def request_cancel(order: Order, *, command_id: str) -> list[OrderEvent]:
    """Ask for the end of the order; a second request while one is open changes nothing.

    Raises Refused when the parcel is with the carrier or the order failed by itself."""
    if order.stage is Stage.CANCELLED or order.cancel:
        return []
    _refuse_after_the_end(order)
    if not order.is_requested:
        return [CancelRequested(command_id=command_id)]
    return [CancelRequested(command_id=command_id), _instructed(command_id, "cancelFulfillment")]


def pause(order: Order, *, hold: Hold, command_id: str) -> list[OrderEvent]:
    """The parcel gets one more reason not to move; before it exists, the order keeps the hold for it."""
    _refuse_after_the_end(order)
    if order.is_requested:
        return [_instructed(command_id, "pauseFulfillment")]
    if hold.handle in {each.handle for each in order.held}:
        return []
    return [FulfillmentHoldPlaced(hold=hold)]


def resume(order: Order, *, command_id: str) -> list[OrderEvent]:
    """Every pause of the parcel is lifted; other reasons not to move stay."""
    _refuse_after_the_end(order)
    if order.is_requested:
        return [_instructed(command_id, "resumeFulfillment")]
    paused = tuple(each.handle for each in order.held if each.reason is HoldReason.OPERATOR_PAUSE)
    return [FulfillmentHoldsReleased(handles=paused)] if paused else []


@dataclass(frozen=True, slots=True)
class Changes:
    """Which personal parts of an order a request brings anew."""

    contact: bool = False
    address: bool = False
    instructions: bool = False


def update(order: Order, changes: Changes, *, command_id: str) -> list[OrderEvent]:
    """The parts have new versions; an address belongs to the fulfillment once the parcel is requested."""
    _refuse_after_the_end(order)
    if order.cancel:
        raise Refused("the order is being cancelled", code=Code.CANCEL_IN_PROGRESS)
    if changes.instructions and order.is_requested:
        raise Refused(
            "the warehouse already has the instructions; ask an operator",
            code=Code.NOT_ALLOWED_NOW,
            cut_off=REQUESTED,
        )
    facts: list[OrderEvent] = []
    if changes.contact:
        facts.append(ContactChanged(version=order.contact_version + 1))
    if changes.instructions:
        facts.append(InstructionsChanged(version=order.instructions_version + 1))
    if changes.address and order.is_requested:
        facts.append(_instructed(command_id, "updateShippingAddress"))
    elif changes.address:
        facts.append(AddressChanged(version=order.address_version + 1))
    return facts


def status_of(order: Order, command_id: str) -> ReceiptStatus:
    """The receipt of a wish that was just granted."""
    if any(waiting == command_id for waiting, _ in order.lane):
        return "RECEIVED"
    if order.cancel == command_id and order.step is not Step.END:
        return "ACCEPTED"
    return "EFFECTIVE"


def advances(before: Order | None, after: Order, facts: Sequence[OrderEvent]) -> list[Advance]:
    """The receipts that move because of these facts."""
    steps = [
        Advance(fact.command_id, fact.status, fact.code, cut_off=fact.cut_off)
        for fact in facts
        if isinstance(fact, FulfillmentAnswered)
    ]
    if before is None:
        return steps
    if before.completion is None and after.completion is not None:
        # The parcel ended before it heard of these wishes: they can have no effect any more.
        steps += [
            Advance(command_id, "REJECTED", Code.ALREADY_ENDED)
            for command_id, instruction in before.lane
            if instruction != "cancelFulfillment" or after.completion == "SHIPPED"
        ]
    if before.cancel and after.stage is Stage.CANCELLED:
        steps.append(Advance(before.cancel, "EFFECTIVE"))
    if before.cancel and after.stage is Stage.FAILED:
        steps.append(Advance(before.cancel, "SUPERSEDED", after.failure))
    return steps


def allowed_actions(order: Order) -> list[str]:
    """The wishes that would not be refused now."""
    if order.step is Step.END or order.completion is not None:
        return []
    actions = ["pause", "resume"]
    if order.cancel is None:
        actions += ["cancel", "update"]
    return actions


def _instructed(command_id: str, instruction: Instruction) -> FulfillmentInstructed:
    return FulfillmentInstructed(command_id=command_id, instruction=instruction)


def _refuse_after_the_end(order: Order) -> None:
    if order.completion == "SHIPPED":
        raise Refused(
            "the parcel is with the carrier; nothing can be changed",
            code=Code.ALREADY_ENDED,
            cut_off=HAND_OVER,
        )
    if order.step is Step.END or order.completion is not None or order.failure is not None:
        raise Refused("the order has ended", code=Code.ALREADY_ENDED)
