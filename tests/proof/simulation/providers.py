"""The payment provider and the carrier behind the HTTP client of our own adapters: append-only ledgers,
idempotent by key, and badly behaved where a script says so."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import httpx

from contracts.values import Address
from tests.proof.simulation.scheduler import Scheduler

Behaviour = Literal["ok", "lost", "away", "down", "no", "nonsense"]
"""lost: done, but nobody is told. away: not done, and nobody is told. down: it says so. no: refused.
nonsense: it does not take the request as it is."""

LABEL_COST_MINOR = 740
_OPERATIONS = {"authorizations": "authorize", "labels": "book", "hand-overs": "hand-over"}
_REFUSALS = {
    "authorize": (402, "card_declined"),
    "capture": (409, "capture_refused"),
    "void": (409, "void_refused"),
    "book": (422, "address_not_served"),
    "hand-over": (409, "carrier_full"),
}


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


@dataclass(frozen=True, slots=True)
class Reply:
    """The twin of httpx.Response."""

    status_code: int
    content: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def json(self) -> Mapping[str, Any]:
        return self.content


@dataclass
class Provider:
    """What happened at a provider, in its order, and how it will behave; the twin of httpx.AsyncClient."""

    scheduler: Scheduler
    behaviours: dict[str, list[Behaviour]] = field(default_factory=dict[str, list[Behaviour]])
    """For each operation, how the next calls go; then all goes well."""
    broken: dict[str, Behaviour] = field(default_factory=dict[str, Behaviour])
    """Operations that go like this every time, until somebody repairs them."""
    knows_keys: bool = True
    """False does again what is asked again under the same key: only its list of operations remembers."""
    ledger: list[Entry] = field(default_factory=list[Entry])
    _answers: dict[str, Reply] = field(default_factory=dict[str, Reply])

    async def request(
        self, method: str, path: str, *, json: Mapping[str, Any] | None, headers: Mapping[str, str]
    ) -> Reply:
        """The answer to this key, the same for ever; the effect has happened at most once."""
        await self.scheduler.stage("asks")
        if method == "GET":
            return self._found(path.removeprefix("/operations/"))
        kind, _, about = path.removeprefix("/").partition("/")
        reference, _, further = about.partition("/")
        operation = further or _OPERATIONS[kind]
        behaviour = self._behaviour(operation)
        if behaviour == "away":
            raise httpx.ConnectError("away")
        if behaviour in ("down", "nonsense"):
            return Reply(503 if behaviour == "down" else 400, {})
        key = headers["Idempotency-Key"]
        if key not in self._answers or not self.knows_keys:
            self._answers[key] = (
                _no(operation) if behaviour == "no" else self._did(operation, key, reference, json or {})
            )
        if behaviour == "lost":
            raise httpx.ReadTimeout("lost")
        await self.scheduler.stage("answered")
        return self._answers[key]

    def _behaviour(self, operation: str) -> Behaviour:
        if operation in self.broken:
            return self.broken[operation]
        planned = self.behaviours.get(operation)
        return planned.pop(0) if planned else "ok"

    def settle(self, operation: str, reference: str, amount_minor: int = 0) -> None:
        """Somebody has done it by hand, at the provider's own desk, unless it was done before."""
        if self._after(reference) is None:
            self._note(operation, f"by-hand:{operation}:{reference}", reference, amount_minor)

    def _found(self, key: str) -> Reply:
        if self._behaviour("lookup") in ("away", "lost", "down"):
            raise httpx.ReadTimeout("lost")
        known = self._answers.get(key)
        if known is None:
            return Reply(404, {"code": "not_found"})
        return Reply(200, {"httpStatus": known.status_code, "answer": known.content})

    def _did(self, operation: str, key: str, reference: str, body: Mapping[str, Any]) -> Reply:
        raise NotImplementedError

    def _after(self, reference: str) -> str | None:
        """What became of an authorization or a label; None while it stands."""
        operations = [each.operation for each in self.ledger if each.reference == reference]
        return operations[-1] if len(operations) > 1 else None

    def _note(self, operation: str, key: str, reference: str, amount_minor: int = 0) -> None:
        about = next(each.about for each in self.ledger if each.reference == reference)
        self.ledger.append(Entry(operation, key, about, reference, self.scheduler.now, amount_minor))


@dataclass
class Payments(Provider):
    """The twin of the payment provider."""

    lifetime: timedelta = timedelta(days=7)

    def _did(self, operation: str, key: str, reference: str, body: Mapping[str, Any]) -> Reply:
        if operation == "authorize":
            return self._authorized(key, body)
        done = self._after(reference)
        if operation == "capture" and done is None:
            self._note("capture", key, reference, body["amountMinor"])
        elif operation == "void" and done is None:
            self._note("void", key, reference)
        elif operation == "capture":
            return Reply(409, {"code": "already_captured" if done == "capture" else "authorization_voided"})
        elif done == "capture":
            return Reply(409, {"code": "already_captured"})
        return Reply(200, {"reference": reference})

    def _authorized(self, key: str, body: Mapping[str, Any]) -> Reply:
        reference, until = f"auth-{len(self.ledger) + 1}", self.scheduler.now + self.lifetime
        made = Entry("authorize", key, body["orderRef"], reference, self.scheduler.now, body["amountMinor"])
        self.ledger.append(made)
        return Reply(201, {"reference": reference, "expiresAt": until.isoformat()})


@dataclass
class Carrier(Provider):
    """The twin of the carrier."""

    def _did(self, operation: str, key: str, reference: str, body: Mapping[str, Any]) -> Reply:
        match operation:
            case "book":
                return self._booked(key, body)
            case "hand-over":
                return self._taken(key, body["trackingReference"])
            case _:
                return self._voided(key, reference)

    def _booked(self, key: str, body: Mapping[str, Any]) -> Reply:
        reference, address = f"track-{len(self.ledger) + 1}", Address.model_validate(body["address"])
        made = Entry("book", key, body["parcelRef"], reference, self.scheduler.now, LABEL_COST_MINOR, address)
        self.ledger.append(made)
        return Reply(201, {"trackingReference": reference, "costMinor": LABEL_COST_MINOR, "currency": "USD"})

    def _taken(self, key: str, reference: str) -> Reply:
        if done := self._after(reference):
            return Reply(409, {"code": "label_voided" if done == "void" else "already_handed_over"})
        self._note("hand-over", key, reference)
        return Reply(200, {"reference": f"scan-{len(self.ledger)}"})

    def _voided(self, key: str, reference: str) -> Reply:
        done = self._after(reference)
        if done == "hand-over":
            return Reply(409, {"code": "already_handed_over"})
        if done is None:
            self._note("void", key, reference)
        return Reply(200, {})


def _no(operation: str) -> Reply:
    status, code = _REFUSALS[operation]
    return Reply(status, {"code": code})
