"""What a test token or a postal code makes a provider do, in one table that is read and listed alike."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import Literal

Operation = Literal["authorize", "capture", "void", "label", "void-label", "hand-over"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A no from the provider."""

    http_status: int
    code: str
    detail: str
    times: int | None = None
    """So often for one order or parcel; None is always."""
    after: int = 0
    """So many calls for the order or parcel are done first."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What goes wrong with one call; by default nothing."""

    failures: int = 0
    """So many calls for the order or parcel answer 500, and nothing is done."""
    delay_seconds: float = 0
    """Waits this long before anything is done."""
    refusal: Refusal | None = None
    """Said instead of doing what would otherwise have been done."""
    silent_seconds: float | None = None
    """It is done, then nothing is heard: 0 cuts the connection, more answers after this time."""
    authorized_for: timedelta = timedelta(days=7)


NONE = Trouble()


@dataclass(frozen=True, slots=True)
class Scenario:
    """One trigger, as it is written, and the trouble it makes in one operation."""

    trigger: str
    """A token or postal code; `<…>` stands for a number."""
    operation: Operation
    does: str
    trouble: Callable[[int], Trouble]
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        before, _, rest = self.trigger.partition("<")
        # A postal code has room for one digit; a token's number ends where the token ends.
        number = rf"(\d{{1,{5 if before.endswith('_') else 1}}})" if rest else ""
        object.__setattr__(self, "pattern", re.compile(re.escape(before) + number))


def _always(trouble: Trouble) -> Callable[[int], Trouble]:
    return lambda _: trouble


def _refused(code: str, detail: str, *, status: int = 409) -> Callable[[int], Trouble]:
    return _always(Trouble(refusal=Refusal(status, code, detail)))


def _fails(n: int) -> Trouble:
    return Trouble(failures=n)


def _after(milliseconds: int) -> Trouble:
    return Trouble(delay_seconds=milliseconds / 1000)


_CUT = _always(Trouble(silent_seconds=0))
_FAILS_FIRST = "the first n calls for the order or parcel answer 500, nothing is done"
_DONE_BUT_CUT = "is done, then the connection is cut; the same key gets the stored answer at once"

TOKENS = (
    Scenario(
        "tok_declined",
        "authorize",
        "402 card_declined",
        _refused("card_declined", "The bank declined the card.", status=402),
    ),
    Scenario(
        "tok_insufficient_funds",
        "authorize",
        "402 insufficient_funds",
        _refused("insufficient_funds", "The account does not cover the amount.", status=402),
    ),
    Scenario(
        "tok_declined_later_<n>",
        "authorize",
        "the first one is authorized, then 402 card_declined n times",
        lambda n: Trouble(
            refusal=Refusal(402, "card_declined", "The bank declined the card.", times=n, after=1)
        ),
    ),
    Scenario("tok_500_<n>", "authorize", _FAILS_FIRST, _fails),
    Scenario("tok_slow_<ms>", "authorize", "waits so many milliseconds, then does it and answers", _after),
    Scenario("tok_timeout_done", "authorize", _DONE_BUT_CUT, _CUT),
    Scenario(
        "tok_timeout_done_<ms>",
        "authorize",
        "is done at once, the answer comes after so many milliseconds; the same key gets it at once",
        lambda milliseconds: Trouble(silent_seconds=milliseconds / 1000),
    ),
    Scenario(
        "tok_expires_<seconds>",
        "authorize",
        "the authorization ends after so many seconds instead of 7 days; a later capture is 409 expired",
        lambda seconds: Trouble(authorized_for=timedelta(seconds=seconds)),
    ),
    Scenario(
        "tok_capture_refused",
        "capture",
        "409 capture_refused, always",
        _refused("capture_refused", "The bank refused the capture."),
    ),
    Scenario(
        "tok_capture_refused_<n>",
        "capture",
        "409 capture_refused for the first n keys of the order",
        lambda n: Trouble(refusal=Refusal(409, "capture_refused", "The bank refused the capture.", times=n)),
    ),
    Scenario("tok_capture_500_<n>", "capture", _FAILS_FIRST, _fails),
    Scenario("tok_capture_timeout_done", "capture", _DONE_BUT_CUT, _CUT),
    Scenario(
        "tok_void_refused",
        "void",
        "409 void_refused, always",
        _refused("void_refused", "The bank refused the void."),
    ),
    Scenario("tok_void_500_<n>", "void", _FAILS_FIRST, _fails),
    Scenario("tok_void_timeout_done", "void", _DONE_BUT_CUT, _CUT),
)

POSTAL_CODES = (
    Scenario(
        "00001",
        "label",
        "422 address_undeliverable",
        _refused("address_undeliverable", "The carrier does not deliver to this postal code.", status=422),
    ),
    Scenario("5000<n>", "label", _FAILS_FIRST, _fails),
    Scenario("40800", "label", "waits 2 seconds, then does it and answers", _always(_after(2000))),
    Scenario("50400", "label", _DONE_BUT_CUT, _CUT),
    Scenario("50401", "hand-over", _DONE_BUT_CUT, _CUT),
    Scenario("50402", "void-label", _DONE_BUT_CUT, _CUT),
    Scenario("5010<n>", "hand-over", _FAILS_FIRST, _fails),
    Scenario("5020<n>", "void-label", _FAILS_FIRST, _fails),
    Scenario(
        "40900",
        "hand-over",
        "409 hand_over_refused for the first key of the parcel",
        _always(
            Trouble(refusal=Refusal(409, "hand_over_refused", "The driver left without the parcel.", times=1))
        ),
    ),
)


@lru_cache(maxsize=1024)
def trouble_of(script: str, operation: Operation) -> Trouble:
    """The trouble that a token or postal code makes in this operation."""
    for scenario in TOKENS + POSTAL_CODES:
        if scenario.operation == operation and (found := scenario.pattern.fullmatch(script)):
            return scenario.trouble(int(found[1]) if found.groups() else 0)
    return NONE


def listing() -> dict[str, list[dict[str, str]]]:
    """Every trigger with what it does, for people."""
    fine = {
        "trigger": "tok_ok",
        "operation": "any",
        "does": "works, as any token that starts with tok_",
    }
    wrong = {"trigger": "anything else", "operation": "authorize", "does": "402 invalid_token"}
    usual = {"trigger": "any other", "operation": "any", "does": "works"}
    return {
        "tokens": [fine, *map(_listed, TOKENS), wrong],
        "postalCodes": [*map(_listed, POSTAL_CODES), usual],
    }


def _listed(scenario: Scenario) -> dict[str, str]:
    return {"trigger": scenario.trigger, "operation": scenario.operation, "does": scenario.does}
