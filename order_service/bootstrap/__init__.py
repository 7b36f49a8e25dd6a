"""How the order service is put together; tests call the same functions with other settings.

Each role is a module of its own, so that a process loads only what its role needs.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from contracts.chassis.event_store import EventStore, Journal
from contracts.chassis.migrations import upgrade
from contracts.chassis.postgres import Database
from contracts.chassis.roles import ServiceSettings
from order_service import projection
from order_service.events import FACTS, OrderEvent
from order_service.intake import Intake, OrderJournal
from order_service.order import Order, evolve
from order_service.settings import (
    DeadlineSettings,
    OrderApiSettings,
    OrderKafkaSettings,
    OrderPostgresSettings,
    PaymentSettings,
)

VERSION = "0.1.0"


@dataclass(frozen=True)
class Settings(ServiceSettings):
    """All blocks of the order service, read from the environment unless given."""

    postgres: OrderPostgresSettings = field(default_factory=OrderPostgresSettings)
    api: OrderApiSettings = field(default_factory=OrderApiSettings)
    kafka: OrderKafkaSettings = field(default_factory=OrderKafkaSettings)
    payments: PaymentSettings = field(default_factory=PaymentSettings)
    deadlines: DeadlineSettings = field(default_factory=DeadlineSettings)


def migrate(settings: ServiceSettings) -> None:
    """The database has every table of this version."""
    upgrade(settings.postgres.url, Path(__file__).parent.parent / "migrations")


def journal_of(database: Database) -> OrderJournal:
    return Journal[Order, OrderEvent](
        database, EventStore[OrderEvent](FACTS), evolve=evolve, follow=projection.follow
    )


def intake_of(
    journal: OrderJournal,
    deadlines: DeadlineSettings | None = None,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Intake:
    return Intake(journal, deadlines or DeadlineSettings(), random_bits=secrets.randbits, now=now)
