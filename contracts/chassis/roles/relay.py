"""The relay: rows leave the database, to Kafka and to our own workflows."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import LiteralString

from contracts.chassis import knocks
from contracts.chassis.backlog import Backlog
from contracts.chassis.kafka.connection import cluster_id
from contracts.chassis.kafka.publisher import Publisher
from contracts.chassis.knocks import Knock, KnockRelay
from contracts.chassis.lifecycle import Health, Role
from contracts.chassis.outbox import OutboxRelay
from contracts.chassis.postgres import Database, Listener
from contracts.chassis.roles import ServiceSettings, topics_exist
from contracts.chassis.settings import Profile
from contracts.chassis.temporal.delivery import Delivery, Target
from contracts.chassis.temporal.wiring import connect


@dataclass(frozen=True, slots=True)
class Home:
    """What a service calls its own: its namespace, its kind of workflow and the topics it writes."""

    profile: Profile
    target: Target
    topics: Sequence[str]
    open_ones: LiteralString
    """A query for the `id`s, among `%(ids)s`, whose stream has not ended."""
    exceptions: LiteralString
    """A query for how many `exceptions` wait for a person."""


async def knock_open(home: Home, database: Database, workflow_ids: Sequence[str]) -> int:
    """Each of these workflows whose stream has not ended is knocked; how many that were."""
    ours = {name: of for name in workflow_ids if (of := _argument(home.target, name))}
    async with database.transaction() as connection:
        rows = await connection.execute(home.open_ones, {"ids": list(ours.values())})
        is_open = {row["id"] for row in await rows.fetchall()}
        knocked = [name for name, of in ours.items() if of in is_open]
        for name in knocked:
            await knocks.add(connection, Knock(name))
    return len(knocked)


def _argument(target: Target, workflow_id: str) -> str | None:
    """What the workflow is about; None for one that somebody started under a name that is not ours."""
    with suppress(ValueError):
        return target.argument_of(workflow_id)
    return None


@asynccontextmanager
async def relay(home: Home, settings: ServiceSettings, health: Health) -> AsyncGenerator[Role]:
    """Rows leave the database: the outbox to Kafka, knocks to our own namespace; what waits is measured."""
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
        knocking = KnockRelay(database, delivery.deliver, settings.relay, health.watch("knocks"))

        async def revive(workflow_ids: Sequence[str]) -> int:
            return await knock_open(home, database, workflow_ids)

        async def publish() -> None:
            await topics_exist(home.topics, settings.kafka)
            try:
                await outbox.run(bell.heard["outbox"])
            finally:
                await asyncio.shield(outbox.release())

        yield Role(
            {
                "bell": bell.run,
                "outbox": publish,
                "knocks": lambda: knocking.run(bell.heard["knocks"]),
                "backlog": Backlog(database, home.exceptions).run,
                "revival": lambda: delivery.revive(revive),
            },
            port=settings.health.port,
        )
