"""How often a provider is asked before the step is a person's.

Temporal itself tries without limit. What does not count, because nobody was asked, is remembered in the
heartbeat, which the next attempt finds; so an attempt that was cut off counts, and a breaker that is open for
hours uses up nothing. An attempt that makes several slow calls is heard of all the while: only one whose
worker died is given to another.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from math import inf

from temporalio import activity
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    FailureError,
)
from temporalio.exceptions import (
    TimeoutError as TemporalTimeout,
)

from contracts.chassis.errors import Away, StoreBehind
from contracts.chassis.faults import Failure, failure_of
from contracts.values import Code

TRIES_OF_A_BUG = 3
"""A mistake of ours seldom passes by itself, but an answer that was cut in half looks like one."""
SPENT = "Spent"
_FINAL = ("refusal", "bad-data")


@asynccontextmanager
async def patience(attempts: float = inf) -> AsyncGenerator[None]:
    """What is inside is tried so often, a mistake of ours less often; then Temporal is told that it is over.

    A local activity has its own few tries, and the normal one that follows it counts."""
    if not activity.in_activity() or activity.info().is_local:
        yield
        return
    info = activity.info()
    uncounted = int(next(iter(info.heartbeat_details), 0))
    tried = info.attempt - uncounted
    if tried > attempts:
        raise _spent(Failure(fault="transient", kind="TimeoutError", attempts=tried - 1))
    try:
        async with _heard(uncounted, info.heartbeat_timeout):
            yield
    except (Away, StoreBehind):
        activity.heartbeat(uncounted + 1)
        raise
    except Exception as error:
        failure = failure_of(error, tried)
        limit = 1 if failure.fault in _FINAL else TRIES_OF_A_BUG if failure.fault == "bug" else attempts
        if tried >= min(limit, attempts):
            raise _spent(failure) from None
        raise


@asynccontextmanager
async def _heard(uncounted: int, timeout: timedelta | None) -> AsyncGenerator[None]:
    """The attempt is heard of four times in its time-out, for as long as what is inside takes."""
    if timeout is None:
        yield
        return
    beats = asyncio.create_task(_beat(uncounted, timeout.total_seconds() / 4))
    try:
        yield
    finally:
        beats.cancel()


async def _beat(uncounted: int, every_seconds: float) -> None:
    while True:
        await asyncio.sleep(every_seconds)
        activity.heartbeat(uncounted)


def _spent(failure: Failure) -> ApplicationError:
    return ApplicationError(
        f"tried {failure.attempts} times: {failure.fault}", failure, type=SPENT, non_retryable=True
    )


def why(error: FailureError) -> Failure:
    """What an awaited activity failed of in the end."""
    cause = error.cause if isinstance(error, ActivityError) else error
    match cause:
        case ApplicationError(type=str() as kind):
            if kind == SPENT and cause.details:
                return Failure.model_validate(cause.details[0])
            if kind in (Code.INVALID_REQUEST, Code.NOT_FOUND, Code.NOT_UNDERSTOOD):
                return Failure(fault="bad-data", kind=kind)
            return Failure(fault="refusal" if kind in list(Code) else "bug", kind=kind[:60])
        case TemporalTimeout():
            return Failure(fault="transient", kind="TimeoutError")
        case _:
            return Failure(fault="bug", kind=type(cause).__name__)
