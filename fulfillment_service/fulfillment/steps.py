"""What each step of the parcel's way adds to it. A step that the stream already records adds nothing."""

from collections.abc import Sequence
from datetime import datetime

from contracts.chassis.faults import Failure
from contracts.chassis.troubles import parked, raised, resolved
from contracts.fulfillment import HAND_OVER, Stage, StartFulfillment, label_step
from contracts.values import Code, Hold, WarehouseMode
from fulfillment_service.events import (
    ExceptionRaised,
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
    StepStarted,
)
from fulfillment_service.fulfillment.evolution import evolved
from fulfillment_service.fulfillment.state import REFUSALS_BEFORE_EXCEPTION, Fulfillment, Label, Step

MISUNDERSTOOD = "misunderstood"
"""Kept in place of the carrier's own code when it did not take the request at all."""


def accept(
    request: StartFulfillment,
    *,
    mode: WarehouseMode,
    pace_seconds: float,
    warehouse: str,
    carrier: str,
) -> list[FulfillmentEvent]:
    """The parcel exists, held by what it came with; the warehouse's own mode and pace fill in."""
    accepted = FulfillmentAccepted(
        order_id=request.order_id,
        n=request.n,
        lines=request.lines,
        country=request.country,
        customer_ref=request.customer_ref,
        service_level=request.service_level,
        mode=request.mode or mode,
        pace_seconds=pace_seconds if request.pace_seconds is None else request.pace_seconds,
        address_version=request.address_version,
        reply_to=request.reply_to,
        warehouse=warehouse,
        carrier=carrier,
    )
    holds = {hold.handle: hold for hold in request.holds}
    return [accepted, *(placed(hold) for hold in holds.values())]


def begin(f: Fulfillment, standing: Sequence[Hold] = ()) -> list[FulfillmentEvent]:
    """The next step begins, unless something stands against it, such as a standing hold it meets now.

    The only writer of StepStarted, LabelRequested and HandOverStarted."""
    if not f.begins:
        return []
    met = meet(f, standing)
    f = evolved(f, met)
    return met if f.obstacle is not None else [*met, *_begun(f)]


def meet(f: Fulfillment, standing: Sequence[Hold]) -> list[FulfillmentEvent]:
    """The parcel shows the standing holds that match it now: met ones are placed, ended ones released.

    One that ended for this parcel by its own time is not placed again."""
    if f.is_undone or f.is_ended or f.hand_over is not None:
        return []
    shown = {hold.handle for hold in f.holds if hold.standing}
    stands = {hold.handle for hold in standing}
    ended = [HoldReleased(handle=handle) for handle in sorted(shown - stands)]
    known = shown | f.outlived
    return [*ended, *(placed(hold) for hold in standing if hold.handle not in known)]


def elapse(f: Fulfillment, now: datetime) -> list[FulfillmentEvent]:
    """What the time alone has changed by now: holds have ended, and a cancel went unanswered for too long."""
    if f.is_undone or f.is_ended:
        return []
    facts: list[FulfillmentEvent] = [
        HoldReleased(handle=hold.handle) for hold in f.holds if hold.is_over(now)
    ]
    if not f.is_late and any(asked.answer_by <= now for asked in f.asked):
        facts.append(ExceptionRaised(step_key=f.step_key or HAND_OVER, code=Code.CANCEL_UNANSWERED))
    return facts


def placed(hold: Hold, command_id: str | None = None) -> HoldPlaced:
    return HoldPlaced(
        handle=hold.handle,
        reason=hold.reason,
        holder=hold.holder,
        until=hold.until,
        standing=hold.standing,
        command_id=command_id,
    )


def _begun(f: Fulfillment) -> list[FulfillmentEvent]:
    match f.step:
        case Step.WORK:
            return [StepStarted(step_key=f.warehouse_steps[f.worked])]
        case Step.BOOK_LABEL:
            n = f.labels + 1
            key = f"{f.stream}:label:{n}"
            return [LabelRequested(n=n, address_version=f.address_version, provider_key=key)]
        case Step.HAND_OVER if f.label is not None:
            key = f"{f.stream}:hand-over:{f.hand_overs + 1}"
            return [HandOverStarted(provider_key=key, label_n=f.label.n)]
        case _:
            return []


def work(
    f: Fulfillment, *, finished: str | None = None, standing: Sequence[Hold] = ()
) -> list[FulfillmentEvent]:
    """The finished step is recorded and the next one begun; where work takes no time, all of it is done."""
    facts: list[FulfillmentEvent] = []
    while f.step is Step.WORK:
        new: list[FulfillmentEvent] = []
        if f.open_step is None:
            new = begin(f, standing)
        elif f.open_step == finished or f.is_instant:
            new = [StepCompleted(step_key=f.open_step)]
        if not new:
            break
        facts += new
        f = evolved(f, new)
    return facts


