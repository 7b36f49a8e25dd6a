"""The relay: rows leave the database, to Kafka and to our own workflows."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from contracts.chassis.kafka.connection import cluster_id
from contracts.chassis.kafka.publisher import Publisher
from contracts.chassis.knocks import KnockRelay
from contracts.chassis.lifecycle import Health, Role
from contracts.chassis.outbox import OutboxRelay
from contracts.chassis.postgres import Database, Listener
from contracts.chassis.roles import Blocks, topics_exist
from contracts.chassis.settings import Profile
from contracts.chassis.temporal.delivery import Delivery, Target
from contracts.chassis.temporal.wiring import connect


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
        client = await connect(home.profile, settings.temporal, lazy=True)
        delivery = Delivery(client, home.target)
        bell = Listener(database.conninfo, "outbox", "knocks")
        outbox = OutboxRelay(
            database,
            publisher.send,
            settings.relay,
            cluster_id=lambda: cluster_id(settings.kafka),
            progress=health.watch("outbox"),
        )
        knocks = KnockRelay(database, delivery.deliver, settings.relay, health.watch("knocks"))

        async def knock_open(workflow_ids: Sequence[str]) -> int:
            return await home.knock_open(database, workflow_ids)

        async def publish() -> None:
            await topics_exist([home.topic], settings.kafka)
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
