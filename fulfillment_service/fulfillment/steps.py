"""What each step of the parcel's way adds to it. A step that the stream already records adds nothing."""

from contracts.fulfillment import HAND_OVER, Stage, StartFulfillment, label_step
from contracts.values import Code, WarehouseMode
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
    LabelBooked,
    LabelRefused,
    LabelRequested,
    LabelVoided,
    Restocked,
    StepCompleted,
    StepStarted,
)
from fulfillment_service.fulfillment.state import (
    REFUSALS_BEFORE_EXCEPTION,
    Fulfillment,
    Label,
    Step,
    evolved,
)


def accept(request: StartFulfillment, *, mode: WarehouseMode, pace_seconds: float) -> list[FulfillmentEvent]:
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
    )
    holds = {hold.handle: hold for hold in request.holds}
    return [accepted, *(HoldPlaced(handle=hold.handle, reason=hold.reason) for hold in holds.values())]


def begin(f: Fulfillment) -> list[FulfillmentEvent]:
    """The next step begins, unless something stands against it.

    The only writer of StepStarted, LabelRequested and HandOverStarted."""
    if f.is_moving or f.obstacle is not None:
        return []
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


def work(f: Fulfillment, *, finished: str | None = None) -> list[FulfillmentEvent]:
    """The finished step is recorded and the next one begun; where work takes no time, all of it is done."""
    facts: list[FulfillmentEvent] = []
    while f.step is Step.WORK:
        new: list[FulfillmentEvent] = []
        if f.open_step is None:
            new = begin(f)
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


def label_refused(f: Fulfillment, label: Label, *, reason: str) -> list[FulfillmentEvent]:
    """There is no label, and a person has to look, unless a newer address or a cancel came meanwhile."""
    if not _is_open(f, label):
        return []
    refused = LabelRefused(n=label.n, code=reason)
    if f.is_undone or label.address_version != f.address_version:
        return [refused]
    return [refused, ExceptionRaised(step_key=label_step(label.n), code=Code.LABEL_REFUSED)]


def label_voided(f: Fulfillment, label: Label) -> list[FulfillmentEvent]:
    """The carrier has forgotten the label."""
    return [LabelVoided(n=label.n)] if f.step is Step.VOID_LABEL and f.label == label else []


def handed_over(f: Fulfillment, provider_key: str, *, reference: str) -> list[FulfillmentEvent]:
    """The carrier has the parcel: it is shipped."""
    return [HandedOver(reference=reference)] if f.hand_over == provider_key else []


def hand_over_refused(f: Fulfillment, provider_key: str, *, reason: str) -> list[FulfillmentEvent]:
    """The parcel is still here; when that happened too often in a row, a person has to look."""
    if f.hand_over != provider_key:
        return []
    refused = HandOverRefused(code=reason)
    if f.refusals + 1 < REFUSALS_BEFORE_EXCEPTION:
        return [refused]
    return [refused, ExceptionRaised(step_key=HAND_OVER, code=Code.HAND_OVER_REFUSED)]


def settle(f: Fulfillment) -> list[FulfillmentEvent]:
    """What was picked is back on the shelf, and only now the fulfillment says that it ended, and why."""
    if f.step is not Step.SETTLE:
        return []
    end = FulfillmentFailed(code=f.failure) if f.failure else FulfillmentCancelled()
    return [Restocked(lines=f.picked), end] if f.picked else [end]


def _is_open(f: Fulfillment, label: Label) -> bool:
    return f.label == label and label.tracking_reference is None and f.stage is not Stage.SHIPPED
