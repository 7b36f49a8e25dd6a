"""One paragraph out of many reasons, and the same as data. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from contracts.values import Message

Kind = Literal[
    "HOLD",
    "STANDING_HOLD",
    "OPERATOR",
    "CANCEL_ANSWER",
    "ATTENTION",
    "FULFILLMENT",
    "PAYMENT",
    "PROVIDER",
    "RETRY",
    "WORKER",
    "WORKFLOW",
    "TEMPORAL",
    "RELAY",
    "OUTBOX",
    "EVENT_PARKED",
]
"""What may be waited for; new kinds are only ever added."""


class Call(Message):
    """A request that somebody may send."""

    service: Literal["order", "fulfillment"]
    method: str
    path: str
    body: dict[str, Any] | None = None


class Unblock(Message):
    """Somebody who can change it, and how."""

    who: str
    how: str
    call: Call | None = None
    """None where it is not done by a request."""


class Next(Message):
    """What happens by itself."""

    what: str
    at: datetime | None = None
    """None when it depends on what is waited for."""


class WaitsFor(Message):
    kind: Kind
    what: str
    since: datetime | None = None
    until: datetime | None = None
    code: str | None = None
    stops: bool = True
    """False for what does not stop it, but keeps others from seeing where it is."""


class Explanation(Message):
    """Why something does not move, or that it does."""

    summary: str
    """One paragraph for a person."""
    waits_for: tuple[WaitsFor, ...] = ()
    since: datetime | None = None
    next: Next | None = None
    unblock: tuple[Unblock, ...] = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that is waited for; `what` reads after "it waits for"."""

    kind: Kind
    what: str
    since: datetime | None = None
    until: datetime | None = None
    code: str | None = None
    stops: bool = True
    next: Next | None = None
    unblock: tuple[Unblock, ...] = ()


def explained(
    begin: str, reasons: Sequence[Reason], *, since: datetime, then: Next | None, now: datetime
) -> Explanation:
    """All reasons in one explanation. `begin` says where it stands, `then` what follows when none is left."""
    stopping = [reason for reason in reasons if reason.stops]
    aside = [reason for reason in reasons if not reason.stops]
    began = min((reason.since for reason in stopping if reason.since), default=since)
    dated = sorted((each.next for each in reasons if each.next and each.next.at), key=_when)
    following = dated[0] if dated else next((each.next for each in stopping if each.next), then)
    unblock = _once(each for reason in reasons for each in reason.unblock)
    sentences = [
        f"{begin}, since {clock(began)} ({lasted(now - began)}).",
        *([f"It waits for {_listed([reason.what for reason in stopping])}."] if stopping else []),
        *(f"Besides, {reason.what}." for reason in aside),
        *([_said(following)] if following else []),
        *(_offered(each) for each in unblock),
    ]
    return Explanation(
        summary=" ".join(sentences),
        waits_for=tuple(_shown(reason) for reason in reasons),
        since=began,
        next=following,
        unblock=tuple(unblock),
    )


def clock(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def lasted(passed: timedelta) -> str:
    """So long in the largest unit that says enough: `90 seconds`, `5 hours`."""
    seconds = max(0, int(passed.total_seconds()))
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}s"
    return "1 second" if seconds == 1 else f"{seconds} seconds"


def _once(offers: Iterable[Unblock]) -> list[Unblock]:
    kept: list[Unblock] = []
    for offer in offers:
        if offer not in kept:
            kept.append(offer)
    return kept


def _when(following: Next) -> datetime:
    return following.at or datetime.max.replace(tzinfo=UTC)


def _listed(parts: Sequence[str]) -> str:
    return "; and for ".join(parts)


def _said(following: Next) -> str:
    at = f" at {clock(following.at)}" if following.at else ""
    return f"Next: {following.what}{at}."


def _offered(unblock: Unblock) -> str:
    call = f": {unblock.call.method} {unblock.call.path}" if unblock.call else ""
    return f"{unblock.who[0].upper()}{unblock.who[1:]} can {unblock.how}{call}."


def _shown(reason: Reason) -> WaitsFor:
    return WaitsFor(
        kind=reason.kind,
        what=reason.what,
        since=reason.since,
        until=reason.until,
        code=reason.code,
        stops=reason.stops,
    )
