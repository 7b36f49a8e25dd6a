"""A call to a provider, and what the provider makes of it."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from deploy.sandbox.misbehaviour import Operation

Effect = Literal["applied", "replayed", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Call:
    """What somebody asks of the provider."""

    operation: Operation
    key: str | None
    """The Idempotency-Key; without one each call stands for itself."""
    fingerprint: bytes
    """Of path and body: the same key with another one is refused."""
    about: str | None = None
    """The authorization or label it names."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a ledger row says beside the call."""

    effect: Effect
    reference: str | None = None
    """The authorization or label it is about."""
    subject: str | None = None
    """The order or the parcel."""
    amount_minor: int | None = None
    currency: str | None = None
    zip_code: str | None = None
    code: str | None = None
    script: str | None = None
    """The token or postal code that decides how later calls go; never shown."""
    expires_at: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A row and the answer that belongs to it."""

    entry: Entry
    http_status: int
    status: str
    body: dict[str, Any]
    reference: str | None = None
    """The reference in the answer, where it is not the row's."""


@dataclass(frozen=True, slots=True)
class Answer:
    http_status: int
    body: dict[str, Any]
    replayed: bool = False
    applied: bool = False
    """True for the one answer that belongs to the effect itself."""


def timestamp(moment: datetime) -> str:
    """UTC with milliseconds; as text it sorts as time does."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def problem(http_status: int, code: str, detail: str, entry: Entry, *, effect: Effect) -> Verdict:
    """Nothing was done; the row says about what, the answer is a problem document."""
    body = {"type": "about:blank", "status": http_status, "code": code, "detail": detail}
    undone = replace(entry, effect=effect, code=code, script=None, expires_at=None)
    return Verdict(undone, http_status, effect, body)


def refuse(http_status: int, code: str, detail: str, about: Entry | None = None) -> Verdict:
    """The provider's no, about the order or parcel where it is known."""
    return problem(http_status, code, detail, about or Entry("refused"), effect="refused")
