"""The roles that are put together the same way in both services."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from contracts.chassis.errors import Unavailable
from contracts.chassis.kafka.connection import ensure_topics
from contracts.chassis.settings import (
    ApiSettings,
    ExceptionSettings,
    HealthSettings,
    HousekeepingSettings,
    KafkaSettings,
    LogSettings,
    PostgresSettings,
    RelaySettings,
    TelemetrySettings,
    TemporalSettings,
)


@dataclass(frozen=True)
class ServiceSettings:
    """The blocks that every service has, read from the environment unless given."""

    postgres: PostgresSettings = field(default_factory=PostgresSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    temporal: TemporalSettings = field(default_factory=TemporalSettings)
    relay: RelaySettings = field(default_factory=RelaySettings)
    housekeeping: HousekeepingSettings = field(default_factory=HousekeepingSettings)
    exceptions: ExceptionSettings = field(default_factory=ExceptionSettings)
    health: HealthSettings = field(default_factory=HealthSettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    logs: LogSettings = field(default_factory=LogSettings)


async def topics_exist(topics: Sequence[str], settings: KafkaSettings) -> None:
    """Returns once they do, however long the broker is away."""
    while True:
        try:
            await ensure_topics(settings, topics)
        except Unavailable:
            await asyncio.sleep(settings.retry_pause_seconds)
        else:
            return
