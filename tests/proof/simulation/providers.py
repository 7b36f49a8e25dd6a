"""The payment provider and the carrier in memory: append-only ledgers, idempotent by key, and badly behaved
where a script says so."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from contracts.chassis.errors import Unavailable
from contracts.values import Address
from fulfillment_service.carrier import Booked, NotTaken, Taken
from order_service.payments import Authorized, Declined
from tests.proof.simulation.scheduler import Scheduler

Behaviour = Literal["ok", "lost", "away", "no"]
"""lost: done, but nobody is told. away: not done, and nobody is told. no: refused."""

LABEL_COST_MINOR = 740


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a ledger."""

    operation: str
    key: str
    about: str
    """The order, or the fulfillment."""
    reference: str
    at: datetime
    amount_minor: int = 0
    address: Address | None = None


@dataclass
class Provider:
    """What happened at a provider, in its order, and how it will behave."""

    scheduler: Scheduler
    behaviours: dict[str, list[Behaviour]] = field(default_factory=dict[str, list[Behaviour]])
    """For each operation, how the next calls go; then all goes well."""
    ledger: list[Entry] = field(default_factory=list[Entry])
    _answers: dict[str, Any] = field(default_factory=dict[str, Any])

    async def _once(self, operation: str, key: str, effect: Callable[[], Any], no: Any) -> Any:
        """The answer to this key, the same for ever; the effect has happened at most once."""
        await self.scheduler.stage("asks")
        planned = self.behaviours.get(operation)
        behaviour = planned.pop(0) if planned else "ok"
        if behaviour == "away":
            raise Unavailable(f"the provider cannot {operation} now")
        if key not in self._answers:
            self._answers[key] = no if behaviour == "no" else effect()
        answer = self._answers[key]
        if behaviour == "lost":
            raise Unavailable(f"the answer to {operation} was lost")
        await self.scheduler.stage("answered")
        return answer

    def _after(self, reference: str) -> str | None:
        """What became of an authorization or a label; None while it stands."""
        operations = [each.operation for each in self.ledger if each.reference == reference]
        return operations[-1] if len(operations) > 1 else None


@dataclass
class Payments(Provider):
    """The twin of order_service.payments.Payments."""

    lifetime: timedelta = timedelta(days=7)

    async def authorize(
        self, provider_key: str, *, amount_minor: int, currency: str, token: str, order_id: str
    ) -> Authorized | Declined:
        def effect() -> Authorized:
            reference = f"auth-{len(self.ledger) + 1}"
            self._note("authorize", provider_key, order_id, reference, amount_minor)
            return Authorized(reference, self.scheduler.now + self.lifetime)

        return await self._once("authorize", provider_key, effect, Declined("card_declined"))

    async def capture(self, provider_key: str, reference: str, *, amount_minor: int) -> Declined | None:
        def effect() -> Declined | None:
            if done := self._after(reference):
                return None if done == "capture" else Declined("authorization_voided")
            self._note("capture", provider_key, self._order_of(reference), reference, amount_minor)
            return None

        return await self._once("capture", provider_key, effect, Declined("capture_refused"))

    async def void(self, provider_key: str, reference: str) -> Declined | None:
        def effect() -> Declined | None:
            if done := self._after(reference):
                return None if done == "void" else Declined("already_captured")
            self._note("void", provider_key, self._order_of(reference), reference)
            return None

        return await self._once("void", provider_key, effect, Declined("void_refused"))

    def _order_of(self, reference: str) -> str:
        return next(each.about for each in self.ledger if each.reference == reference)

    def _note(self, operation: str, key: str, about: str, reference: str, amount_minor: int = 0) -> None:
        self.ledger.append(Entry(operation, key, about, reference, self.scheduler.now, amount_minor))


@dataclass
class Carrier(Provider):
    """The twin of fulfillment_service.carrier.Carrier."""

    async def book(
        self, provider_key: str, *, fulfillment_id: str, address: Address, service_level: str
    ) -> Booked | NotTaken:
        def effect() -> Booked:
            reference = f"track-{len(self.ledger) + 1}"
            self.ledger.append(
                Entry(
                    "book",
                    provider_key,
                    fulfillment_id,
                    reference,
                    self.scheduler.now,
                    LABEL_COST_MINOR,
                    address,
                )
            )
            return Booked(reference, LABEL_COST_MINOR, "USD")

        return await self._once("book", provider_key, effect, NotTaken("address_not_served"))

    async def hand_over(self, provider_key: str, tracking_reference: str) -> Taken | NotTaken:
        def effect() -> Taken | NotTaken:
            if done := self._after(tracking_reference):
                return NotTaken("label_voided" if done == "void" else "already_handed_over")
            self._note("hand-over", provider_key, tracking_reference)
            return Taken(f"scan-{len(self.ledger)}")

        return await self._once("hand-over", provider_key, effect, NotTaken("carrier_full"))

    async def void(self, provider_key: str, tracking_reference: str) -> None:
        def effect() -> None:
            match self._after(tracking_reference):
                case None:
                    self._note("void", provider_key, tracking_reference)
                case "hand-over":
                    raise Unavailable("the carrier would not void a label")
                case _:
                    pass

        await self._once("void", provider_key, effect, None)

    def _note(self, operation: str, key: str, reference: str) -> None:
        about = next(each.about for each in self.ledger if each.reference == reference)
        self.ledger.append(Entry(operation, key, about, reference, self.scheduler.now))
