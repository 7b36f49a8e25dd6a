"""The action horizon: what one may do with a parcel now, until when, and what it would cost.

Each answer comes from the very decision that a wish would meet, asked with a probe."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Literal

from contracts.chassis.errors import Refused
from contracts.chassis.faults import Resolution
from contracts.chassis.troubles import Open
from contracts.fulfillment import HAND_OVER
from contracts.values import Code, Hold
from fulfillment_service.events import FulfillmentEvent
from fulfillment_service.fulfillment import wishes
from fulfillment_service.fulfillment.state import Asked, Fulfillment, Label
from fulfillment_service.fulfillment.wishes import CUT_OFF

Name = Literal[
    "pause",
    "hold",
    "resume",
    "release",
    "cancel",
    "acceptCancellation",
    "rejectCancellation",
    "updateAddress",
    "completeStep",
    "failStep",
    "resolveException",
    "skipException",
]
PROBE = "horizon:probe"
"""A handle and a command that nobody else uses."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What has to be undone or made anew."""

    void_minor: int = 0
    """What the label had cost that would be voided."""
    currency: str | None = None
    restock_items: int = 0
    relabel: bool = False
    payment: Literal["void"] | None = None
    """The order's authorization would be voided."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing somebody may wish, and what would come of it now."""

    name: Name
    allowed: bool
    """It would be granted and change something."""
    code: Code | None = None
    """Why it would be refused; None with an action that is not allowed: it would change nothing."""
    detail: str | None = None
    cut_off: str | None = None
    """The fact after which it is refused for good."""
    until_step: str | None = None
    """The step with whose begin it ends to be possible."""
    until: datetime | None = None
    """When somebody will be asked why it was not done."""
    subject: str | None = None
    """The step or the request it is about."""
    cost: Cost | None = None


def actions(f: Fulfillment, standing: Sequence[Hold] = ()) -> list[Action]:
    """Every action, the possible ones and the others; `standing` are the standing holds that match now."""
    step = f.step_key
    return [
        _asked("pause", lambda: wishes.place_hold(f, hold=Hold(handle=PROBE), command_id=PROBE)),
        _asked("hold", lambda: wishes.place_hold(f, hold=Hold(handle=PROBE), command_id=PROBE)),
        _asked("resume", lambda: wishes.resume(f, handle=None, command_id=PROBE)),
        _asked("release", lambda: wishes.release(f, handle=None, command_id=PROBE)),
        _asked("cancel", lambda: wishes.request_cancel(f, command_id=PROBE), cost=_cancelling(f)),
        *(each for request in f.asked for each in _request(f, request)),
        _asked("updateAddress", lambda: wishes.change_address(f, command_id=PROBE), cost=_relabelling(f)),
        _asked(
            "completeStep",
            lambda: wishes.complete_step(f, step_key=step or PROBE, standing=standing),
            subject=step,
            until_step=None,
        ),
        _asked(
            "failStep",
            lambda: wishes.fail_step(f, step_key=step or PROBE),
            subject=step,
            cost=_cancelling(f),
        ),
        _asked("resolveException", lambda: wishes.resolve_exception(f), until_step=None),
        _asked("skipException", lambda: wishes.resolve_exception(f, how="skip"), until_step=None),
    ]


def allowed_actions(f: Fulfillment) -> list[str]:
    """The names of what would be granted and change something now."""
    return list(dict.fromkeys(action.name for action in actions(f) if action.allowed))


def resolutions(f: Fulfillment, trouble: Open) -> list[Resolution]:
    """What a person may do about it now, the usual one first."""
    retry = partial(wishes.resolve_exception, f, code=trouble.code, step_key=trouble.step_key)
    ways: dict[Resolution, Action] = {
        "retry": _asked("resolveException", retry),
        "skip": _asked("skipException", partial(retry, how="skip")),
        "cancel": _asked("cancel", lambda: wishes.request_cancel(f, command_id=PROBE)),
    }
    if trouble.code in wishes.HELPED_BY_ADDRESS:
        ways["change-data"] = _asked("updateAddress", lambda: wishes.change_address(f, command_id=PROBE))
    return [name for name, action in ways.items() if action.allowed]


def _asked(
    name: Name,
    decide: Callable[[], Sequence[FulfillmentEvent]],
    *,
    subject: str | None = None,
    until_step: str | None = HAND_OVER,
    until: datetime | None = None,
    cost: Cost | None = None,
) -> Action:
    try:
        facts = decide()
    except Refused as refusal:
        return Action(
            name,
            allowed=False,
            code=refusal.code,
            detail=refusal.detail,
            cut_off=refusal.cut_off,
            subject=subject,
        )
    if not facts:
        return Action(name, allowed=False, detail="it would change nothing", subject=subject)
    cut_off = CUT_OFF if until_step == HAND_OVER else None
    return Action(
        name, allowed=True, cut_off=cut_off, until_step=until_step, until=until, subject=subject, cost=cost
    )


def _request(f: Fulfillment, request: Asked) -> list[Action]:
    """The two answers to one request for cancellation."""
    about = request.command_id
    return [
        _asked(
            "acceptCancellation",
            lambda: wishes.accept_cancellation(f, request=about),
            subject=about,
            until_step=None,
            until=request.answer_by,
            cost=_cancelling(f),
        ),
        _asked(
            "rejectCancellation",
            lambda: wishes.reject_cancellation(f, request=about),
            subject=about,
            until_step=None,
            until=request.answer_by,
        ),
    ]


def _cancelling(f: Fulfillment) -> Cost:
    """What was picked goes back, the label and the payment are voided."""
    label = _booked(f)
    return Cost(
        void_minor=label.cost_minor if label else 0,
        currency=label.currency if label else None,
        restock_items=f.items_picked,
        payment="void",
    )


def _relabelling(f: Fulfillment) -> Cost | None:
    """A label that was asked for already is voided and made anew."""
    if f.label is None:
        return None
    label = _booked(f)
    return Cost(
        void_minor=label.cost_minor if label else 0,
        currency=label.currency if label else None,
        relabel=True,
    )


def _booked(f: Fulfillment) -> Label | None:
    return f.label if f.label and f.label.tracking_reference else None
