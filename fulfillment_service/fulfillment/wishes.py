"""What may be wished of a fulfillment, and what still moves the receipt afterwards.

From `HandOverStarted` on nothing stops the parcel; `HandOverRefused` opens the door again.
"""

from collections.abc import Sequence
from datetime import datetime

from contracts.chassis.errors import Refused
from contracts.chassis.faults import Resolution
from contracts.chassis.receipts import Advance
from contracts.chassis.troubles import resolved
from contracts.envelope import ReceiptStatus
from contracts.fulfillment import HAND_OVER, Stage
from contracts.values import Code, Hold, HoldReason
from fulfillment_service.events import (
    AddressChanged,
    CancelAsked,
    CancelRejected,
    CancelRequested,
    FulfillmentEvent,
    HoldReleased,
    LabelVoided,
    StepCompleted,
    StepFailed,
)
from fulfillment_service.fulfillment.evolution import evolve, evolved, verdict
from fulfillment_service.fulfillment.state import Fulfillment, Step
from fulfillment_service.fulfillment.steps import begin, meet, placed

CUT_OFF = "HandOverStarted"
HELPED_BY_ADDRESS = (Code.LABEL_REFUSED, Code.HAND_OVER_REFUSED)
STANDING = "standing:"
"""How the handle of a hold begins that freezes everything that matches."""


def place_hold(f: Fulfillment, *, hold: Hold, command_id: str) -> list[FulfillmentEvent]:
    """The parcel has one more reason not to move; the same hold that stands already changes nothing.

    Raises Refused from the hand-over on, once the parcel is taken apart, and when the handle is taken."""
    _refuse_from_hand_over(f)
    _refuse_when_undone(f)
    if hold.handle.startswith(STANDING):
        raise Refused(f"handles that begin with {STANDING} are for standing holds", code=Code.HANDLE_TAKEN)
    known = next((each for each in f.holds if each.handle == hold.handle), None)
    if known is None:
        return [placed(hold, command_id)]
    if (known.reason, known.until) != (hold.reason, hold.until):
        raise Refused("another hold of this handle stands; release it first", code=Code.HANDLE_TAKEN)
    return []


def resume(f: Fulfillment, *, handle: str | None, command_id: str) -> list[FulfillmentEvent]:
    """Every pause is lifted, or the hold of that handle; other reasons not to move stay.

    Raises Refused when it is a standing hold that stops the parcel, and once the parcel is taken apart."""
    if handle is not None:
        return release(f, handle=handle, command_id=command_id)
    if _is_leaving(f):
        return []
    _refuse_when_undone(f)
    paused = [hold.handle for hold in _own(f) if hold.reason is HoldReason.OPERATOR_PAUSE]
    if not paused:
        _refuse_standing(f)
    return _released(f, paused, command_id)


def release(f: Fulfillment, *, handle: str | None, command_id: str) -> list[FulfillmentEvent]:
    """The hold of that handle is lifted, or all of them; where nothing is held nothing changes.

    Raises Refused when other holds stand and none has this handle, for a standing hold, and once the parcel
    is taken apart, held or not: the order, which hears of the end alone, then says the same."""
    if _is_leaving(f):
        return []
    _refuse_when_undone(f)
    held = [hold.handle for hold in _own(f)]
    if handle is None and held:
        return _released(f, held, command_id)
    if handle is None or handle in {hold.handle for hold in f.holds if hold.standing}:
        _refuse_standing(f)
    if not f.holds:
        return []
    if handle not in held:
        raise Refused(
            "no hold of this handle stands; GET the fulfillment for its holds", code=Code.HOLD_NOT_FOUND
        )
    return _released(f, [handle], command_id)


def request_cancel(
    f: Fulfillment, *, command_id: str, answer_by: datetime | None = None
) -> list[FulfillmentEvent]:
    """The parcel will be taken apart; asked once more, all who asked have their answer when it is.

    With `answer_by` a person has to accept or reject it until then; without, this is a person's own word.
    Raises Refused from the hand-over on, and when the parcel failed by itself."""
    if f.stage is Stage.CANCELLED:
        return []
    _refuse_from_hand_over(f)
    _refuse_when_failed(f)
    if answer_by is not None and not f.is_cancelled:
        return [CancelAsked(command_id=command_id, answer_by=answer_by)]
    return [*_accepted(f), CancelRequested(command_id=command_id), *_over(f)]


