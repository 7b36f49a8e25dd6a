"""How a workflow calls an activity: one table of policies, and two verbs."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any, TypeVar, TypeVarTuple

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, FailureError

from contracts import fulfillment, order

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Terms:
    """How long one attempt may take, and when the next one comes."""

    start_to_close: timedelta
    retry: RetryPolicy
    schedule_to_close: timedelta | None = None
    heartbeat: timedelta | None = None
    """An attempt of which nothing is heard for so long is dead; `patience` lets it be heard."""
    queues: Mapping[str, str] = field(default_factory=dict[str, str])
    """Where it runs, by the queue of the workflow that calls; elsewhere on the workflow's own."""


def _backed_off(first_seconds: float, attempts: int = 0) -> RetryPolicy:
    return RetryPolicy(
        initial_interval=timedelta(seconds=first_seconds),
        backoff_coefficient=2.0,
        maximum_interval=timedelta(seconds=30),
        maximum_attempts=attempts,
    )


class Policy(Enum):
    """All activities run by one of these; without `attempts` they are tried for ever."""

    # Seven seconds in all: a workflow task that is open for eight has to be renewed, three events each time.
    STORE_LOCAL = Terms(timedelta(seconds=5), _backed_off(0.1, attempts=3), timedelta(seconds=7))
    STORE = Terms(timedelta(seconds=15), _backed_off(0.2))
    # Several calls of 15 seconds, each with a lookup before it: an undo may have to have an authorization
    # answered and two voided. No attempt is lost while its worker lives, and a dead one's goes on soon.
    # A queue of its own, so that one that hangs fills no place that anything else needs.
    PROVIDER = Terms(
        timedelta(minutes=5),
        _backed_off(0.2),
        heartbeat=timedelta(seconds=40),
        queues={order.TASK_QUEUE: order.PAYMENTS_QUEUE, fulfillment.TASK_QUEUE: fulfillment.CARRIER_QUEUE},
    )
    BRIDGE = Terms(timedelta(seconds=10), _backed_off(0.2))
    # Given up after some tries: the schedule starts the next look, which would otherwise be skipped.
    HOUSEKEEPING = Terms(timedelta(minutes=2), _backed_off(1.0, attempts=5))


async def stored(
    activity: Callable[[Any, *Arguments], Awaitable[Result]],
    *arguments: *Arguments,
    summary: str | None = None,
) -> Result:
    """What an activity that only writes our own database returned.

    Local first, which costs one event instead of six. When the local tries are spent the database is down,
    and the same function goes on as a normal activity, whose tries leave no events. Raises FailureError on
    what is final: see `refusal`."""
    local = Policy.STORE_LOCAL.value
    try:
        return await workflow.start_local_activity_method(
            activity,
            args=arguments,
            start_to_close_timeout=local.start_to_close,
            schedule_to_close_timeout=local.schedule_to_close,
            retry_policy=local.retry,
            summary=summary,
        )
    except FailureError as error:
        if _is_final(error):
            raise
    return await start_outside(activity, *arguments, policy=Policy.STORE, summary=summary)


def start_outside(
    activity: Callable[[Any, *Arguments], Awaitable[Result]],
    *arguments: *Arguments,
    policy: Policy,
    summary: str | None = None,
) -> workflow.ActivityHandle[Result]:
    """The activity is scheduled; await the handle, or wait for it beside a knock."""
    terms = policy.value
    return workflow.start_activity_method(
        activity,
        args=arguments,
        task_queue=terms.queues.get(workflow.info().task_queue),
        start_to_close_timeout=terms.start_to_close,
        schedule_to_close_timeout=terms.schedule_to_close,
        heartbeat_timeout=terms.heartbeat,
        retry_policy=terms.retry,
        summary=summary,
    )


def _is_final(error: FailureError) -> bool:
    # A normal activity's failure comes wrapped in an ActivityError, a local one's does not.
    cause = error.cause if isinstance(error, ActivityError) else error
    return isinstance(cause, CancelledError) or (isinstance(cause, ApplicationError) and cause.non_retryable)
