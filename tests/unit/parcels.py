"""Parcels at every point of their way, and the wishes one may have about them."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from contracts.fulfillment import Stage, StartFulfillment
from contracts.values import Address, Hold, HoldReason, Line, WarehouseMode
from fulfillment_service.events import (
    FulfillmentEvent,
)
from fulfillment_service.fulfillment import Fulfillment, Step, evolve, evolved, steps, wishes

ADDRESS = Address(street="1 A", city="B", state="C", zip_code="12345", country="D")
LINES = (Line(sku="A", quantity=1), Line(sku="B", quantity=2))
PAUSE = Hold(handle="p", reason=HoldReason.OPERATOR_PAUSE)
FRAUD = Hold(handle="f", reason=HoldReason.FRAUD_RISK)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
FROZEN = Hold(handle="standing:recall", reason=HoldReason.QUALITY, holder="anna", standing=True)


def accepted(
    *holds: Hold, mode: WarehouseMode = "automatic", pace_seconds: float = 1
) -> list[FulfillmentEvent]:
    request = StartFulfillment(
        order_id="ORD-1700000000000-ABCDEFGHI",
        n=1,
        lines=LINES,
        address=ADDRESS,
        address_version=1,
        country="D",
        customer_ref="c",
        holds=holds,
        mode=mode,
        pace_seconds=pace_seconds,
        reply_to="order-workflow-ORD-1700000000000-ABCDEFGHI",
    )
    return steps.accept(request, mode="automatic", pace_seconds=0, warehouse="main", carrier="sandbox")


def born(*holds: Hold, mode: WarehouseMode = "automatic", pace_seconds: float = 1) -> Fulfillment:
    first, *rest = accepted(*holds, mode=mode, pace_seconds=pace_seconds)
    return evolved(evolve(None, first), rest)


def advanced(f: Fulfillment) -> Fulfillment:
    """The parcel after the next thing the workflow would record, the carrier saying yes."""
    return evolved(f, next_facts(f))


def next_facts(  # noqa: PLR0911
    f: Fulfillment, *, fine: bool = True, standing: Sequence[Hold] = ()
) -> list[FulfillmentEvent]:
    """What the workflow's next activity would record, the carrier saying yes or no."""
    match f.step:
        case Step.WORK:
            finished = f.open_step if f.mode == "automatic" else None
            return steps.work(f, finished=finished, standing=standing)
        case Step.BOOK_LABEL if f.label is not None:
            if fine:
                return steps.label_booked(
                    f, f.label, tracking_reference=f"T{f.label.n}", cost_minor=1, currency="USD"
                )
            return steps.label_refused(f, f.label, reason="no")
        case Step.HAND_OVER if f.hand_over is not None:
            if fine:
                return steps.handed_over(f, f.hand_over, reference="H")
            return steps.hand_over_refused(f, f.hand_over, reason="no")
        case Step.VOID_LABEL if f.label is not None:
            return steps.label_voided(f, f.label)
        case Step.SETTLE:
            return steps.settle(f)
        case _:
            return steps.begin(f, standing)


def until(stage: str) -> Fulfillment:
    """A parcel at that point of its way, as the columns of the wish table name them."""
    f = born()
    while not _has_reached(f, stage):
        f = advanced(f)
    return f


def _has_reached(f: Fulfillment, stage: str) -> bool:
    is_booked = f.label is not None and f.label.tracking_reference is not None
    return {
        "WAITING": True,
        "PICKING": f.open_step == "pick:2",
        "quality": f.open_step == "quality",
        "PACKING": f.open_step == "pack",
        "label": f.label is not None and not is_booked,
        "READY_TO_SHIP": is_booked,
        "HandOverStarted": f.hand_over is not None,
        "SHIPPED": f.stage is Stage.SHIPPED,
    }[stage]


def wish(
    f: Fulfillment, name: str, command_id: str, *, now: datetime = NOW, standing: Sequence[Hold] = ()
) -> list[FulfillmentEvent]:
    """What that wish adds to the parcel; `ask` is a cancel that a person has to decide."""
    later, step_key = now + timedelta(hours=1), f.step_key or "none"
    asked = f.asked[0].command_id if f.asked else "nothing"
    pause, fraud = Hold(handle=command_id), Hold(handle=command_id, reason=HoldReason.FRAUD_RISK)
    for_an_hour = Hold(handle=command_id, until=later)
    decisions: dict[str, Callable[[], list[FulfillmentEvent]]] = {
        "pause": lambda: wishes.place_hold(f, hold=pause, command_id=command_id),
        "pause for an hour": lambda: wishes.place_hold(f, hold=for_an_hour, command_id=command_id),
        "hold": lambda: wishes.place_hold(f, hold=fraud, command_id=command_id),
        "resume": lambda: wishes.resume(f, handle=None, command_id=command_id),
        "release": lambda: wishes.release(f, handle=None, command_id=command_id),
        "cancel": lambda: wishes.request_cancel(f, command_id=command_id),
        "ask": lambda: wishes.request_cancel(f, command_id=command_id, answer_by=later),
        "acceptCancellation": lambda: wishes.accept_cancellation(f, request=asked),
        "rejectCancellation": lambda: wishes.reject_cancellation(f, request=asked),
        "updateAddress": lambda: wishes.change_address(f, command_id=command_id),
        "completeStep": lambda: wishes.complete_step(f, step_key=step_key, standing=standing),
        "failStep": lambda: wishes.fail_step(f, step_key=step_key),
        "resolveException": lambda: wishes.resolve_exception(f),
    }
    return decisions[name]()
