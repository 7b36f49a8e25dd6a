"""The action horizon: what one may do with an order now, until when, who answers, and what it would cost.

Each answer comes from the very decision that a wish would meet, asked with a probe."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from contracts import fulfillment
from contracts.chassis.errors import Refused
from contracts.chassis.faults import Resolution
from contracts.chassis.troubles import Open
from contracts.order import PaymentStatus
from contracts.values import Code, Hold
from order_service.events import OrderEvent
from order_service.order import exceptions, wishes
from order_service.order.state import Order, Step
from order_service.order.wishes import HAND_OVER, REQUESTED, Changes

Name = Literal[
    "cancel",
    "pause",
    "resume",
    "hold",
    "release",
    "updateAddress",
    "updateContact",
    "updateInstructions",
    "resolveException",
    "skipException",
]
PROBE = "horizon:probe"
"""A handle and a command that nobody else uses."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What has to be undone or made anew."""

    payment: Literal["void"] | None = None
    payment_minor: int = 0
    """What is reserved and would be given back."""
    currency: str | None = None
    restock_items: int = 0
    """Pieces that would be available again."""
    relabel: bool = False
    """A label that was booked meanwhile would be made anew."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing somebody may wish, and what would come of it now."""

    name: Name
    allowed: bool
    """It would be granted and change something."""
    answered_by: Literal["order", "fulfillment"] = "order"
    """Who decides; what the fulfillment has to answer is passed on and may still be refused."""
    code: Code | None = None
    """Why it would be refused; None with an action that is not allowed: it would change nothing."""
    detail: str | None = None
    cut_off: str | None = None
    """The fact after which it is refused for good."""
    until_step: str | None = None
    """The step with whose begin it ends to be possible."""
    cost: Cost | None = None


def actions(order: Order) -> list[Action]:
    """Every action, the possible ones and the others."""
    probe = Hold(handle=PROBE)

    def updates(changes: Changes) -> Sequence[OrderEvent]:
        return wishes.update(order, changes, command_id=PROBE)

    return [
        _asked(
            order,
            "cancel",
            lambda: wishes.request_cancel(order, command_id=PROBE, answer_by=None),
            cost=_cancelling(order),
        ),
        _asked(order, "pause", lambda: wishes.pause(order, hold=probe, command_id=PROBE)),
        _asked(order, "resume", lambda: wishes.resume(order, handle=None, command_id=PROBE)),
        _asked(order, "hold", lambda: wishes.place_hold(order, hold=probe, command_id=PROBE)),
        _asked(order, "release", lambda: wishes.release(order, handle=None, command_id=PROBE)),
        _asked(
            order,
            "updateAddress",
            lambda: updates(Changes(country=order.country)),
            cost=Cost(relabel=True) if order.is_requested else None,
        ),
        _asked(order, "updateContact", lambda: updates(Changes(contact=True)), is_own=True),
        _asked(
            order,
            "updateInstructions",
            lambda: updates(Changes(instructions=True)),
            is_own=True,
            until_step=Step.CONFIRM,
            cut_off=REQUESTED,
        ),
        *(
            _asked(order, name, partial(exceptions.probe, order, how), is_own=True, until_step=None)
            for name, how in _WAYS
        ),
    ]


def resolutions(order: Order, trouble: Open) -> list[Resolution]:
    """What a person may do about it now, the usual one first."""
    ways: dict[Resolution, Action] = {
        how: _asked(order, name, partial(exceptions.probe, order, how, trouble)) for name, how in _WAYS
    }
    ways["cancel"] = _asked(
        order, "cancel", lambda: wishes.request_cancel(order, command_id=PROBE, answer_by=None)
    )
    return [how for how, action in ways.items() if action.allowed]


_WAYS: tuple[tuple[Name, Literal["retry", "skip"]], ...] = (
    ("resolveException", "retry"),
    ("skipException", "skip"),
)


def allowed_actions(order: Order) -> list[str]:
    """The names of what would be granted and change something now."""
    return [action.name for action in actions(order) if action.allowed]


def _asked(
    order: Order,
    name: Name,
    decide: Callable[[], Sequence[OrderEvent]],
    *,
    is_own: bool = False,
    until_step: str | None = fulfillment.HAND_OVER,
    cut_off: str | None = HAND_OVER,
    cost: Cost | None = None,
) -> Action:
    """`is_own`: the order decides it also after the boundary."""
    cut_off = cut_off if until_step else None
    answered_by = "fulfillment" if order.is_requested and not is_own else "order"
    try:
        facts = decide()
    except Refused as refusal:
        return Action(
            name,
            allowed=False,
            answered_by="order",
            code=refusal.code,
            detail=refusal.detail,
            cut_off=refusal.cut_off,
        )
    if not facts:
        return Action(name, allowed=False, detail="it would change nothing")
    return Action(
        name, allowed=True, answered_by=answered_by, cut_off=cut_off, until_step=until_step, cost=cost
    )


def _cancelling(order: Order) -> Cost | None:
    """What was authorized is voided, what is held is available again."""
    is_reserved = order.payment is PaymentStatus.AUTHORIZED or order.is_authorizing
    is_held = order.stock in ("held", "confirmed")
    if not is_reserved and not is_held:
        return None
    return Cost(
        payment="void" if is_reserved else None,
        payment_minor=order.total_minor if is_reserved else 0,
        currency=order.currency if is_reserved else None,
        restock_items=sum(line.quantity for line in order.lines) if is_held else 0,
    )
