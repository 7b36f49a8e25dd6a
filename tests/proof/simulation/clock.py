"""`datetime.now` of our own modules tells virtual time while a simulation runs."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime, tzinfo
from functools import cache
from types import ModuleType
from typing import Self

_OURS = ("contracts", "order_service", "fulfillment_service")


@contextmanager
def virtual(now: Callable[[], datetime]) -> Generator[None]:
    """Whoever of us asks what time it is hears what `now` says."""

    class Virtual(datetime, metaclass=_AnyDatetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return now()  # type: ignore[return-value]  # a plain one: nobody tells them apart

    modules = _who_ask_the_time()
    for module in modules:
        module.datetime = Virtual  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module in modules:
            module.datetime = datetime  # type: ignore[attr-defined]


class _AnyDatetime(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, datetime)


@cache
def _who_ask_the_time() -> list[ModuleType]:
    """Our modules that know a `datetime`; all of them are loaded once the pair has been put together."""
    return [
        module
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in _OURS and getattr(module, "datetime", None) is datetime
    ]
