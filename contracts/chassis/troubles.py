"""What waits for a person, as a stream's facts tell it: the two facts, and what is open. Pure.

A step whose tries are spent is parked (`STEP_PARKED`): its workflow waits, and what is wished is still done.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from contracts.chassis.event_store import Fact
from contracts.chassis.faults import Failure, Fault
from contracts.values import Code

UndoState = Literal["planned", "done", "unknown", "waits"]
"""`unknown`: whether there is anything to undo is being asked · `waits`: for a person, and tried again."""
TRIED_AGAIN: frozenset[Fault] = frozenset(("transient", "dependency-down"))
"""What may pass by itself, so that a parked step is tried again after a long pause."""


class ExceptionRaised(Fact):
    """A person has to look at it."""

    step_key: str
    code: Code
    fault: Fault = "refusal"
    attempts: int = 1
    """How often it was tried before a person was asked."""
    error: str | None = None
    """The last error's kind; its text may name a person, and is kept nowhere."""


class ExceptionResolved(Fact):
    """Nobody has to look at it any more."""

    step_key: str
    code: Code
    resolution: str = "passed"
    """What was done about it; `passed` when it was over by itself."""


@dataclass(frozen=True, slots=True)
class Undo:
    """One step of the way back: planned while nothing is undone, and tried until it is done."""

    action: Literal["void-payment", "release-stock", "void-label", "unpack", "restock"]
    state: UndoState


@dataclass(frozen=True, slots=True)
class Open:
    """One that is raised and not resolved."""

    step_key: str
    code: Code
    fault: Fault = "refusal"

    @property
    def is_parked(self) -> bool:
        """The step itself waits, and not only what would follow it."""
        return self.code is Code.STEP_PARKED

    @property
    def passes(self) -> bool:
        """It may be over without anybody's help."""
        return self.fault in TRIED_AGAIN


def opened(known: tuple[Open, ...], fact: ExceptionRaised) -> tuple[Open, ...]:
    """Raised again it is the same one, of the newer fault."""
    return (*without(known, fact), Open(fact.step_key, fact.code, fact.fault))


def without(known: tuple[Open, ...], fact: ExceptionRaised | ExceptionResolved) -> tuple[Open, ...]:
    return tuple(each for each in known if (each.step_key, each.code) != (fact.step_key, fact.code))


def resolved(known: Sequence[Open], resolution: str = "passed") -> list[ExceptionResolved]:
    """All of these are over."""
    return [
        ExceptionResolved(step_key=each.step_key, code=each.code, resolution=resolution) for each in known
    ]


def parked(known: Sequence[Open], step_key: str, failure: Failure) -> list[ExceptionRaised]:
    """The step waits for a person; one that is parked for the same reason already stays as it is."""
    if Open(step_key, Code.STEP_PARKED, failure.fault) in known:
        return []
    return [raised(step_key, Code.STEP_PARKED, failure)]


def raised(step_key: str, code: Code, failure: Failure) -> ExceptionRaised:
    return ExceptionRaised(
        step_key=step_key, code=code, fault=failure.fault, attempts=failure.attempts, error=failure.kind
    )
