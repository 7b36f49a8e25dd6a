"""Knocks: starts and signals for our own workflow, written with the facts and delivered by a relay.

A knock carries no decision; who is knocked re-reads its stream. So the order of knocks does not matter, one
may be delivered twice, and SKIP LOCKED is right here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import LiteralString

import structlog
from prometheus_client import Counter

from contracts.chassis.errors import TandemError, Unavailable
from contracts.chassis.outbox import wait
from contracts.chassis.postgres import Connection, Database
from contracts.chassis.settings import RelaySettings
from contracts.chassis.telemetry import attached, current_traceparent

log = structlog.get_logger()

DELIVERED = Counter("tandem_knocks_delivered", "Starts and signals that reached a workflow")

CHANNEL: LiteralString = "knocks"
CLAIM = timedelta(seconds=15)
"""A claimed knock whose relay died is delivered by another one after this time."""


@dataclass(frozen=True, slots=True)
class Knock:
    """A signal to one workflow, which is started when it does not run."""

    workflow_id: str
    signal: str = "knock"
    command_id: str | None = None


@dataclass(frozen=True, slots=True)
class DueKnock(Knock):
    id: int = 0
    attempts: int = 0
    traceparent: str | None = None


Deliver = Callable[[DueKnock], Awaitable[None]]
"""Returns when the workflow has the signal or will never need it; raises when it should be tried again."""


# A wish for a workflow that was not started yet may be the one that starts it, and is in its trace then.
_ADD: LiteralString = """
    insert into knocks (workflow_id, signal, command_id, traceparent)
    values (
        %(workflow_id)s,
        %(signal)s,
        %(command_id)s,
        coalesce(
            (select traceparent from knocks where workflow_id = %(workflow_id)s order by id limit 1),
            %(traceparent)s
        )
    )
    """


async def add(connection: Connection, knock: Knock) -> None:
    """The knock is delivered after this transaction committed; the first one that waits lends its trace."""
    await connection.queue(
        _ADD,
        {
            "workflow_id": knock.workflow_id,
            "signal": knock.signal,
            "command_id": knock.command_id,
            "traceparent": current_traceparent(),
        },
    )
    connection.bells.add(CHANNEL)


async def add_one_by_one(connection: Connection, workflow_ids: Sequence[str], *, per_second: float) -> None:
    """Each of these workflows is knocked once after this transaction committed, so many of them a second."""
    await connection.queue(
        """
        insert into knocks (workflow_id, signal, traceparent, due_at)
        select workflow_id, 'knock', %s, now() + (place - 1) / %s::float * interval '1 second'
        from unnest(%s::text[]) with ordinality as listed (workflow_id, place)
        """,
        (current_traceparent(), per_second, list(workflow_ids)),
    )
    connection.bells.add(CHANNEL)


class KnockRelay:
    """Delivers one database's knocks; any number of relays share the work."""

    def __init__(
        self,
        database: Database,
        deliver: Deliver,
        settings: RelaySettings,
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._deliver = deliver
        self._settings = settings
        self._progress = progress

    async def run(self, wake: asyncio.Event) -> None:
        """Delivers until cancelled; looks again at each wake and after a poll interval."""
        while True:
            wake.clear()
            try:
                if await self.turn() == 0:
                    await wait(wake, await self._until_next())
            except TandemError as error:
                log.warning("knock relay waits", reason=type(error).__name__)
                await asyncio.sleep(self._settings.backoff_seconds)
            self._progress()

    async def turn(self) -> int:
        """One look; the number of knocks that were claimed and tried."""
        due = await self._claim()
        if not due:
            return 0
        failures = await asyncio.gather(*(self._try(knock) for knock in due))
        await self._settle(due, failures)
        return len(due)

    async def _until_next(self) -> float:
        row = await self._database.fetch_one(
            "select extract(epoch from min(due_at) - now())::float as seconds from knocks"
        )
        seconds = row["seconds"] if row else None
        if seconds is None:
            return self._settings.poll_seconds
        return min(max(seconds, 0.05), self._settings.poll_seconds)

    async def _claim(self) -> list[DueKnock]:
        rows = await self._database.fetch(
            """
            update knocks
            set attempts = attempts + 1,
                due_at = clock_timestamp() + %(claim)s
            where id in (
                select id
                from knocks
                where due_at <= now()
                order by due_at
                limit %(limit)s
                for update skip locked
            )
            returning id, workflow_id, signal, command_id, attempts, traceparent
            """,
            claim=CLAIM,
            limit=self._settings.knock_batch_size,
        )
        return [DueKnock(**row) for row in rows]

    async def _try(self, knock: DueKnock) -> Exception | None:
        try:
            with attached(knock.traceparent):
                await self._deliver(knock)
        except Exception as error:
            log.warning("knock not delivered", workflow_id=knock.workflow_id, reason=type(error).__name__)
            return error
        DELIVERED.inc()
        return None

    async def _settle(self, due: Sequence[DueKnock], failures: Sequence[Exception | None]) -> None:
        """What was delivered is gone; what failed is due again after its pause."""
        async with self._database.transaction() as connection:
            await connection.queue(
                "delete from knocks where id = any(%s)",
                ([knock.id for knock, failure in zip(due, failures, strict=True) if failure is None],),
            )
            for knock, failure in zip(due, failures, strict=True):
                if failure is not None:
                    await connection.queue(
                        "update knocks set due_at = clock_timestamp() + %s, last_error = %s where id = %s",
                        (self._pause_after(knock, failure), type(failure).__name__, knock.id),
                    )

    def _pause_after(self, knock: DueKnock, failure: Exception) -> timedelta:
        """Shorter while Temporal is away: that is not the knock's fault, and orders wait for it."""
        away = isinstance(failure, Unavailable)
        longest = self._settings.poll_seconds if away else self._settings.max_backoff_seconds
        seconds = self._settings.backoff_seconds * 2 ** min(knock.attempts - 1, 16)
        return timedelta(seconds=min(seconds, longest))
