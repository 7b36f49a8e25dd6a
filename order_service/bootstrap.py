"""How each role of the order service is put together; tests call the same functions with other settings."""

import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from temporalio.worker import Worker

from contracts import order as contract
from contracts.chassis import migrations, temporal
from contracts.chassis.event_store import EventStore, Journal
from contracts.chassis.postgres import Database
from contracts.chassis.settings import (
    HealthSettings,
    LogSettings,
    RelaySettings,
    TelemetrySettings,
    TemporalSettings,
)
from contracts.chassis.temporal import Target
from order_service import projection
from order_service.activities import OrderActivities
from order_service.events import FACTS, OrderEvent
from order_service.fulfillment_bridge import FulfillmentBridge
from order_service.intake import Intake, OrderJournal
from order_service.order import Order, evolve
from order_service.payments import Payments
from order_service.settings import (
    OrderApiSettings,
    OrderKafkaSettings,
    OrderPostgresSettings,
    PaymentSettings,
)
from order_service.workflow import OrderWorkflow

TARGET = Target("processOrderWorkflow", contract.TASK_QUEUE, contract.order_id_of)


@dataclass(frozen=True)
class Settings:
    """All blocks of the order service, read from the environment unless given."""

    postgres: OrderPostgresSettings = field(default_factory=OrderPostgresSettings)
    api: OrderApiSettings = field(default_factory=OrderApiSettings)
    kafka: OrderKafkaSettings = field(default_factory=OrderKafkaSettings)
    temporal: TemporalSettings = field(default_factory=TemporalSettings)
    relay: RelaySettings = field(default_factory=RelaySettings)
    health: HealthSettings = field(default_factory=HealthSettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    logs: LogSettings = field(default_factory=LogSettings)
    payments: PaymentSettings = field(default_factory=PaymentSettings)


def migrate(settings: Settings) -> None:
    """The database has every table of this version."""
    migrations.upgrade(settings.postgres.url, Path(__file__).parent / "migrations")


def journal_of(database: Database) -> OrderJournal:
    return Journal[Order, OrderEvent](
        database, EventStore[OrderEvent](FACTS), evolve=evolve, follow=projection.follow
    )


def intake_of(journal: OrderJournal) -> Intake:
    return Intake(journal, random_bits=secrets.randbits)


@asynccontextmanager
async def worker(settings: Settings) -> AsyncGenerator[Worker]:
    """The worker of the orders' queue with all it needs; not running yet."""
    async with (
        Database(settings.postgres, "order-worker") as database,
        httpx.AsyncClient(
            base_url=settings.payments.payments_url, timeout=settings.payments.payments_timeout_seconds
        ) as http,
    ):
        own = await temporal.connect("orders", settings.temporal)
        other = await temporal.connect("fulfillments", settings.temporal, lazy=True)
        journal = journal_of(database)
        activities = OrderActivities(journal, intake_of(journal), Payments(http), FulfillmentBridge(other))
        yield temporal.worker(
            own,
            task_queue=contract.TASK_QUEUE,
            workflows=[OrderWorkflow],
            activities=activities.all(),
            settings=settings.temporal,
        )


_REVIVE = """
    insert into knocks (workflow_id, signal)
    select 'order-workflow-' || order_id, 'knock'
    from order_view
    where 'order-workflow-' || order_id = any(%(ids)s)
      and step <> 'end'
    """


async def knock_open(database: Database, workflow_ids: Sequence[str]) -> int:
    """Each of these workflows whose order has not ended is knocked."""
    inserted = await database.execute(_REVIVE, ids=list(workflow_ids))
    if inserted:
        database.ring("knocks")
    return inserted
