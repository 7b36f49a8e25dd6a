"""What the time is, how long to wait and what to be called: in a simulation our modules ask the scheduler.

`datetime.now`, `time.monotonic`, `asyncio.sleep` and `asyncio.gather` follow virtual time; ids count up, so
that the same run has the same ones. An activity learns from it which try it is.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime, tzinfo
from functools import cache
from itertools import count
from types import ModuleType
from typing import Any, Self
from uuid import UUID

from temporalio import activity
from uuid_utils.compat import uuid7

from tests.proof.simulation.scheduler import BEGINNING, Scheduler, sleep

_OURS = ("contracts", "order_service", "fulfillment_service")


@contextmanager
def virtual(scheduler: Scheduler) -> Generator[None]:
    """Whoever of us asks for the time, for a pause or for a new id asks the scheduler."""

    def monotonic() -> float:
        return (scheduler.now - BEGINNING).total_seconds()

    replaced = {
        "datetime": (datetime, _clock(scheduler)),
        "time": (time, _Module(time, monotonic=monotonic)),
        "asyncio": (asyncio, _Module(asyncio, sleep=sleep, gather=scheduler.gather)),
        "uuid7": (uuid7, _ids()),
        "activity": (activity, _activity(scheduler)),
    }
    found = _who_know_them()
    for module, name in found:
        setattr(module, name, replaced[name][1])
    try:
        yield
    finally:
        for module, name in found:
            setattr(module, name, replaced[name][0])


def _clock(scheduler: Scheduler) -> type[datetime]:
    class Virtual(datetime, metaclass=_AnyDatetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return scheduler.now  # type: ignore[return-value]  # a plain one: nobody tells them apart

    return Virtual


class _AnyDatetime(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, datetime)


def _ids() -> Callable[[], UUID]:
    numbers = count(1)
    return lambda: UUID(int=next(numbers))


def _activity(scheduler: Scheduler) -> "_Module":
    def heartbeat(*details: Any) -> None:
        if scheduler.attempt is not None:
            scheduler.attempt.heartbeat_details = details

    return _Module(
        activity,
        in_activity=lambda: scheduler.attempt is not None,
        info=lambda: scheduler.attempt,
        heartbeat=heartbeat,
    )


class _Module:
    """A module with some of its functions replaced."""

    def __init__(self, real: ModuleType, **replaced: Callable[..., Any]) -> None:
        self._real = real
        vars(self).update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@cache
def _who_know_them() -> list[tuple[ModuleType, str]]:
    """Our modules that know one of these; all of them are loaded once the pair has been put together."""
    real: dict[str, object] = {
        "datetime": datetime, "time": time, "asyncio": asyncio, "uuid7": uuid7, "activity": activity,
    }  # fmt: skip
    return [
        (module, name)
        for module_name, module in list(sys.modules.items())
        if module_name.partition(".")[0] in _OURS
        for name, thing in real.items()
        if getattr(module, name, None) is thing
    ]
