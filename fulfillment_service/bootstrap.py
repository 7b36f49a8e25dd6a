"""How each role of the fulfillment service is put together; tests call the same with other settings."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from fastapi import FastAPI
from temporalio.worker import Worker

from contracts import fulfillment as contract
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
from fulfillment_service import projection
from fulfillment_service.activities import FulfillmentActivities
from fulfillment_service.carrier import Carrier
from fulfillment_service.consumer import CONSUMER, TOPICS, effect
from fulfillment_service.events import FACTS, FulfillmentEvent
from fulfillment_service.fulfillment import Fulfillment, evolve
from fulfillment_service.intake import FulfillmentJournal, Intake
from fulfillment_service.order_bridge import OrderBridge
from fulfillment_service.rest import Door, router
from fulfillment_service.settings import (
    CarrierSettings,
    FulfillmentApiSettings,
    FulfillmentKafkaSettings,
    FulfillmentPostgresSettings,
    WarehouseSettings,
)
from fulfillment_service.workflow import FulfillmentWorkflow

VERSION = "0.1.0"


@dataclass(frozen=True)
class Settings:
    """All blocks of the fulfillment service, read from the environment unless given."""

    postgres: FulfillmentPostgresSettings = field(default_factory=FulfillmentPostgresSettings)
    api: FulfillmentApiSettings = field(default_factory=FulfillmentApiSettings)
    kafka: FulfillmentKafkaSettings = field(default_factory=FulfillmentKafkaSettings)
    temporal: TemporalSettings = field(default_factory=TemporalSettings)
    relay: RelaySettings = field(default_factory=RelaySettings)
    health: HealthSettings = field(default_factory=HealthSettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    logs: LogSettings = field(default_factory=LogSettings)
    carrier: CarrierSettings = field(default_factory=CarrierSettings)
    warehouse: WarehouseSettings = field(default_factory=WarehouseSettings)


def migrate(settings: Settings) -> None:
    """The database has every table of this version."""
    migrations.upgrade(settings.postgres.url, Path(__file__).parent / "migrations")


def journal_of(database: Database) -> FulfillmentJournal:
    return Journal[Fulfillment, FulfillmentEvent](
        database, EventStore[FulfillmentEvent](FACTS), evolve=evolve, follow=projection.follow
    )


@asynccontextmanager
async def api(settings: Settings, health: Health) -> AsyncGenerator[Role]:
    """The REST door. PostgreSQL is all it needs."""
    async with Database(settings.postgres, "fulfillment-api") as database:
        application = FastAPI(
            title="Tandem fulfillment service",
            description="Follow parcels, hold and move them; their warehouse and carrier are simulated.",
            version=VERSION,
            telemetry=rest_telemetry(),
        )
        application.state.door = Door(database, Intake(journal_of(database), settings.warehouse))
        application.include_router(router)
        application.router.routes.extend(health.routes())
        problems.install(application, settings.api)
        yield Role({}, door=application, host=settings.api.host, port=settings.api.port)


@asynccontextmanager
async def worker(settings: Settings, _: Health) -> AsyncGenerator[Role]:
    """The worker of the fulfillments' queue."""
    async with opened_worker(settings) as opened:
        yield roles.work(opened, settings)


@asynccontextmanager
async def opened_worker(settings: Settings) -> AsyncGenerator[Worker]:
    """The worker with all it needs; not running yet."""
    async with (
        Database(settings.postgres, "fulfillment-worker") as database,
        httpx.AsyncClient(
            base_url=settings.carrier.carrier_url, timeout=settings.carrier.carrier_timeout_seconds
        ) as http,
    ):
        own = await temporal.connect("fulfillments", settings.temporal)
        other = await temporal.connect("orders", settings.temporal, lazy=True)
        journal = journal_of(database)
        activities = FulfillmentActivities(
            journal, Intake(journal, settings.warehouse), Carrier(http), OrderBridge(other)
        )
        yield temporal.worker(
            own,
            task_queue=contract.TASK_QUEUE,
            workflows=[FulfillmentWorkflow],
            activities=activities.all(),
            settings=settings.temporal,
        )


def relay(settings: Settings, health: Health) -> AbstractAsyncContextManager[Role]:
    """The fulfillments' outbox to Kafka, knocks to the fulfillment workflows."""
    return roles.relay(HOME, settings, health)


def consumer(settings: Settings, health: Health) -> AbstractAsyncContextManager[Role]:
    """The orders' events into the operators' view."""
    return roles.consume(CONSUMER, TOPICS, effect, settings, health)


def everything(settings: Settings, health: Health) -> AbstractAsyncContextManager[Role]:
    """All roles in one process, for a small machine."""
    return roles.together(*(open_role(settings, health) for open_role in (api, worker, relay, consumer)))


ROLES = {"api": api, "worker": worker, "relay": relay, "consumer": consumer, "all": everything}

_KNOCK_OPEN = """
    insert into knocks (workflow_id, signal)
    select 'fulfillment-' || fulfillment_id, 'knock'
    from fulfillment_view
    where 'fulfillment-' || fulfillment_id = any(%(ids)s)
      and step <> 'end'
    """


async def knock_open(database: Database, workflow_ids: Sequence[str]) -> int:
    """Each of these workflows whose fulfillment has not ended is knocked."""
    inserted = await database.execute(_KNOCK_OPEN, ids=list(workflow_ids))
    if inserted:
        database.ring("knocks")
    return inserted


HOME = Home(
    "fulfillments",
    Target("fulfillmentWorkflow", contract.TASK_QUEUE, contract.fulfillment_id_of),
    contract.TOPIC,
    knock_open,
)
