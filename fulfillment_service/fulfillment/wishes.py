"""What may be wished of a fulfillment, and what still moves the receipt afterwards.

From `HandOverStarted` on nothing stops the parcel; `HandOverRefused` opens the door again.
"""

from collections.abc import Sequence

from contracts.chassis.errors import Refused
from contracts.chassis.receipts import Advance
from contracts.envelope import ReceiptStatus
from contracts.fulfillment import HAND_OVER, Stage
from contracts.values import Code, Hold, HoldReason
from fulfillment_service.events import (
    AddressChanged,
    CancelRequested,
    ExceptionResolved,
    FulfillmentEvent,
    HoldPlaced,
    HoldReleased,
    StepCompleted,
    StepFailed,
)
from fulfillment_service.fulfillment.state import Fulfillment, Step, evolve, verdict
from fulfillment_service.fulfillment.steps import begin

CUT_OFF = "HandOverStarted"


def place_hold(f: Fulfillment, *, hold: Hold, command_id: str) -> list[FulfillmentEvent]:
    """The parcel has one more reason not to move; a handle that stands already changes nothing.

    Raises Refused from the hand-over on, and once the parcel is taken apart."""
    _refuse_from_hand_over(f)
    _refuse_when_undone(f)
    if hold.handle in {each.handle for each in f.holds}:
        return []
    return [HoldPlaced(handle=hold.handle, reason=hold.reason, command_id=command_id)]


def resume(f: Fulfillment, *, handle: str | None, command_id: str) -> list[FulfillmentEvent]:
    """Every pause is lifted, or the hold of that handle; other reasons not to move stay."""
    if handle is not None:
        return release(f, handle=handle, command_id=command_id)
    paused = [hold.handle for hold in f.holds if hold.reason is HoldReason.OPERATOR_PAUSE]
    return _released(f, paused, command_id)


def release(f: Fulfillment, *, handle: str | None, command_id: str) -> list[FulfillmentEvent]:
    """The hold of that handle is lifted, or all of them; where nothing is held nothing changes.

    Raises Refused when other holds stand and none has this handle."""
    held = [hold.handle for hold in f.holds]
    if handle is None or not held:
        return _released(f, held, command_id)
    if handle not in held:
        raise Refused(
            "no hold of this handle stands; GET the fulfillment for its holds", code=Code.HOLD_NOT_FOUND
        )
    return _released(f, [handle], command_id)


def request_cancel(f: Fulfillment, *, command_id: str) -> list[FulfillmentEvent]:
    """The parcel will be taken apart; asked once more, both who asked have their answer when it is.

    Raises Refused from the hand-over on, and when the parcel failed by itself."""
    if f.stage is Stage.CANCELLED:
        return []
    _refuse_from_hand_over(f)
    if f.failure is not None:
        raise Refused("a step failed and the parcel is being taken apart", code=Code.ALREADY_ENDED)
    return [CancelRequested(command_id=command_id)]


def change_address(f: Fulfillment, *, command_id: str) -> list[FulfillmentEvent]:
    """The next label carries the new address; one that is booked is voided. An exception is over with it.

    Raises Refused from the hand-over on, and once the parcel is taken apart."""
    if f.hand_over is not None or f.stage is Stage.SHIPPED:
        raise Refused(
            "the carrier takes the parcel under the label it has",
            code=Code.ADDRESS_CUTOFF_PASSED,
            cut_off=CUT_OFF,
        )
    _refuse_when_undone(f)
    changed = AddressChanged(version=f.address_version + 1, command_id=command_id)
    return [changed, ExceptionResolved()] if f.trouble else [changed]


def complete_step(f: Fulfillment, *, step_key: str) -> list[FulfillmentEvent]:
    """The step is done, and was begun where it had not been; completing the hand-over calls the carrier.

    Raises Refused when another step is due, or this one may not begin."""
    if step_key in f.warehouse_steps[: f.worked]:
        return []
    _refuse_unless_due(f, step_key)
    if step_key == HAND_OVER:
        return begin(f)
    begun = begin(f) if f.open_step is None else []
    return [*begun, StepCompleted(step_key=step_key)]


