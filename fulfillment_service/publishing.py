"""Each fact of a fulfillment becomes exactly one public event, so the events' sequence has no gaps."""

from collections.abc import Iterator

from contracts import fulfillment as contract
from contracts.chassis.event_store import Change, Recorded
from contracts.chassis.outbox import OutboxRecord
from contracts.chassis.publishing import Publication
from contracts.fulfillment import FulfillmentEventData, Stage
from contracts.values import Code, Hold
from fulfillment_service.events import FulfillmentEvent, HoldPlaced, HoldReleased
from fulfillment_service.fulfillment import Fulfillment

PUBLICATION = Publication(contract.TOPIC, contract.SOURCE, contract.EVENT_TYPE_PREFIX)


def records(change: Change[Fulfillment, FulfillmentEvent]) -> Iterator[OutboxRecord]:
    """One record for each new fact, in order, with the fulfillment as it was right after that fact."""
    for before, recorded, state in change.steps:
        yield PUBLICATION.record(recorded, state.order_id, _data(recorded, before, state))


def _data(
    recorded: Recorded[FulfillmentEvent], before: Fulfillment | None, state: Fulfillment
) -> FulfillmentEventData:
    code = getattr(recorded.fact, "code", None)
    return FulfillmentEventData(
        order_id=state.order_id,
        fulfillment_id=state.fulfillment_id,
        workflow_id=contract.workflow_id(state.fulfillment_id),
        status=state.status,
        stage=state.stage,
        paused_from=paused_from(state),
        holds=state.holds,
        current_step=state.step_key,
        items_picked=state.items_picked,
        items_total=state.items_total,
        steps_done=state.steps_done,
        steps_total=state.steps_total,
        percent=state.percent,
        address_version=state.address_version,
        tracking_reference=state.label.tracking_reference if state.label else None,
        step_key=getattr(recorded.fact, "step_key", None),
        code=code if isinstance(code, Code) else None,
        command_id=recorded.command_id,
        actor=recorded.actor,
        hold=_hold(recorded.fact, before, state),
    )


def _hold(fact: FulfillmentEvent, before: Fulfillment | None, after: Fulfillment) -> Hold | None:
    """The hold that was placed or released."""
    match fact:
        case HoldPlaced():
            shown = after.holds
        case HoldReleased() if before:
            shown = before.holds
        case _:
            return None
    return next((hold for hold in shown if hold.handle == fact.handle), None)


def paused_from(state: Fulfillment) -> Stage | None:
    """The stage it goes on from when the last hold is gone; None while nothing is held."""
    return state.stage if state.status == "PAUSED" else None
