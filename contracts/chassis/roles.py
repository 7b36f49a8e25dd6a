"""The roles that are put together the same way in both services: relay, worker, consumer and door."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from temporalio.worker import Worker

from contracts.chassis import kafka, temporal
from contracts.chassis.errors import Unavailable
from contracts.chassis.inbox import Effect, Inbox
from contracts.chassis.kafka import Consumer, Publisher
from contracts.chassis.knocks import KnockRelay
from contracts.chassis.lifecycle import Health, Role
from contracts.chassis.outbox import OutboxRelay
from contracts.chassis.postgres import Database, Listener
from contracts.chassis.settings import (
    HealthSettings,
    KafkaSettings,
    PostgresSettings,
    Profile,
    RelaySettings,
    TemporalSettings,
)
from contracts.chassis.temporal import Delivery, Target


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


@dataclass(frozen=True, slots=True)
class Home:
    """What a service calls its own: its namespace, its kind of workflow and its topic."""

    profile: Profile
    target: Target
    topic: str
    knock_open: Callable[[Database, Sequence[str]], Awaitable[int]]
    """Knocks each of these workflows whose stream has not ended, and says how many."""


@asynccontextmanager
async def relay(home: Home, settings: Blocks, health: Health) -> AsyncGenerator[Role]:
    """Rows leave the database: the outbox to Kafka, knocks to our own namespace."""
    async with (
        Database(settings.postgres, f"{home.profile}-relay") as database,
        Publisher(settings.kafka) as publisher,
    ):
        # The relay must live while Temporal is away, so that the outbox goes on.
        client = await temporal.connect(home.profile, settings.temporal, lazy=True)
        delivery = Delivery(client, home.target)
        bell = Listener(database.conninfo, "outbox", "knocks")
        outbox = OutboxRelay(
            database,
            publisher.send,
            settings.relay,
            cluster_id=lambda: kafka.cluster_id(settings.kafka),
            progress=health.watch("outbox"),
        )
        knocks = KnockRelay(database, delivery.deliver, settings.relay, health.watch("knocks"))

        async def knock_open(workflow_ids: Sequence[str]) -> int:
            return await home.knock_open(database, workflow_ids)

        async def publish() -> None:
            await _topics_exist([home.topic], settings.kafka)
            try:
                await outbox.run(bell.heard["outbox"])
            finally:
                await asyncio.shield(outbox.release())

        yield Role(
            {
                "bell": bell.run,
                "outbox": publish,
                "knocks": lambda: knocks.run(bell.heard["knocks"]),
                "revival": lambda: delivery.revive(knock_open),
            },
            port=settings.health.port,
        )


async def _topics_exist(topics: Sequence[str], settings: KafkaSettings) -> None:
    while True:
        try:
            await kafka.ensure_topics(settings, topics)
        except Unavailable:
            await asyncio.sleep(settings.retry_pause_seconds)
        else:
            return


def work(worker: Worker, settings: Blocks) -> Role:
    """The worker polls its queue until the role ends; running activities get their grace."""
    return Role({"worker": worker.run}, port=settings.health.port)


@asynccontextmanager
async def consume(
    name: str, topics: Sequence[str], effect: Effect, settings: Blocks, health: Health
) -> AsyncGenerator[Role]:
    """Each event of the topics has its effect once, in the order of its stream."""
    async with Database(settings.postgres, name) as database:
        inbox = Inbox(database, name, effect)
        consumer = Consumer(settings.kafka, topics, inbox.apply, progress=health.watch("consumer"))

        async def read() -> None:
            await _topics_exist(topics, settings.kafka)
            await consumer.run()

        yield Role({"consumer": read}, port=settings.health.port)


@asynccontextmanager
async def together(*roles: AbstractAsyncContextManager[Role]) -> AsyncGenerator[Role]:
    """Several roles in one process; the door is that of the one that has a door."""
    async with AsyncExitStack() as opened:
        all_of_them = [await opened.enter_async_context(role) for role in roles]
        loops = {name: loop for role in all_of_them for name, loop in role.loops.items()}
        door = next((role for role in all_of_them if role.door is not None), all_of_them[0])
        yield Role(loops, door=door.door, host=door.host, port=door.port)
