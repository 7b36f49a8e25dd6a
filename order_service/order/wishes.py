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
    """Ask for the end of the order; asked once more, both who asked have their answer when it comes.

    Raises Refused when the parcel is with the carrier or the order failed by itself."""
    if order.stage is Stage.CANCELLED:
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
    if order.cancels:
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
    if command_id in order.cancels and order.step is not Step.END:
        return "ACCEPTED"
    return "EFFECTIVE"


def advances(before: Order | None, after: Order, facts: Sequence[OrderEvent]) -> list[Advance]:
    """The receipts that move because of these facts."""
    if before is None:
        return []
    steps = [_answer(before, fact) for fact in facts if isinstance(fact, FulfillmentAnswered)]
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
    unheard = [command_id for command_id, _ in before.lane if command_id not in before.cancels]
    rejected = [Advance(command_id, "REJECTED", Code.ALREADY_ENDED) for command_id in (*unheard, *cancels)]
    return [
        *rejected,
        *(
            Advance(command_id, "EFFECTIVE" if shipped and what == "updateShippingAddress" else "SUPERSEDED")
            for command_id, what in before.accepted
        ),
    ]


def _at_the_end(command_id: str, after: Order) -> Advance:
    if after.stage is Stage.CANCELLED:
        return Advance(command_id, "EFFECTIVE")
    return Advance(command_id, "SUPERSEDED", after.failure or Code.FULFILLMENT_FAILED)


def allowed_actions(order: Order) -> list[str]:
    """The wishes that would not be refused now; none once the order ended or will fail by itself."""
    if order.step is Step.END or order.completion is not None or order.failure is not None:
        return []
    actions = ["pause", "resume", "cancel"]
    return actions if order.cancels else [*actions, "update"]


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
