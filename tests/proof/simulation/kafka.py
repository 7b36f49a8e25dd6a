"""A Kafka broker in memory: partitions, a group's offsets and its members, and sends that go wrong.

Records leave through the relay's own `Send` and arrive in our own Consumer; no library is between.
"""

# pyright: reportPrivateUsage=false, reportMissingTypeStubs=false
# Our Consumer makes its library's subscriber itself; here it is given another one.

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError

from contracts.chassis.errors import Unavailable
from contracts.chassis.kafka.consumer import Consumer, Handler
from contracts.chassis.outbox import OutboxRow
from contracts.chassis.settings import KafkaSettings
from tests.proof.simulation.scheduler import Scheduler, point

Sent = Literal["ok", "lost", "away"]
"""lost: stored, but nobody is told. away: not stored."""
PARTITIONS = 4
SETTINGS = KafkaSettings()


@dataclass(frozen=True, slots=True)
class Stored:
    """The twin of aiokafka's ConsumerRecord."""

    topic: str
    partition: int
    offset: int
    key: bytes
    headers: Sequence[tuple[str, bytes]]
    value: bytes


@dataclass
class Broker:
    """All topics, and how the next sends go."""

    scheduler: Scheduler
    behaviours: list[Sent] = field(default_factory=list[Sent])
    partitions: dict[TopicPartition, list[Stored]] = field(default_factory=dict[TopicPartition, list[Stored]])
    on_stored: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])

    async def send(self, rows: Sequence[OutboxRow]) -> list[BaseException | None]:
        """As our Publisher does: each partition's records are stored together or not at all."""
        await point("")
        outcomes: dict[int, BaseException | None] = {}
        for partition, batch in _by_partition(rows).items():
            behaviour = self.behaviours.pop(0) if self.behaviours else "ok"
            if behaviour != "away":
                self._store(partition, batch)
            failed = Unavailable("Kafka did not acknowledge in time") if behaviour != "ok" else None
            outcomes |= {row.id: failed for row in batch}
            await point("")
        return [outcomes[row.id] for row in rows]

    def _store(self, partition: TopicPartition, batch: Sequence[OutboxRow]) -> None:
        records = self.partitions.setdefault(partition, [])
        for row in batch:
            headers = [(name, value.encode()) for name, value in row.headers.items()]
            place = (partition.topic, partition.partition, len(records))
            records.append(Stored(*place, row.key.encode(), headers, row.body))
        for told in self.on_stored:
            told()


def _by_partition(rows: Sequence[OutboxRow]) -> Mapping[TopicPartition, Sequence[OutboxRow]]:
    batches: dict[TopicPartition, list[OutboxRow]] = {}
    for row in rows:
        batches.setdefault(TopicPartition(row.topic, row.bucket % PARTITIONS), []).append(row)
    return batches


@dataclass
class Group:
    """Who reads which partition of a topic, and how far the group has come."""

    broker: Broker
    topics: Sequence[str]
    members: int = 1
    shift: int = 0
    """Grows by one whenever the partitions change hands."""
    committed: dict[TopicPartition, int] = field(default_factory=dict[TopicPartition, int])

    def owner(self, partition: TopicPartition) -> int:
        return (partition.partition + self.shift) % self.members

    def rewind(self, by: int) -> None:
        """Somebody has set the group's offsets back."""
        self.committed = {place: max(0, offset - by) for place, offset in self.committed.items()}

    @property
    def lag(self) -> int:
        return sum(
            len(records) - self.committed.get(place, 0)
            for place, records in self.broker.partitions.items()
            if place.topic in self.topics
        )

    def next_batch(self, member: int, most: int) -> Sequence[Stored]:
        """What the member has not read of the first of its partitions that has something."""
        for place, records in self.broker.partitions.items():
            since = self.committed.get(place, 0)
            if place.topic in self.topics and self.owner(place) == member and since < len(records):
                return records[since : since + most]
        return []


class Member:
    """The twin of aiokafka's AIOKafkaConsumer, as far as ours uses it, and of the subscriber that has it."""

    def __init__(self, group: Group, number: int) -> None:
        self._group = group
        self._number = number

    @property
    def consumer(self) -> "Member":
        return self

    def assignment(self) -> frozenset[TopicPartition]:
        places = self._group.broker.partitions
        return frozenset(place for place in places if self._group.owner(place) == self._number)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        if not self.assignment().issuperset(offsets):
            raise CommitFailedError
        self._group.committed.update(offsets)
        await point("")


class OurConsumer(Consumer):
    """Our own, on a member that reads from memory."""

    def __init__(self, member: Member, handler: Handler) -> None:
        self._settings = SETTINGS
        self._handler = handler
        self._progress = lambda: None
        self._handling = asyncio.Lock()
        self._trying = False
        self._next = {}
        self._subscriber = cast("Any", member)

    async def take(self, batch: Sequence[Stored]) -> None:
        """The batch is handled and committed, or belongs to another member by now."""
        await self._take(tuple(cast("ConsumerRecord[bytes, bytes]", each) for each in batch))
