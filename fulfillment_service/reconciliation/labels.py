"""Labels that still stand although their parcel was taken apart: the facts against the carrier."""

from functools import partial

from contracts import fulfillment as contract
from contracts.chassis.event_store import Change
from contracts.chassis.housekeeping.endings import ending_rule
from contracts.chassis.housekeeping.provider import Provider
from contracts.chassis.reconciler import Finding, Kind, Repair, Rule
from contracts.chassis.settings import HousekeepingSettings
from fulfillment_service.events import (
    FulfillmentCancelled,
    FulfillmentEvent,
    FulfillmentFailed,
    LabelBooked,
    LabelRequested,
)
from fulfillment_service.fulfillment import Fulfillment
from fulfillment_service.intake import FulfillmentJournal

ENDS = (FulfillmentCancelled.__name__, FulfillmentFailed.__name__)


def label_rule(journal: FulfillmentJournal, provider: Provider, settings: HousekeepingSettings) -> Rule:
    """Asks the carrier once about each parcel that ended without being handed over."""
    return ending_rule("labels", ENDS, partial(_audited, provider), journal, settings)


async def _audited(provider: Provider, change: Change[Fulfillment, FulfillmentEvent]) -> list[Finding]:
    asked = _requested_under(change)
    booked = [each.fact for each in change.recorded if isinstance(each.fact, LabelBooked)]
    return [
        _left(provider, change.state, label)
        for label in booked
        if not await provider.knows(change.state.void_key(label.n)) and await provider.knows(asked[label.n])
    ]


def _left(provider: Provider, state: Fulfillment, label: LabelBooked) -> Finding:
    """The same call under the same name: where it had its effect after all, it has no other one."""
    reference = label.tracking_reference
    void = partial(provider.repeat, state.void_key(label.n), f"/labels/{reference}/void")
    return Finding(
        Kind.LABEL_LEFT,
        state.fulfillment_id,
        contract.stream(state.fulfillment_id),
        f"parcel {state.fulfillment_id} is {state.stage}, and the carrier knows nothing of its void",
        {"reference": reference, "label": label.n, "stage": state.stage},
        mark=reference,
        repair=Repair("VOIDED", outside=void),
    )


def _requested_under(change: Change[Fulfillment, FulfillmentEvent]) -> dict[int, str]:
    """From the number of each label to the key that it was asked for under."""
    return {
        each.fact.n: each.fact.provider_key
        for each in change.recorded
        if isinstance(each.fact, LabelRequested)
    }
