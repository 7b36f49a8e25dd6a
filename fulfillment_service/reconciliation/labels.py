"""Labels that still stand although their parcel was taken apart: the facts against the carrier."""

from contracts import fulfillment as contract
from contracts.chassis.event_store import Change
from contracts.chassis.housekeeping.endings import endings
from contracts.chassis.housekeeping.provider import Provider
from contracts.chassis.postgres import Database
from contracts.chassis.reconciler import Finding, Kind, Repair, Rule, Seen
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


class LabelRules:
    """Asks the carrier once about each parcel that ended without being handed over."""

    def __init__(
        self,
        database: Database,
        journal: FulfillmentJournal,
        provider: Provider,
        settings: HousekeepingSettings,
    ) -> None:
        self._database = database
        self._journal = journal
        self._provider = provider
        self._settings = settings

    def all(self) -> list[Rule]:
        return [Rule("labels", self.look)]

    async def look(self, cursor: str) -> Seen:
        """Raises Unavailable when the carrier does not answer; the next look begins at the same place."""
        ended = await endings(self._database, cursor, ENDS, self._settings.quiet)
        findings = [finding for stream in ended.streams for finding in await self._audited(stream)]
        return Seen(findings, ended.cursor, ended.has_more)

    async def _audited(self, stream: str) -> list[Finding]:
        change = await self._journal.read(stream)
        if change is None:
            return []
        asked = _requested_under(change)
        booked = [each.fact for each in change.recorded if isinstance(each.fact, LabelBooked)]
        return [
            self._left(change.state, label)
            for label in booked
            if not await self._provider.knows(change.state.void_key(label.n))
            and await self._provider.knows(asked[label.n])
        ]

    def _left(self, state: Fulfillment, label: LabelBooked) -> Finding:
        """The same call under the same name: where it had its effect after all, it has no other one."""
        reference = label.tracking_reference

        async def again() -> None:
            await self._provider.repeat(state.void_key(label.n), f"/labels/{reference}/void")

        return Finding(
            Kind.LABEL_LEFT,
            state.fulfillment_id,
            contract.stream(state.fulfillment_id),
            f"parcel {state.fulfillment_id} is {state.stage}, and the carrier knows nothing of its void",
            {"reference": reference, "label": label.n, "stage": state.stage},
            mark=reference,
            repair=Repair("VOIDED", outside=again),
        )


def _requested_under(change: Change[Fulfillment, FulfillmentEvent]) -> dict[int, str]:
    """From the number of each label to the key that it was asked for under."""
    return {
        each.fact.n: each.fact.provider_key
        for each in change.recorded
        if isinstance(each.fact, LabelRequested)
    }
