"""Labels of the parcels that ended: what the carrier still has of them, the facts against the carrier."""

from functools import partial
from typing import LiteralString

from contracts import fulfillment as contract
from contracts.chassis.errors import Refused
from contracts.chassis.event_store import Change
from contracts.chassis.housekeeping.endings import ending_rule
from contracts.chassis.reconciler import Finding, Kind, Repair, Rule
from contracts.chassis.settings import HousekeepingSettings
from contracts.fulfillment import Stage
from fulfillment_service.carrier import IS_NO_MORE, Carrier
from fulfillment_service.events import FulfillmentEvent, LabelBooked, LabelRequested, LabelVoided
from fulfillment_service.fulfillment import Fulfillment
from fulfillment_service.intake import FulfillmentJournal

ENDS: LiteralString = "'FulfillmentCancelled', 'FulfillmentFailed', 'HandedOver'"
"""What ends a parcel; `events_ended` is the index of these."""


def label_rule(journal: FulfillmentJournal, carrier: Carrier, settings: HousekeepingSettings) -> Rule:
    """Asks the carrier once about each label that its parcel was not handed over with."""
    finds = (Kind.LABEL_LEFT,)
    return ending_rule("labels", ENDS, partial(_audited, carrier), journal, settings, finds=finds)


async def _audited(carrier: Carrier, change: Change[Fulfillment, FulfillmentEvent]) -> list[Finding]:
    state, facts = change.state, [each.fact for each in change.recorded]
    asked = {each.n: each.provider_key for each in facts if isinstance(each, LabelRequested)}
    settled = {each.n for each in facts if isinstance(each, LabelVoided) and each.outside}
    if state.stage is Stage.SHIPPED and state.label:
        settled.add(state.label.n)
    booked = [each for each in facts if isinstance(each, LabelBooked) and each.n not in settled]
    found = [await _left(carrier, state, label, asked[label.n]) for label in booked]
    return [finding for finding in found if finding]


async def _left(carrier: Carrier, state: Fulfillment, label: LabelBooked, asked: str) -> Finding | None:
    """Nothing is wrong with a label that is void, or that the carrier never knew."""
    void_key, reference = state.void_key(label.n), label.tracking_reference
    void = await carrier.said(void_key)
    if void and void.refusal in IS_NO_MORE:
        return None
    booked = await carrier.said(asked)
    if booked is None or booked.refusal:
        return None
    why = "refused its void" if void else "knows nothing of its void"
    return Finding(
        Kind.LABEL_LEFT,
        state.fulfillment_id,
        contract.stream(state.fulfillment_id),
        f"parcel {state.fulfillment_id} is {state.stage}, and of label {label.n} the carrier {why}",
        {"reference": reference, "label": label.n, "stage": state.stage},
        mark=reference,
        repair=None if void else Repair("VOIDED", outside=partial(_void, carrier, void_key, reference)),
    )


async def _void(carrier: Carrier, void_key: str, reference: str) -> None:
    """The same call under the same name: where it had its effect after all, it has no other one."""
    if refused := await carrier.void(void_key, reference, anew=True):
        raise Refused(f"the carrier would not void: {refused.reason}")
