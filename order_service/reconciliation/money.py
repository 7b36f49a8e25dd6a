"""Money that is still reserved although its order ended without a parcel: the facts against the provider."""

from functools import partial

from contracts import order as contract
from contracts.chassis.event_store import Change
from contracts.chassis.housekeeping.endings import ending_rule
from contracts.chassis.housekeeping.provider import Provider
from contracts.chassis.reconciler import Finding, Kind, Repair, Rule
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


def money_rule(journal: OrderJournal, provider: Provider, settings: HousekeepingSettings) -> Rule:
    """Asks the provider once about each order that ended without being shipped."""
    return ending_rule("money", ENDS, partial(_audited, provider), journal, settings)


async def _audited(provider: Provider, change: Change[Order, OrderEvent]) -> list[Finding]:
    order, asked = change.state, _authorized_under(change)
    findings = [_unvoided(order, reference) for reference in order.authorizations]
    for void in _voided(change):
        if not await provider.knows(void.provider_key) and await provider.knows(
            asked.get(void.reference, "")
        ):
            findings.append(_left(provider, order, void))
    return findings


def _voided(change: Change[Order, OrderEvent]) -> list[VoidRequested]:
    """The voids that the stream says were done."""
    requested = {r.fact.n: r.fact for r in change.recorded if isinstance(r.fact, VoidRequested)}
    done = [r.fact.n for r in change.recorded if isinstance(r.fact, PaymentVoided)]
    return [requested[n] for n in done if n in requested]


def _authorized_under(change: Change[Order, OrderEvent]) -> dict[str, str]:
    """From the provider's name of each authorization to the key that it was asked for under."""
    keys = {
        r.fact.n: r.fact.provider_key
        for r in change.recorded
        if isinstance(r.fact, PaymentAuthorizationRequested)
    }
    return {
        r.fact.reference: keys[r.fact.n] for r in change.recorded if isinstance(r.fact, PaymentAuthorized)
    }


def _left(provider: Provider, order: Order, void: VoidRequested) -> Finding:
    """The same call under the same name: where it had its effect after all, it has no other one."""
    again = partial(provider.repeat, void.provider_key, f"/authorizations/{void.reference}/void")
    return _finding(
        order, void.reference, "the provider knows nothing of its void", Repair("VOIDED", outside=again)
    )


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
