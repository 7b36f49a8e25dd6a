"""The roles that are put together the same way in both services."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

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

log = structlog.get_logger()

_PAUSE_LIMIT_SECONDS = 5.0


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


async def topics_exist(topics: Sequence[str], settings: KafkaSettings, progress: Callable[[], None]) -> None:
    """Returns once they do, however long the broker is away; to ask it again is progress."""
    pause = settings.retry_pause_seconds
    while True:
        try:
            await ensure_topics(settings, topics)
        except Unavailable as error:
            log.warning("topics are waited for", reason=error.detail, seconds=pause)
            progress()
            await asyncio.sleep(pause)
            pause = min(pause * 2, _PAUSE_LIMIT_SECONDS)
        else:
            return
