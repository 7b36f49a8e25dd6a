"""Relays and consumers of one service in the simulation: our own classes, in loops that can be killed.

The loops are the simulation's: ours wake up every few seconds for safety's sake, which in sixty days of
virtual time would be all that happens. Here one goes on when a bell rings, or when a moment has come.
"""

from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any, cast

from contracts.chassis import knocks, outbox
from contracts.chassis.errors import TandemError
from contracts.chassis.inbox import Effect, Inbox
from contracts.chassis.knocks import DueKnock, KnockRelay
from contracts.chassis.outbox import OutboxRelay
from contracts.chassis.postgres import Database
from contracts.chassis.settings import RelaySettings
from contracts.chassis.temporal import Delivery
from tests.proof.simulation.database import Database as Twin
from tests.proof.simulation.kafka import Broker, Group, Member, OurConsumer
from tests.proof.simulation.scheduler import Gate, Scheduler, opened, point, sleep

RESTART_SECONDS = 5.0
SETTINGS = RelaySettings()
LARGEST_BATCH = 8
SECOND = timedelta(seconds=1)
Loop = Callable[[Gate], Coroutine[Any, Any, None]]


class Machinery:
    """What moves rows out of one service's database, and what it reads from Kafka."""

    def __init__(self, name: str, scheduler: Scheduler, twin: Twin, delivery: Delivery) -> None:
        self.name = name
        self._scheduler = scheduler
        self._twin = twin
        self._delivery = delivery
        self._loops: dict[str, list[tuple[str, Loop]]] = {}
        """By worker: the bell it listens to, and what it does."""
        self._gates: dict[str, list[Gate]] = {}
        """By bell."""
        self._dead: set[str] = set()
        self._lives = 0
        self._knocks = 0
        scheduler.on_kill.append(self._died)
        self._run(f"{name}-relay", knocks.CHANNEL, self._knocking)

    @property
    def workers(self) -> Sequence[str]:
        """The names of its processes."""
        return list(self._loops)

    @property
    def _database(self) -> Database:
        return cast("Database", self._twin)

    def rung(self, channel: str) -> None:
        for gate in self._gates.get(channel, ()):
            gate.open()

    def publish_to(self, broker: Broker, relays: int) -> None:
        """So many relays share the outbox; the first one lives where the knocks leave."""
        for number in range(relays):
            worker = f"{self.name}-relay" + (f"-{number + 1}" if number else "")
            self._run(worker, outbox.CHANNEL, partial(self._publishing, broker))

    def consume(self, group: Group, consumer: str, effect: Effect, chance: Random) -> None:
        """The group's members apply what they read."""
        inbox = Inbox(self._database, consumer, effect)
        for number in range(group.members):
            worker = f"{self.name}-consumer" + (f"-{number + 1}" if number else "")
            self._run(worker, "records", partial(self._consuming, group, number, inbox, chance))
        group.broker.on_stored.append(lambda: self.rung("records"))

    @property
    def unpublished(self) -> int:
        return sum(1 for _ in self._twin.tables.all("outbox"))

    @property
    def undelivered(self) -> int:
        return sum(1 for _ in self._twin.tables.all("knocks"))

    # The loops.

    async def _knocking(self, gate: Gate) -> None:
        relay = _Knocks(self, self._database, self._delivery)
        while True:
            gate.close()
            if not await _tried(relay.turn):
                await self._until(gate, [row["due_at"] for row in self._twin.tables.all("knocks")])

    async def _publishing(self, broker: Broker, gate: Gate) -> None:
        self._lives += 1
        relay = OutboxRelay(
            self._database, broker.send, SETTINGS, owner=f"{self.name}-relay-life-{self._lives}"
        )
        while True:
            gate.close()
            if not await _tried(relay.turn):
                # Another one's bucket, a lease that has to run out, or a row that failed: soon again.
                soon = [self._soon()] if self.unpublished else []
                await self._until(gate, soon)

    async def _consuming(self, group: Group, number: int, inbox: Inbox, chance: Random, gate: Gate) -> None:
        consumer = OurConsumer(Member(group, number), inbox.apply)
        while True:
            gate.close()
            batch = group.next_batch(number, chance.randint(1, LARGEST_BATCH))
            if batch:
                await point("")
                await consumer.take(batch)
            else:
                await opened(gate)

    def _soon(self) -> Any:
        return self._scheduler.now + SECOND

    async def _until(self, gate: Gate, moments: Sequence[Any]) -> None:
        """The bell has rung, or the first of the moments has come."""
        if moments:
            self._scheduler.at(max(min(moments), self._scheduler.now), gate.open)
        await opened(gate)

    # Processes.

    def _run(self, worker: str, bell: str, loop: Loop) -> None:
        self._loops.setdefault(worker, []).append((bell, loop))
        self._begin(worker, bell, loop)

    def _begin(self, worker: str, bell: str, loop: Loop) -> None:
        gate = Gate()
        self._gates.setdefault(bell, []).append(gate)
        self._scheduler.spawn(loop(gate), "", worker)

    def _died(self, worker: str) -> None:
        if worker in self._loops and worker not in self._dead:
            self._dead.add(worker)
            self._scheduler.after(RESTART_SECONDS, lambda: self._restart(worker))

    def _restart(self, worker: str) -> None:
        self._dead.discard(worker)
        for bell, loop in self._loops[worker]:
            self._begin(worker, bell, loop)

    def knock_named(self) -> str:
        self._knocks += 1
        return f"{self.name}.knock#{self._knocks}"


class _Knocks(KnockRelay):
    """Ours, with a named point before each knock."""

    def __init__(self, machinery: Machinery, database: Database, delivery: Delivery) -> None:
        super().__init__(database, delivery.deliver, SETTINGS)
        self._machinery = machinery

    async def _try(self, knock: DueKnock) -> Exception | None:
        await point(self._machinery.knock_named())
        return await super()._try(knock)


async def _tried(turn: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """What the turn moved; nothing, after a pause, when the outside was away."""
    try:
        return await turn()
    except TandemError:
        await sleep(SETTINGS.backoff_seconds)
        return 0
