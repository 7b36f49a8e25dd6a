"""How the fulfillment service is put together; tests call the same functions with other settings.

Each role is a module of its own, so that a process loads only what its role needs.
"""

from dataclasses import dataclass, field
from pathlib import Path

from contracts.chassis.event_store import EventStore, Journal
from contracts.chassis.migrations import upgrade
from contracts.chassis.postgres import Database
from contracts.chassis.roles import ServiceSettings
from fulfillment_service import projection, standing_holds
from fulfillment_service.events import FACTS, STANDING_FACTS, FulfillmentEvent, StandingHoldEvent
from fulfillment_service.fulfillment import Fulfillment, evolve, standing
from fulfillment_service.fulfillment.standing import StandingHold
from fulfillment_service.intake import FulfillmentJournal, Intake
from fulfillment_service.settings import (
    CarrierSettings,
    FulfillmentApiSettings,
    FulfillmentKafkaSettings,
    FulfillmentPostgresSettings,
    WarehouseSettings,
)
from fulfillment_service.standing_holds import StandingHolds

VERSION = "0.1.0"


@dataclass(frozen=True)
class Settings(ServiceSettings):
    """All blocks of the fulfillment service, read from the environment unless given."""

    postgres: FulfillmentPostgresSettings = field(default_factory=FulfillmentPostgresSettings)
    api: FulfillmentApiSettings = field(default_factory=FulfillmentApiSettings)
    kafka: FulfillmentKafkaSettings = field(default_factory=FulfillmentKafkaSettings)
    carrier: CarrierSettings = field(default_factory=CarrierSettings)
    warehouse: WarehouseSettings = field(default_factory=WarehouseSettings)


def migrate(settings: ServiceSettings) -> None:
    """The database has every table of this version."""
    upgrade(settings.postgres.url, Path(__file__).parent.parent / "migrations")


def journal_of(database: Database) -> FulfillmentJournal:
    return Journal[Fulfillment, FulfillmentEvent](
        database, EventStore[FulfillmentEvent](FACTS), evolve=evolve, follow=projection.follow
    )


def intake_of(journal: FulfillmentJournal, settings: Settings) -> Intake:
    standing_journal = Journal[StandingHold, StandingHoldEvent](
        journal.database,
        EventStore[StandingHoldEvent](STANDING_FACTS),
        evolve=standing.evolve,
        follow=standing_holds.follow,
    )
    holds = StandingHolds(standing_journal, drain_per_second=settings.warehouse.drain_per_second)
    return Intake(journal, holds, settings.warehouse, carrier=settings.carrier.carrier_name)
