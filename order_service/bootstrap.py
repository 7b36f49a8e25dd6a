"""How each role of the order service is put together; tests call the same functions with other settings."""

import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from fastapi import FastAPI
from temporalio.worker import Worker

from contracts import order as contract
from contracts.chassis import migrations, problems, roles, temporal
from contracts.chassis.event_store import EventStore, Journal
from contracts.chassis.lifecycle import Health, Role
from contracts.chassis.postgres import Database
from contracts.chassis.roles import Home
from contracts.chassis.settings import (
    HealthSettings,
    LogSettings,
    RelaySettings,
    TelemetrySettings,
    TemporalSettings,
)
from contracts.chassis.telemetry import rest_telemetry
from contracts.chassis.temporal import Target
from order_service import projection
from order_service.activities import OrderActivities
from order_service.consumer import CONSUMER, TOPICS, effect
from order_service.events import FACTS, OrderEvent
from order_service.fulfillment_bridge import FulfillmentBridge
from order_service.intake import Intake, OrderJournal
from order_service.order import Order, evolve
from order_service.payments import Payments
from order_service.rest import Door, router
from order_service.settings import (
    OrderApiSettings,
    OrderKafkaSettings,
    OrderPostgresSettings,
    PaymentSettings,
)
from order_service.workflow import OrderWorkflow

VERSION = "0.1.0"


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


def application(settings: OrderApiSettings) -> FastAPI:
    """The REST door without anything behind it: what its OpenAPI document describes."""
    app = FastAPI(
        title="Tandem order service",
        description="Place orders and follow them; the embedded stack simulates payments and carriers.",
        version=VERSION,
        telemetry=rest_telemetry(),
    )
    app.include_router(router)
    problems.install(app, settings)
    return app


@asynccontextmanager
async def api(settings: Settings, health: Health) -> AsyncGenerator[Role]:
    """The REST door. PostgreSQL is all it needs."""
    async with Database(settings.postgres, "order-api") as database:
        app = application(settings.api)
        app.state.door = Door(database, intake_of(journal_of(database)))
        app.router.routes.extend(health.routes())
        yield Role({}, door=app, host=settings.api.host, port=settings.api.port)


@asynccontextmanager
async def worker(settings: Settings, _: Health) -> AsyncGenerator[Role]:
    """The worker of the orders' queue."""
    async with opened_worker(settings) as opened:
        yield roles.work(opened, settings)


@asynccontextmanager
async def opened_worker(settings: Settings) -> AsyncGenerator[Worker]:
    """The worker with all it needs; not running yet."""
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


def relay(settings: Settings, health: Health) -> AbstractAsyncContextManager[Role]:
    """The orders' outbox to Kafka, knocks to the order workflows."""
    return roles.relay(HOME, settings, health)


def consumer(settings: Settings, health: Health) -> AbstractAsyncContextManager[Role]:
    """The fulfillments' events into the orders' view."""
    return roles.consume(CONSUMER, TOPICS, effect, settings, health)


def everything(settings: Settings, health: Health) -> AbstractAsyncContextManager[Role]:
    """All roles in one process, for a small machine."""
    return roles.together(*(open_role(settings, health) for open_role in (api, worker, relay, consumer)))


ROLES = {"api": api, "worker": worker, "relay": relay, "consumer": consumer, "all": everything}

_KNOCK_OPEN = """
    insert into knocks (workflow_id, signal)
    select 'order-workflow-' || order_id, 'knock'
    from order_view
    where 'order-workflow-' || order_id = any(%(ids)s)
      and step <> 'end'
    """


async def knock_open(database: Database, workflow_ids: Sequence[str]) -> int:
    """Each of these workflows whose order has not ended is knocked."""
    inserted = await database.execute(_KNOCK_OPEN, ids=list(workflow_ids))
    if inserted:
        database.ring("knocks")
    return inserted


HOME = Home(
    "orders",
    Target("processOrderWorkflow", contract.TASK_QUEUE, contract.order_id_of),
    contract.TOPIC,
    knock_open,
)
