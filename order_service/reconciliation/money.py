"""Money of the orders that ended: what was taken and what is reserved, by the facts and by the provider."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import LiteralString, Self

from contracts import order as contract
from contracts.chassis.errors import Misunderstood, Refused
from contracts.chassis.event_store import Change
from contracts.chassis.external_calls import Known
from contracts.chassis.housekeeping.endings import ending_rule
from contracts.chassis.reconciler import Finding, Kind, Repair, Rule
from contracts.chassis.settings import HousekeepingSettings
from order_service.events import (
    CaptureRequested,
    OrderEvent,
    PaymentAuthorizationRequested,
    PaymentAuthorized,
    PaymentCaptured,
    PaymentVoided,
    VoidRequested,
)
from order_service.intake import OrderJournal
from order_service.order import Order
from order_service.payments import Payments

ENDS: LiteralString = "'OrderCancelled', 'OrderFailed', 'PaymentCaptured'"
"""What ends an order, money included; `events_ended` is the index of these."""


@dataclass(frozen=True, slots=True)
class Books:
    """An order's dealings with the provider, as its facts tell them."""

    order: Order
    asked: dict[str, str]
    """From the provider's name of each authorization to the key that it was asked for under."""
    captures: dict[int, CaptureRequested]
    paid: PaymentCaptured | None
    voids: tuple[VoidRequested, ...]
    """Those that were done by the provider's own word."""

    @classmethod
    def of(cls, change: Change[Order, OrderEvent]) -> Self:
        facts = [each.fact for each in change.recorded]
        keys = {
            each.n: each.provider_key for each in facts if isinstance(each, PaymentAuthorizationRequested)
        }
        voids = {each.n: each for each in facts if isinstance(each, VoidRequested)}
        voided = [each.n for each in facts if isinstance(each, PaymentVoided) and not each.outside]
        return cls(
            change.state,
            {each.reference: keys[each.n] for each in facts if isinstance(each, PaymentAuthorized)},
            {each.n: each for each in facts if isinstance(each, CaptureRequested)},
            next((each for each in facts if isinstance(each, PaymentCaptured)), None),
            tuple(voids[n] for n in voided if n in voids),
        )

    @property
    def capture(self) -> CaptureRequested | None:
        """The one that paid for it."""
        return self.captures.get(self.paid.n) if self.paid else None

    @property
    def capture_keys(self) -> list[str]:
        """Those that were asked for; where none was, the one that a store which was put back forgot."""
        return [each.provider_key for each in self.captures.values()] or [f"{self.order.stream}:capture:1"]

    @property
    def unvoided(self) -> list[str]:
        """What no fact says is gone, beside what paid for the order."""
        kept = self.capture.reference if self.capture else self.order.reference if self.paid else None
        return [each for each in self.order.authorizations if each != kept]


def money_rule(journal: OrderJournal, payments: Payments, settings: HousekeepingSettings) -> Rule:
    """Asks the provider once about each order that ended and that it had ever reserved money for."""
    finds = (Kind.PAYMENT_LEFT, Kind.CAPTURE_MISSING, Kind.CAPTURE_WRONG)
    return ending_rule("money", ENDS, partial(_audited, payments), journal, settings, finds=finds)


async def _audited(payments: Payments, change: Change[Order, OrderEvent]) -> list[Finding]:
    books = Books.of(change)
    if not books.asked:
        return []
    found = [
        await _taken(payments, books),
        *(_left(books.order, reference, "no fact says that it was voided") for reference in books.unvoided),
        *[await _voided(payments, books, void) for void in books.voids],
    ]
    return [finding for finding in found if finding]


async def _taken(payments: Payments, books: Books) -> Finding | None:
    """Nothing is wrong where the provider took the total, or nothing of an order that ended unpaid."""
    order, paid = books.order, books.paid
    amounts = [_amount(known) for key in books.capture_keys if _is_done(known := await payments.said(key))]
    # What a person settled elsewhere the provider may have taken as well: that is the same money.
    if not amounts and paid and not paid.outside:
        return await _missing(payments, books)
    taken, owed = sum(amounts), order.total_minor if paid else 0
    if not amounts or (paid and taken == owed):
        return None
    found = {"takenMinor": taken, "totalMinor": owed}
    return _finding(Kind.CAPTURE_WRONG, order, f"the provider took {taken} and not {owed}", found)


async def _missing(payments: Payments, books: Books) -> Finding:
    """Made again where the authorization is known and the capture is not."""
    order, capture, why = books.order, books.capture, "the provider has not captured its payment"
    if capture is None:
        return _finding(Kind.CAPTURE_MISSING, order, why, {})
    is_unheard = await payments.said(capture.provider_key) is None
    is_safe = is_unheard and _is_done(await payments.said(books.asked[capture.reference]))
    again = Repair("CAPTURED", outside=partial(_capture, payments, capture, order.total_minor))
    found = {"reference": capture.reference}
    return _finding(Kind.CAPTURE_MISSING, order, why, found, again if is_safe else None)


async def _voided(payments: Payments, books: Books, void: VoidRequested) -> Finding | None:
    """Nothing is wrong where the void is known, or where the authorization is not: it reserves nothing."""
    known = await payments.said(void.provider_key)
    if _is_done(known) or not _is_done(await payments.said(books.asked[void.reference])):
        return None
    if known:
        return _left(books.order, void.reference, "the provider refused its void")
    again = Repair("VOIDED", outside=partial(_void, payments, void))
    return _left(books.order, void.reference, "the provider knows nothing of its void", again)


async def _capture(payments: Payments, capture: CaptureRequested, amount_minor: int) -> None:
    """The same call under the same name: where it had its effect after all, it has no other one."""
    refused = await payments.capture(
        capture.provider_key, capture.reference, amount_minor=amount_minor, anew=True
    )
    if refused:
        raise Refused(f"the provider would not capture: {refused.reason}")


async def _void(payments: Payments, void: VoidRequested) -> None:
    """The same."""
    if refused := await payments.void(void.provider_key, void.reference, anew=True):
        raise Refused(f"the provider would not void: {refused.reason}")


def _is_done(known: Known | None) -> bool:
    return known is not None and known.refusal is None


def _amount(known: Known | None) -> int:
    if known is None or known.amount_minor is None:
        raise Misunderstood("payments: a lookup that does not say how much was captured")
    return known.amount_minor


def _left(order: Order, reference: str, why: str, repair: Repair | None = None) -> Finding:
    why = f"an authorization of it is still reserved: {why}"
    return _finding(Kind.PAYMENT_LEFT, order, why, {"reference": reference}, repair)


def _finding(
    kind: Kind, order: Order, why: str, found: Mapping[str, str | int], repair: Repair | None = None
) -> Finding:
    return Finding(
        kind,
        order.order_id,
        contract.stream(order.order_id),
        f"order {order.order_id} is {order.stage}, and {why}",
        {**found, "stage": order.stage},
        mark="/".join(map(str, found.values())),
        repair=repair,
    )
