"""What the workflow needs to know of its stream."""

from datetime import datetime
from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from contracts.chassis.event_store import Change
from contracts.fulfillment import Stage
from contracts.values import Code, Hold, Message, Outcome
from fulfillment_service.events import FulfillmentEvent
from fulfillment_service.fulfillment import Fulfillment, Step
from fulfillment_service.publishing import paused_from


class Snapshot(Message):
    """What the workflow needs to know of its stream. Small: every step writes one into the history."""

    version: int = 0
    """0 is a stream in which nothing was ever recorded."""
    is_put_back: bool = False
    """The store was put back to this, and a person said that it is right."""
    stage: Stage = Stage.WAITING
    status: str = Stage.WAITING.value
    paused_from: Stage | None = None
    step: Step = Step.WORK
    step_key: str | None = None
    is_open: bool = False
    """The step is in flight."""
    is_stopped: bool = False
    """Only a wish can make the next step begin."""
    waits_for_operator: bool = False
    is_parked: bool = False
    """What is to be done next waits for a person."""
    tries_again: bool = False
    """After a long pause it is tried all the same."""
    pace_seconds: float = 0
    refusals: int = 0
    outcome: Outcome | None = None
    code: Code | None = None
    address_version: int = 1
    holds: tuple[Hold, ...] = ()
    alarm: datetime | None = None
    """When time alone changes something."""
    asked: tuple[str, ...] = ()
    """Cancels that a person has to accept or reject."""
    waiting: tuple[str, ...] = ()
    """Commands that were taken and have not taken effect."""
    items_picked: int = 0
    items_total: int = 0
    steps_done: int = 0
    steps_total: int = 0
    percent: int = 0

    @model_serializer(mode="wrap")
    def _without_defaults(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A history keeps each one, and most of it is as it was at the start."""
        written = zip(write(self).items(), type(self).model_fields.items(), strict=True)
        return {name: value for (name, value), (own, field) in written if getattr(self, own) != field.default}


def snapshot(change: Change[Fulfillment, FulfillmentEvent]) -> Snapshot:
    state = change.state
    return Snapshot(
        version=change.version,
        is_put_back=change.is_put_back,
        stage=state.stage,
        status=state.status,
        paused_from=paused_from(state),
        step=state.step,
        step_key=state.step_key,
        is_open=state.is_moving,
        is_stopped=state.is_stopped,
        waits_for_operator=state.waits_for_operator,
        is_parked=(parked := state.parked) is not None,
        tries_again=parked is not None and (parked.passes or state.is_undone),
        pace_seconds=state.pace_seconds,
        refusals=state.refusals,
        outcome=state.outcome,
        code=code_of(state),
        address_version=state.address_version,
        holds=state.holds,
        alarm=state.alarm,
        asked=tuple(asked.command_id for asked in state.asked),
        waiting=tuple(wish.command_id for wish in state.waiting),
        items_picked=state.items_picked,
        items_total=state.items_total,
        steps_done=state.steps_done,
        steps_total=state.steps_total,
        percent=state.percent,
    )


def code_of(state: Fulfillment) -> Code | None:
    """Why it ended as it did, or what a person has to look at."""
    if state.failure:
        return state.failure
    if state.is_cancelled:
        return Code.CANCELLED_ON_REQUEST
    return state.trouble.code if state.trouble else None
