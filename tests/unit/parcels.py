"""Parcels at every point of their way, and the wishes one may have about them."""

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
    return steps.accept(request, mode="automatic", pace_seconds=0)


def born(*holds: Hold, mode: WarehouseMode = "automatic", pace_seconds: float = 1) -> Fulfillment:
    first, *rest = accepted(*holds, mode=mode, pace_seconds=pace_seconds)
    return evolved(evolve(None, first), rest)


def advanced(f: Fulfillment) -> Fulfillment:
    """The parcel after the next thing the workflow would record, the carrier saying yes."""
    return evolved(f, next_facts(f))


def next_facts(f: Fulfillment, *, fine: bool = True) -> list[FulfillmentEvent]:  # noqa: PLR0911
    """What the workflow's next activity would record, the carrier saying yes or no."""
    match f.step:
        case Step.WORK:
            return steps.work(f, finished=f.open_step if f.mode == "automatic" else None)
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
            return steps.begin(f)


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


def wish(f: Fulfillment, name: str, command_id: str) -> list[FulfillmentEvent]:  # noqa: PLR0911
    match name:
        case "pause":
            return wishes.place_hold(f, hold=Hold(handle=command_id), command_id=command_id)
        case "hold":
            return wishes.place_hold(f, hold=FRAUD, command_id=command_id)
        case "resume":
            return wishes.resume(f, handle=None, command_id=command_id)
        case "release":
            return wishes.release(f, handle=None, command_id=command_id)
        case "cancel":
            return wishes.request_cancel(f, command_id=command_id)
        case "address":
            return wishes.change_address(f, command_id=command_id)
        case "complete":
            return wishes.complete_step(f, step_key=f.step_key or "none")
        case "fail":
            return wishes.fail_step(f, step_key=f.step_key or "none")
        case _:
            return wishes.resolve_exception(f)
