"""The housekeeping of a service: a worker of its own queue, and the schedule that gives it work.

It lives in the worker's process and can keep it from nothing: it has its own slots, its own connections to
the database and to Temporal, and whatever it meets, it tries again later.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

import structlog
from temporalio.client import Client
from temporalio.service import RPCError

from contracts.chassis.errors import Unavailable
from contracts.chassis.housekeeping import Housekeeping, ReconcileWorkflow, keep_schedule
from contracts.chassis.roles import ServiceSettings
from contracts.chassis.settings import PostgresSettings, Profile, TemporalSettings
from contracts.chassis.temporal.wiring import connect, worker

log = structlog.get_logger()

CONNECTIONS = 3
"""Of the database: a look is one question after the other."""
AGAIN_SECONDS = 5.0
"""After Temporal did not answer."""
KEEP_EVERY_SECONDS = 300.0
"""A schedule that somebody deleted is back after so long."""

Open = Callable[[Client], AbstractAsyncContextManager[Housekeeping]]
"""What the housekeeping needs, opened for as long as it runs."""


def own_pool(settings: PostgresSettings) -> PostgresSettings:
    """The same database with few connections, so that it takes none from those who work for orders."""
    return settings.model_copy(update={"pool_size": CONNECTIONS})


def housekeeping(
    profile: Profile, task_queue: str, open_: Open, settings: ServiceSettings
) -> Callable[[], Coroutine[Any, Any, None]]:
    """A loop that runs until it is cancelled: the schedule is kept, and what it starts is worked on."""

    async def run() -> None:
        while True:
            try:
                client = await connect(profile, settings.temporal)
                async with (
                    open_(client) as kept,
                    worker(
                        client,
                        task_queue=task_queue,
                        workflows=[ReconcileWorkflow],
                        activities=kept.all(),
                        settings=_few_slots(settings.temporal),
                    ),
                ):
                    await _keep(client, profile, task_queue, settings)
            except Unavailable:
                log.warning("housekeeping waits", reason="Temporal does not answer")
            except Exception as error:
                log.error("housekeeping begins anew", reason=type(error).__name__)
            await asyncio.sleep(AGAIN_SECONDS)

    return run


async def _keep(client: Client, profile: Profile, task_queue: str, settings: ServiceSettings) -> None:
    every = timedelta(seconds=settings.housekeeping.reconcile_interval_seconds)
    while True:
        try:
            await keep_schedule(client, profile, task_queue, every)
        except (RPCError, RuntimeError) as error:
            log.warning("schedule not kept", reason=type(error).__name__)
            await asyncio.sleep(AGAIN_SECONDS)
        else:
            await asyncio.sleep(KEEP_EVERY_SECONDS)


def _few_slots(settings: TemporalSettings) -> TemporalSettings:
    """One look at a time, and nothing kept in memory between two of them."""
    return settings.model_copy(
        update={
            "workflow_slots": 2,
            "activity_slots": 2,
            "local_activity_slots": 1,
            "workflow_cache": 0,
            "workflow_pollers": 1,
            "activity_pollers": 1,
        }
    )
