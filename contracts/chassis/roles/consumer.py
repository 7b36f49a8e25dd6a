"""The consumer: what the other service says on Kafka has its effect here, once."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from prometheus_client import Gauge

from contracts.chassis.inbox import Effect, Inbox
from contracts.chassis.kafka.consumer import Consumer
from contracts.chassis.lifecycle import Health, Role
from contracts.chassis.parking import dead_letters
from contracts.chassis.postgres import Database
from contracts.chassis.roles import ServiceSettings, topics_exist

LAG = Gauge("tandem_consumer_lag_records", "Records of our partitions that are not handled yet")


@asynccontextmanager
async def consume(
    name: str, topics: Sequence[str], effect: Effect, settings: ServiceSettings, health: Health
) -> AsyncGenerator[Role]:
    """Each event of the topics has its effect once, in the order of its stream."""
    async with Database(settings.postgres, name) as database:
        inbox = Inbox(database, name, effect)
        progress = health.watch("consumer")
        consumer = Consumer(settings.kafka, topics, inbox.apply, progress=progress)
        LAG.set_function(consumer.lag)

        async def read() -> None:
            await topics_exist([*topics, *map(dead_letters, topics)], settings.kafka, progress)
            await consumer.run()

        yield Role({"consumer": read}, port=settings.health.port)
