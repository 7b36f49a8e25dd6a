"""The relay: rows leave the database, to Kafka and to our own workflows."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import LiteralString

from contracts.chassis import put_back
from contracts.chassis.backlog import Backlog
from contracts.chassis.kafka.backwards import read_backwards
from contracts.chassis.kafka.publisher import Publisher
from contracts.chassis.knocks import KnockRelay
from contracts.chassis.lifecycle import Health, Role
from contracts.chassis.outbox import OutboxRelay
from contracts.chassis.postgres import Database, Listener
from contracts.chassis.reconciler import Finding, Kind, Reconciler, knocking
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
    """The first one has all its facts."""
    source: str
    """Who tells them, on that topic."""
    stream_of: Callable[[str], str]
    """From what a workflow is about to its stream."""
    open_ones: LiteralString
    """A query for the `id`s, among `%(ids)s`, whose stream has not ended."""


async def knock_open(home: Home, database: Database, ended: Mapping[str, str]) -> int:
    """Each of these workflows whose stream has not ended is knocked; how many that were.

    `ended` names the run that was ended of each, for which it is knocked once, whoever else finds it."""
    ours = {name: of for name in ended if (of := _argument(home.target, name))}
    rows = await database.fetch(home.open_ones, ids=list(ours.values()))
    is_open = {row["id"] for row in rows}
    cases = [
        _case(name, of, home.stream_of(of), ended[name]) for name, of in sorted(ours.items()) if of in is_open
    ]
    reconciler = Reconciler(database, [])
    return sum([await reconciler.settle(case) for case in cases])


def _case(workflow_id: str, subject: str, stream: str, run_id: str) -> Finding:
    return Finding(
        Kind.WORKFLOW_ENDED,
        subject,
        stream,
        f"{workflow_id} was ended from outside",
        {"runId": run_id},
        mark=run_id,
        repair=knocking(workflow_id),
        is_for_a_person=False,
    )


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
        progress = health.watch("outbox")

        async def compare() -> None:
            async with read_backwards(settings.kafka, home.topics[0]) as log:
                await put_back.compare(database, log, home.source, progress)

        outbox = OutboxRelay(
            database,
            publisher.send,
            settings.relay,
            cluster_id=publisher.cluster_id,
            compare=compare,
            progress=progress,
        )
        knocking = KnockRelay(database, delivery.deliver, settings.relay, health.watch("knocks"))

        async def revive(ended: Mapping[str, str]) -> int:
            return await knock_open(home, database, ended)

        async def publish() -> None:
            await topics_exist(home.topics, settings.kafka, progress)
            try:
                await outbox.run(bell.heard["outbox"])
            finally:
                await asyncio.shield(outbox.release())

        yield Role(
            {
                "bell": bell.run,
                "outbox": publish,
                "knocks": lambda: knocking.run(bell.heard["knocks"]),
                "backlog": Backlog(database, settings.exceptions).run,
                "revival": lambda: delivery.revive(revive),
            },
            port=settings.health.port,
        )
