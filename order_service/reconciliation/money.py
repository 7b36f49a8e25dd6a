"""Money that is still reserved although its order ended without a parcel: the facts against the provider."""

from contracts import order as contract
from contracts.chassis.event_store import Change
from contracts.chassis.housekeeping.endings import endings
from contracts.chassis.housekeeping.provider import Provider
from contracts.chassis.postgres import Database
from contracts.chassis.reconciler import Finding, Kind, Repair, Rule, Seen
from contracts.chassis.settings import HousekeepingSettings
from order_service.events import (
    OrderCancelled,
    OrderEvent,
    OrderFailed,
    PaymentAuthorizationRequested,
    PaymentAuthorized,
    PaymentVoided,
    VoidRequested,
)
from order_service.intake import OrderJournal
from order_service.order import Order

ENDS = (OrderCancelled.__name__, OrderFailed.__name__)


class MoneyRules:
    """Asks the provider once about each order that ended without being shipped."""

    def __init__(
        self, database: Database, journal: OrderJournal, provider: Provider, settings: HousekeepingSettings
    ) -> None:
        self._database = database
        self._journal = journal
        self._provider = provider
        self._settings = settings

    def all(self) -> list[Rule]:
        return [Rule("money", self.look)]

    async def look(self, cursor: str) -> Seen:
        """Raises Unavailable when the provider does not answer; the next look begins at the same place."""
        ended = await endings(self._database, cursor, ENDS, self._settings.quiet)
        findings = [finding for stream in ended.streams for finding in await self._audited(stream)]
        return Seen(findings, ended.cursor, ended.has_more)

    async def _audited(self, stream: str) -> list[Finding]:
        change = await self._journal.read(stream)
        if change is None:
            return []
        findings = [_unvoided(change.state, reference) for reference in change.state.authorizations]
        asked = authorized_under(change)
        for void in voided(change):
            if not await self._provider.knows(void.provider_key) and await self._provider.knows(
                asked.get(void.reference, "")
            ):
                findings.append(self._left(change.state, void))
        return findings

    def _left(self, order: Order, void: VoidRequested) -> Finding:
        """The same call under the same name: where it had its effect after all, it has no other one."""

        async def again() -> None:
            await self._provider.repeat(void.provider_key, f"/authorizations/{void.reference}/void")

        return _finding(
            order, void.reference, "the provider knows nothing of its void", Repair("VOIDED", outside=again)
        )


def voided(change: Change[Order, OrderEvent]) -> list[VoidRequested]:
    """The voids that the stream says were done."""
    requested = {r.fact.n: r.fact for r in change.recorded if isinstance(r.fact, VoidRequested)}
    done = [r.fact.n for r in change.recorded if isinstance(r.fact, PaymentVoided)]
    return [requested[n] for n in done if n in requested]


def authorized_under(change: Change[Order, OrderEvent]) -> dict[str, str]:
    """From the provider's name of each authorization to the key that it was asked for under."""
    keys = {
        r.fact.n: r.fact.provider_key
        for r in change.recorded
        if isinstance(r.fact, PaymentAuthorizationRequested)
    }
    return {
        r.fact.reference: keys[r.fact.n] for r in change.recorded if isinstance(r.fact, PaymentAuthorized)
    }


def _unvoided(order: Order, reference: str) -> Finding:
    return _finding(order, reference, "no fact says that it was voided", None)


def _finding(order: Order, reference: str, why: str, repair: Repair | None) -> Finding:
    return Finding(
        Kind.PAYMENT_LEFT,
        order.order_id,
        contract.stream(order.order_id),
        f"order {order.order_id} is {order.stage}, and its payment is still reserved: {why}",
        {"reference": reference, "stage": order.stage},
        mark=reference,
        repair=repair,
    )
