"""What waits in a service's database, measured for Prometheus.

Every relay of a service measures the same database and tells the same, so that it is known while one runs.
"""

import asyncio
from typing import LiteralString, get_args

import structlog
from prometheus_client import Gauge

from contracts.chassis import breakers, exceptions
from contracts.chassis.errors import TandemError
from contracts.chassis.postgres import Database
from contracts.chassis.settings import ExceptionSettings

log = structlog.get_logger()

GAUGES = {
    "outbox_waiting": Gauge("tandem_outbox_waiting_records", "Events that Kafka has not got yet"),
    "outbox_oldest": Gauge("tandem_outbox_oldest_seconds", "Age of the oldest event that waits for Kafka"),
    "outbox_set_aside": Gauge("tandem_outbox_set_aside_records", "Events that can never be sent as they are"),
    "inbox_set_aside": Gauge(
        "tandem_inbox_set_aside_records", "Records that could not be applied, and those behind them"
    ),
    "inbox_set_aside_oldest": Gauge(
        "tandem_inbox_set_aside_oldest_seconds", "Age of the oldest record that could not be applied"
    ),
    "knocks_oldest": Gauge(
        "tandem_knocks_oldest_seconds", "Age of the oldest start or signal that no workflow has got"
    ),
    "wishes_oldest": Gauge(
        "tandem_wishes_oldest_unanswered_seconds", "Age of the oldest wish without the other side's answer"
    ),
    "reconciler_looked": Gauge(
        "tandem_reconciler_last_look_seconds", "Since the reconciler has looked by all its rules"
    ),
}

BREAKER = Gauge(
    "tandem_circuit_breaker", "1 for the state that a provider's circuit breaker is in", ["breaker", "state"]
)
EXCEPTIONS = Gauge(
    "tandem_exceptions_open", "What waits for a person; by how often nobody came in time", ["level"]
)
PAUSE_SECONDS = 5.0
"""Between two looks: as often as Prometheus asks."""

# A knock that was tried in vain is late from its start, one that nobody took from when it was due: those that
# are let go one by one wait for their turn, and not for us.
_WAITING: LiteralString = """
    select
        (select count(*) from outbox where published_at is null and parked_at is null) as outbox_waiting,
        (
            select extract(epoch from now() - min(created_at))
            from outbox
            where published_at is null and parked_at is null
        ) as outbox_oldest,
        (
            select count(*) from outbox where published_at is null and parked_at is not null
        ) as outbox_set_aside,
        (select count(*) from parked where outcome is null) as inbox_set_aside,
        (
            select extract(epoch from now() - min(first_failed_at)) from parked where outcome is null
        ) as inbox_set_aside_oldest,
        (
            select extract(epoch from now() - min(case when attempts > 1 then created_at else due_at end))
            from knocks
            where attempts > 1 or due_at < now()
        ) as knocks_oldest,
        (
            select extract(epoch from now() - min(received_at)) from receipts where status = 'RECEIVED'
        ) as wishes_oldest,
        (
            select extract(epoch from now() - looked_at) from reconciler_rules where rule = 'all'
        ) as reconciler_looked
    """


class Backlog:
    """Keeps the gauges true for one database."""

    def __init__(self, database: Database, settings: ExceptionSettings) -> None:
        self._database = database
        self._settings = settings

    async def run(self) -> None:
        """Looks until cancelled; while the database is away the gauges keep what was last known."""
        while True:
            try:
                await self.look()
            except TandemError as error:
                log.warning("backlog not measured", reason=type(error).__name__)
            await asyncio.sleep(PAUSE_SECONDS)

    async def look(self) -> None:
        """The gauges tell what the database holds now; an age is zero where nothing waits.

        What waited for a person for too long has the next level."""
        for name, value in (await self._database.fetch_one(_WAITING) or {}).items():
            GAUGES[name].set(float(value or 0))
        first, again = self._settings.escalate, self._settings.escalate_again
        for row in await exceptions.escalate(self._database, first=first, again=again):
            log.warning("exception escalated", subject=row["subject"], code=row["code"], level=row["level"])
        for level, count in (await exceptions.counted(self._database)).items():
            EXCEPTIONS.labels(level=level).set(count)
        for row in await self._database.fetch(breakers.LISTED):
            for state in get_args(breakers.State):
                BREAKER.labels(row["name"], state).set(row["state"] == state)
