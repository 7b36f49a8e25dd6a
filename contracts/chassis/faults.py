"""Why something failed, in six words: by them it is decided whether it is tried again, and who must act."""

from typing import Literal

from contracts.chassis.errors import (
    Conflict,
    Invalid,
    Misunderstood,
    NotFound,
    Refused,
    StoreBehind,
    TandemError,
    TooMany,
    Unavailable,
)
from contracts.values import Message

Fault = Literal["transient", "dependency-down", "refusal", "bad-data", "bug", "mismatch"]
"""`transient`: an answer was lost or late · `dependency-down`: the other side is away ·
`refusal`: the other side said no, as it may · `bad-data`: it could not understand what we sent ·
`bug`: our own mistake · `mismatch`: two records of the same thing do not agree."""

Resolution = Literal["retry", "skip", "change-data", "cancel"]
"""What an operator may do about it."""


class Failure(Message):
    """Why a step does not go on, as far as it may be told."""

    fault: Fault
    kind: str
    """The error's class or code."""
    attempts: int = 1


def failure_of(error: Exception, attempts: int = 1) -> Failure:
    """Which fault an error of ours or anybody's is: the only place where that is decided."""
    kind = error.code.value if isinstance(error, TandemError) else type(error).__name__
    return Failure(fault=_fault_of(error), kind=kind[:60], attempts=attempts)


def _fault_of(error: Exception) -> Fault:
    match error:
        case StoreBehind():
            return "mismatch"
        case Unavailable():
            return "dependency-down"
        case Conflict() | TooMany():
            return "transient"
        case Refused():
            return "refusal"
        case Invalid() | NotFound() | Misunderstood():
            return "bad-data"
        case _:
            return "bug"
