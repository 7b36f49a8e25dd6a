"""What can go wrong, named by who must act.

TandemError
├── Refused       the domain said no; asking again will not help
├── Invalid       the question itself is wrong; the caller must change it
├── NotFound      nothing of that name was ever recorded
├── TooMany       so much was wished here that no more is taken, now or at all
│   └── TooOften  one client asks for more than its share
├── Unsendable    the broker will never take this record; set aside for a person
├── Misunderstood a provider does not take what we send; an engineer has to look, and it is tried again
├── Conflict      someone wrote first; decided again at once
└── Unavailable   the other side does not answer; retried with back-off
    ├── Overloaded  more is asked at once than can be answered in time
    └── Away      it is known to be away, so nobody asked; this counts as no try
        └── StoreBehind  the store knows less than it did; nothing goes out until a person says what is right
"""

from datetime import timedelta
from typing import Any

from contracts.values import Code


class TandemError(Exception):
    """Something in Tandem went wrong."""

    code: Code = Code.INTERNAL

    def __init__(self, detail: str | None = None, *, code: Code | None = None) -> None:
        super().__init__(detail or self.__doc__)
        self.code = code or self.code
        self.extensions: dict[str, Any] = {}
        """Further members of the problem+json answer, such as `currentStatus`."""

    @property
    def detail(self) -> str:
        return str(self)


class Refused(TandemError):
    """The order or fulfillment does not allow this now; asking again will not help."""

    code = Code.NOT_ALLOWED_NOW

    def __init__(self, detail: str | None = None, *, code: Code | None = None, cut_off: str | None = None):
        super().__init__(detail, code=code)
        self.cut_off = cut_off
        """The fact after which this is refused for good, e.g. `HandOverStarted`."""


class Invalid(TandemError):
    """The request cannot be understood; change it before asking again."""

    code = Code.INVALID_REQUEST


class NotFound(TandemError):
    """Nothing of that name was ever recorded."""

    code = Code.NOT_FOUND


class TooMany(TandemError):
    """More was wished of this order or fulfillment than is taken."""

    code = Code.TOO_MANY_WISHES

    def __init__(self, detail: str | None = None, *, retry_after: timedelta | None = None) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
        """When a place is free again; None when there will be none."""


class TooOften(TooMany):
    """More was asked from this address than is taken; come again later."""

    code = Code.TOO_MANY_REQUESTS


class Unsendable(TandemError):
    """The broker will never take this record, such as one that is too large."""


class Misunderstood(TandemError):
    """A provider does not take the request as we send it; it is tried again, and somebody has to look."""


class Conflict(TandemError):
    """Someone else wrote first; the decision is taken again on the newer state."""

    code = Code.CONFLICT


class Unavailable(TandemError):
    """The other side does not answer now; the call is repeated with back-off."""

    code = Code.UNAVAILABLE

    def __init__(self, detail: str | None = None, *, retry_after: timedelta | None = None) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Overloaded(Unavailable):
    """More is asked at once than can be answered in time; nothing was done, come again later."""

    code = Code.OVERLOADED


class Away(Unavailable):
    """The other side is known to be away, so it was not asked; that is not counted as a try."""


class StoreBehind(Away):
    """The store was put back to a time before what was seen or told; a person must say what is right."""

    code = Code.STORE_BEHIND

    def __init__(self, stream: str, *, seen: int, stored: int, is_known: bool = False) -> None:
        super().__init__(
            "The store was put back to a time before what was seen or told, so nothing is written. Retry its "
            "exception STORE_BEHIND when the newer store is back, or skip it to take the store as it is."
        )
        self.stream = stream
        self.seen = seen
        """The last version of the stream that its workflow saw."""
        self.stored = stored
        """The last version of the stream that there is now."""
        self.is_known = is_known
        """A person was told of it before."""
