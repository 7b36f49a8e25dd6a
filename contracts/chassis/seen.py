"""What a workflow has seen of its stream, known wherever an activity of it runs.

A store that was put back to an older backup has a shorter stream than that, and nothing may go out until
somebody says that this is right: the journal looks.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Seen:
    """As far as the workflow knows its stream."""

    version: int = 0
    is_put_back: bool = False
    """The store was put back since it began: calls may be out of which the store knows nothing."""
    asked_at: datetime | None = None
    """When the activity was scheduled."""


_NOTHING = Seen()
_seen: ContextVar[Seen] = ContextVar("seen", default=_NOTHING)


def seen() -> Seen:
    """What the workflow that asks has seen; nothing where no workflow does, as at a REST door."""
    return _seen.get()


@contextmanager
def having_seen(known: Seen) -> Generator[None]:
    """Whatever runs inside is asked by a workflow that has seen so much."""
    token = _seen.set(known)
    try:
        yield
    finally:
        _seen.reset(token)
