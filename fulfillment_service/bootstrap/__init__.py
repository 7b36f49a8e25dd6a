"""How the fulfillment service is put together; tests call the same functions with other settings.

Each role is a module of its own, so that a process loads only what its role needs.
"""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from contracts.chassis.event_store import EventStore, Journal
from contracts.chassis.lifecycle import Health, Role
from contracts.chassis.postgres import Database
from contracts.chassis.settings import (
    HealthSettings,
    LogSettings,
    RelaySettings,
    TelemetrySettings,
    TemporalSettings,
)
from fulfillment_service import projection
from fulfillment_service.events import FACTS, FulfillmentEvent
from fulfillment_service.fulfillment import Fulfillment, evolve
from fulfillment_service.intake import FulfillmentJournal, Intake
from fulfillment_service.settings import (
    CarrierSettings,
    FulfillmentApiSettings,
    FulfillmentKafkaSettings,
    FulfillmentPostgresSettings,
    WarehouseSettings,
)

VERSION = "0.1.0"
ROLES = ("api", "worker", "relay", "consumer")


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


class RoleModule(Protocol):
    """What each module of a role offers."""

    def open_role(self, settings: Settings, health: Health) -> AbstractAsyncContextManager[Role]: ...


def role_of(name: str) -> RoleModule:
    """The module of that role, loaded now; all of them together take seconds."""
    return cast("RoleModule", import_module(f"fulfillment_service.bootstrap.{name}"))


def migrate(settings: Settings) -> None:
    """The database has every table of this version."""
    migrations = import_module("contracts.chassis.migrations")
    migrations.upgrade(settings.postgres.url, Path(__file__).parent.parent / "migrations")


def journal_of(database: Database) -> FulfillmentJournal:
    return Journal[Fulfillment, FulfillmentEvent](
        database, EventStore[FulfillmentEvent](FACTS), evolve=evolve, follow=projection.follow
    )


def intake_of(journal: FulfillmentJournal, settings: Settings) -> Intake:
    return Intake(journal, settings.warehouse)
