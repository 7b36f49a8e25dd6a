"""How the order service is put together; tests call the same functions with other settings.

Each role is a module of its own, so that a process loads only what its role needs.
"""

import secrets
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
from order_service import projection
from order_service.events import FACTS, OrderEvent
from order_service.intake import Intake, OrderJournal
from order_service.order import Order, evolve
from order_service.settings import (
    OrderApiSettings,
    OrderKafkaSettings,
    OrderPostgresSettings,
    PaymentSettings,
)

VERSION = "0.1.0"
ROLES = ("api", "worker", "relay", "consumer")


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


class RoleModule(Protocol):
    """What each module of a role offers."""

    def open_role(self, settings: Settings, health: Health) -> AbstractAsyncContextManager[Role]: ...


def role_of(name: str) -> RoleModule:
    """The module of that role, loaded now; all of them together take seconds."""
    return cast("RoleModule", import_module(f"order_service.bootstrap.{name}"))


def migrate(settings: Settings) -> None:
    """The database has every table of this version."""
    migrations = import_module("contracts.chassis.migrations")
    migrations.upgrade(settings.postgres.url, Path(__file__).parent.parent / "migrations")


def journal_of(database: Database) -> OrderJournal:
    return Journal[Order, OrderEvent](
        database, EventStore[OrderEvent](FACTS), evolve=evolve, follow=projection.follow
    )


def intake_of(journal: OrderJournal) -> Intake:
    return Intake(journal, random_bits=secrets.randbits)