def fail_step(f: Fulfillment, *, step_key: str) -> list[FulfillmentEvent]:
    """The step cannot be done at all, so the parcel is taken apart and the fulfillment fails.

    Raises Refused when another step is due."""
    _refuse_from_hand_over(f)
    _refuse_when_undone(f)
    in_trouble = f.trouble is not None and f.trouble.step_key == step_key
    if f.step_key != step_key and not in_trouble:
        raise _not_due(f)
    if f.step is Step.BOOK_LABEL and f.is_moving:
        raise Refused("the carrier has been asked and has not answered", code=Code.STEP_NOT_OPEN)
    return [StepFailed(step_key=step_key, code=Code.STEP_FAILED)]


def resolve_exception(f: Fulfillment) -> list[FulfillmentEvent]:
    """The step that made the trouble is tried again."""
    return [ExceptionResolved()] if f.trouble and not f.is_ended else []


def status_of(f: Fulfillment, command_id: str) -> ReceiptStatus:
    """The receipt of a wish that was just granted."""
    return "ACCEPTED" if any(each.command_id == command_id for each in f.waiting) else "EFFECTIVE"


def advances(before: Fulfillment | None, facts: Sequence[FulfillmentEvent]) -> list[Advance]:
    """The receipts that move because of these facts."""
    moved: list[Advance] = []
    state = before
    for fact in facts:
        after = evolve(state, fact)
        if state is not None:
            verdicts = [Advance(each.command_id, verdict(after, each)) for each in state.waiting]
            moved += [advance for advance in verdicts if advance.status != "ACCEPTED"]
        state = after
    return moved


def allowed_actions(f: Fulfillment) -> list[str]:
    """The wishes that would not be refused now."""
    if f.is_ended or f.hand_over is not None or f.failure is not None:
        return []
    if f.is_cancelled:
        return ["cancel"]
    actions = ["pause", "hold", "cancel", "updateAddress"]
    if f.holds:
        actions.append("resume")
    if f.trouble:
        actions.append("resolveException")
    if f.open_step or (f.mode == "manual" and f.step in (Step.WORK, Step.HAND_OVER) and not f.obstacle):
        actions += ["completeStep", "failStep"]
    return actions


def _released(f: Fulfillment, handles: Sequence[str], command_id: str) -> list[FulfillmentEvent]:
    if not handles:
        return []
    _refuse_from_hand_over(f)
    _refuse_when_undone(f)
    return [HoldReleased(handle=handle, command_id=command_id) for handle in handles]


def _refuse_unless_due(f: Fulfillment, step_key: str) -> None:
    _refuse_from_hand_over(f)
    _refuse_when_undone(f)
    if f.step_key != step_key or f.step not in (Step.WORK, Step.HAND_OVER):
        raise _not_due(f)
    if f.open_step is None and f.obstacle is not None:
        raise Refused("the parcel is on hold, so no step may begin", code=Code.ON_HOLD)


def _not_due(f: Fulfillment) -> Refused:
    return Refused(f"the step that is open or next is {f.step_key}", code=Code.STEP_NOT_OPEN)


def _refuse_from_hand_over(f: Fulfillment) -> None:
    if f.hand_over is not None:
        raise Refused("the carrier is taking the parcel", code=Code.HAND_OVER_IN_PROGRESS, cut_off=CUT_OFF)
    if f.stage is Stage.SHIPPED:
        raise Refused("the carrier has the parcel", code=Code.ALREADY_ENDED, cut_off=CUT_OFF)


def _refuse_when_undone(f: Fulfillment) -> None:
    if f.is_ended:
        raise Refused("the fulfillment has ended", code=Code.ALREADY_ENDED)
    if f.is_cancelled:
        raise Refused("the fulfillment is being cancelled", code=Code.CANCEL_IN_PROGRESS)
    if f.failure is not None:
        raise Refused("a step failed and the parcel is being taken apart", code=Code.ALREADY_ENDED)