def accept_cancellation(f: Fulfillment, *, request: str) -> list[FulfillmentEvent]:
    """The parcel will be taken apart, as all who asked for it wished; one already accepted adds nothing.

    Raises Refused when no such request waits."""
    if f.is_cancelled and request in {each.command_id for each in f.waiting}:
        return []
    _refuse_unless_asked(f, request)
    return [*_accepted(f), *_over(f)]


def reject_cancellation(f: Fulfillment, *, request: str) -> list[FulfillmentEvent]:
    """The parcel goes on with the very step, unless another request waits.

    Raises Refused when no such request waits."""
    _refuse_unless_asked(f, request)
    return [CancelRejected(command_id=request), *_answered(f)]


def change_address(f: Fulfillment, *, command_id: str, country: str | None = None) -> list[FulfillmentEvent]:
    """The next label carries the new address; one that is booked is voided. An exception is over with it.

    Raises Refused from the hand-over on, once the parcel is taken apart, and for another country: that is
    what standing holds and papers go by."""
    if f.hand_over is not None or f.stage is Stage.SHIPPED:
        raise Refused(
            "the carrier takes the parcel under the label it has",
            code=Code.ADDRESS_CUTOFF_PASSED,
            cut_off=CUT_OFF,
        )
    _refuse_when_undone(f)
    if country not in (None, f.country):
        raise Refused(
            "the parcel is planned for another country; cancel it and order anew",
            code=Code.COUNTRY_CANNOT_CHANGE,
            cut_off="FulfillmentAccepted",
        )
    changed = AddressChanged(version=f.address_version + 1, command_id=command_id)
    helped = [each for each in f.troubles if each.code in HELPED_BY_ADDRESS]
    return [changed, *resolved(helped, "change-data")]


def complete_step(f: Fulfillment, *, step_key: str, standing: Sequence[Hold] = ()) -> list[FulfillmentEvent]:
    """The step is done, and was begun where it had not been; completing the hand-over calls the carrier.

    Raises Refused when another step is due, or this one may not begin."""
    if step_key in f.warehouse_steps[: f.worked]:
        return []
    _refuse_unless_due(f, step_key)
    if f.open_step is not None:
        return [StepCompleted(step_key=step_key)]
    _refuse_when_stopped(evolved(f, meet(f, standing)))
    begun = begin(f, standing)
    return begun if step_key == HAND_OVER else [*begun, StepCompleted(step_key=step_key)]


def fail_step(f: Fulfillment, *, step_key: str) -> list[FulfillmentEvent]:
    """The step cannot be done at all, so the parcel is taken apart and the fulfillment fails.

    Raises Refused when another step is due."""
    _refuse_from_hand_over(f)
    _refuse_when_undone(f)
    in_trouble = any(each.step_key == step_key for each in f.troubles)
    if f.step_key != step_key and not in_trouble:
        raise _not_due(f)
    if f.step is Step.BOOK_LABEL and f.is_moving:
        raise Refused("the carrier has been asked and has not answered", code=Code.STEP_NOT_OPEN)
    return [StepFailed(step_key=step_key, code=Code.STEP_FAILED), *_over(f)]


def resolve_exception(
    f: Fulfillment, *, how: Resolution = "retry", code: Code | None = None, step_key: str | None = None
) -> list[FulfillmentEvent]:
    """What made the trouble is tried again, or left out: all of it, or the one of that code and step.

    Raises Refused when a request has to be answered, or when the step cannot be left out."""
    if f.is_ended:
        return []
    meant = [each for each in f.troubles if code in (None, each.code) and step_key in (None, each.step_key)]
    if any(each.code is Code.CANCEL_UNANSWERED for each in meant):
        raise Refused("accept or reject the request for cancellation", code=Code.CANCEL_UNANSWERED)
    if how != "skip":
        return [*resolved(meant, how)]
    if meant and f.step is Step.VOID_LABEL and f.label and f.parked in meant:
        gone = LabelVoided(
            n=f.label.n, cost_minor=f.label.cost_minor, currency=f.label.currency, outside=True
        )
        return [*resolved(meant, how), gone]
    if meant:
        raise Refused("the parcel cannot go on without this step; retry it, change the address, or cancel")
    return []