def label_booked(
    f: Fulfillment, label: Label, *, tracking_reference: str, cost_minor: int, currency: str
) -> list[FulfillmentEvent]:
    """The carrier knows the parcel. The label may be out of date already; then it is voided next."""
    if not _is_open(f, label):
        return []
    return [
        LabelBooked(
            n=label.n, tracking_reference=tracking_reference, cost_minor=cost_minor, currency=currency
        )
    ]


def label_refused(
    f: Fulfillment, label: Label, *, reason: str, failure: Failure | None = None
) -> list[FulfillmentEvent]:
    """There is no label, and a person has to look, unless a newer address or a cancel came meanwhile."""
    if not _is_open(f, label):
        return []
    refused = LabelRefused(n=label.n, code=reason)
    if f.is_undone or label.address_version != f.address_version:
        return [refused]
    why = failure or Failure(fault="refusal", kind=reason)
    return [refused, raised(label_step(label.n), Code.LABEL_REFUSED, why)]


def label_voided(f: Fulfillment, label: Label) -> list[FulfillmentEvent]:
    """The carrier has forgotten the label."""
    if f.step is not Step.VOID_LABEL or f.label != label:
        return []
    return [LabelVoided(n=label.n, cost_minor=label.cost_minor, currency=label.currency)]


def handed_over(f: Fulfillment, provider_key: str, *, reference: str) -> list[FulfillmentEvent]:
    """The carrier has the parcel: it is shipped."""
    return [HandedOver(reference=reference)] if f.hand_over == provider_key else []


def hand_over_refused(
    f: Fulfillment, provider_key: str, *, reason: str, failure: Failure | None = None
) -> list[FulfillmentEvent]:
    """The parcel is still here; when that happened too often in a row, a person has to look."""
    if f.hand_over != provider_key:
        return []
    refused = HandOverRefused(code=reason)
    if failure is None and f.refusals + 1 < REFUSALS_BEFORE_EXCEPTION:
        return [refused]
    why = failure or Failure(fault="refusal", kind=reason, attempts=f.refusals + 1)
    return [refused, raised(HAND_OVER, Code.HAND_OVER_REFUSED, why)]


def settle(f: Fulfillment) -> list[FulfillmentEvent]:
    """What was picked is back on the shelf, and only now the fulfillment says that it ended, and why."""
    if f.step is not Step.SETTLE:
        return []
    end = FulfillmentFailed(code=f.failure) if f.failure else FulfillmentCancelled()
    over = resolved(f.troubles)
    return [*over, Restocked(lines=f.picked), end] if f.picked else [*over, end]


def park(f: Fulfillment, step: Step, failure: Failure) -> list[FulfillmentEvent]:
    """The step waits for a person; one that went on meanwhile does not.

    What the carrier did not understand it has not done: it gave no label and did not take the parcel."""
    if f.step is not step:
        return []
    is_refused = failure.fault == "bad-data"
    if is_refused and f.step is Step.BOOK_LABEL and f.label is not None:
        return label_refused(f, f.label, reason=MISUNDERSTOOD, failure=failure)
    if is_refused and f.hand_over is not None:
        return hand_over_refused(f, f.hand_over, reason=MISUNDERSTOOD, failure=failure)
    return [*parked(f.troubles, f.doing, failure)]


def passed(f: Fulfillment, facts: Sequence[FulfillmentEvent]) -> list[FulfillmentEvent]:
    """The same facts, before them that a parked step goes on with them."""
    after = evolved(f, facts)
    over = [each for each in after.troubles if each.is_parked and each.step_key != after.doing]
    return [*resolved([each for each in over if each in f.troubles]), *facts]


def _is_open(f: Fulfillment, label: Label) -> bool:
    return f.label == label and label.tracking_reference is None and f.stage is not Stage.SHIPPED


def provider_key(f: Fulfillment, step_key: str) -> str | None:
    """The name of the call that the step is about, as the carrier knows it."""
    kind, _, number = step_key.rpartition(":")
    match kind or step_key:
        case "label":
            return f"{f.stream}:label:{number}"
        case "void-label":
            return f.void_key(int(number))
        case "hand-over" if f.hand_overs:
            return f"{f.stream}:hand-over:{f.hand_overs}"
        case _:
            return None
