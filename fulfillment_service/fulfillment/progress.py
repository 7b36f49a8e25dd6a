"""What is left to do of a parcel, and how long that should take."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from contracts.fulfillment import HAND_OVER
from fulfillment_service.fulfillment.state import Fulfillment

LABEL = "label"


@dataclass(frozen=True, slots=True)
class Outlook:
    """The step in flight or next, and when the parcel should leave."""

    step_budget_seconds: float | None
    estimated_at: datetime | None
    """None once it goes nowhere any more, and while something without an end stands against it."""


def steps_left(f: Fulfillment) -> dict[str, int]:
    """So many steps of each kind are still to be done, the one in flight included."""
    if f.is_ended or f.is_undone:
        return {}
    left: dict[str, int] = {}
    for step_key in (*f.warehouse_steps[f.worked :], *([] if f.is_labelled else [LABEL]), HAND_OVER):
        left[kind(step_key)] = left.get(kind(step_key), 0) + 1
    return left


def kind(step_key: str) -> str:
    """`pick` of `pick:2`."""
    return step_key.partition(":")[0]


def outlook(
    f: Fulfillment, by_hand: Mapping[str, float], *, now: datetime, step_started_at: datetime | None
) -> Outlook:
    """Now and what is left of each step's budget; what holds it back until then comes on top.

    `by_hand` are the seconds a person needs for each kind of step; a machine takes its pace."""
    if f.step_key is None:
        return Outlook(None, None)
    by_machine = dict.fromkeys(by_hand, f.pace_seconds) | {LABEL: 0.0}
    budgets = by_hand if f.mode == "manual" else by_machine
    budget = budgets[kind(f.step_key)]
    begins_at = _begins_at(f, now)
    if begins_at is None:
        return Outlook(budget, None)
    left = sum(budgets[each] * count for each, count in steps_left(f).items())
    spent = (now - step_started_at).total_seconds() if step_started_at else 0.0
    return Outlook(budget, begins_at + timedelta(seconds=left - min(max(spent, 0), budget)))


def _begins_at(f: Fulfillment, now: datetime) -> datetime | None:
    """When the parcel may go on; None when nobody can know."""
    if f.trouble is not None or f.is_asked or any(hold.until is None for hold in f.holds):
        return None
    return max([now, *(hold.until for hold in f.holds if hold.until)])