def status_of(f: Fulfillment, command_id: str) -> ReceiptStatus:
    """The receipt of a wish that was just granted."""
    waits = next((each for each in f.waiting if each.command_id == command_id), None)
    return verdict(f, waits) if waits else "EFFECTIVE"


def advances(before: Fulfillment | None, facts: Sequence[FulfillmentEvent]) -> list[Advance]:
    """The receipts that move because of these facts."""
    moved: list[Advance] = []
    state = before
    for fact in facts:
        after = evolve(state, fact)
        for wish in state.waiting if state else ():
            status = verdict(after, wish)
            if state and status != verdict(state, wish):
                code = Code.CANCEL_REJECTED if status == "REJECTED" else None
                moved.append(Advance(wish.command_id, status, code))
        state = after
    return moved


def _own(f: Fulfillment) -> list[Hold]:
    """The holds that are this parcel's alone."""
    return [hold for hold in f.holds if not hold.standing]


def _accepted(f: Fulfillment) -> list[FulfillmentEvent]:
    """Everybody who asked for the end has been granted it."""
    accepted = [CancelRequested(command_id=asked.command_id) for asked in f.asked]
    return [*accepted, *_answered(f)]


def _over(f: Fulfillment) -> list[FulfillmentEvent]:
    """A parcel that is taken apart needs none of it; what is parked is tried again at once."""
    return [*resolved([each for each in f.troubles if each.code is not Code.CANCEL_UNANSWERED], "cancel")]


def _answered(f: Fulfillment) -> list[FulfillmentEvent]:
    """That nobody answered is no trouble any more."""
    return [*resolved([each for each in f.troubles if each.code is Code.CANCEL_UNANSWERED], "cancel")]


def _released(f: Fulfillment, handles: Sequence[str], command_id: str) -> list[FulfillmentEvent]:
    return [HoldReleased(handle=handle, command_id=command_id) for handle in handles]


def _is_leaving(f: Fulfillment) -> bool:
    """The carrier takes it or has it; nothing is held, or it would not have begun."""
    return f.hand_over is not None or f.stage is Stage.SHIPPED


def _refuse_unless_due(f: Fulfillment, step_key: str) -> None:
    _refuse_from_hand_over(f)
    _refuse_when_undone(f)
    if f.step_key != step_key or f.step not in (Step.WORK, Step.HAND_OVER):
        raise _not_due(f)


def _refuse_when_stopped(f: Fulfillment) -> None:
    if f.obstacle is not None:
        holds = f" ({', '.join(hold.handle for hold in f.holds)})" if f.holds else ""
        told = f"no step may begin: {f.obstacle}{holds}; see GET /fulfillments/{f.fulfillment_id}/explain"
        raise Refused(told, code=f.obstacle)


def _refuse_unless_asked(f: Fulfillment, request: str) -> None:
    _refuse_when_failed(f)
    if request not in {each.command_id for each in f.asked}:
        told = f"no such request waits; see cancellationRequests of GET /fulfillments/{f.fulfillment_id}"
        raise Refused(told, code=Code.NO_SUCH_REQUEST)


def _refuse_standing(f: Fulfillment) -> None:
    if any(hold.standing for hold in f.holds):
        raise Refused("a standing hold; lift it at /standing-holds", code=Code.STANDING_HOLD)


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
    _refuse_when_failed(f)


def _refuse_when_failed(f: Fulfillment) -> None:
    if f.failure is not None:
        raise Refused("a step failed and the parcel is being taken apart", code=Code.ALREADY_ENDED)
