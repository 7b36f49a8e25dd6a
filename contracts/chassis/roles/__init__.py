"""The roles that are put together the same way in both services."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from contracts.chassis.errors import Unavailable
from contracts.chassis.kafka.connection import ensure_topics
from contracts.chassis.settings import (
    HealthSettings,
    KafkaSettings,
    PostgresSettings,
    RelaySettings,
    TemporalSettings,
)


class Blocks(Protocol):
    """The settings that every service has."""

    @property
    def postgres(self) -> PostgresSettings: ...
    @property
    def kafka(self) -> KafkaSettings: ...
    @property
    def temporal(self) -> TemporalSettings: ...
    @property
    def relay(self) -> RelaySettings: ...
    @property
    def health(self) -> HealthSettings: ...


async def topics_exist(topics: Sequence[str], settings: KafkaSettings) -> None:
    """Returns once they do, however long the broker is away."""
    while True:
        try:
            await ensure_topics(settings, topics)
        except Unavailable:
            await asyncio.sleep(settings.retry_pause_seconds)
        else:
            return
