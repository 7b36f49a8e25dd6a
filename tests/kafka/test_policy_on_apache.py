"""The policy once more, on a broker of production's kind: groups of two, rebalances, sixteen partitions."""

import asyncio
from collections.abc import Sequence

import pytest

from contracts.chassis.errors import Unavailable
from contracts.chassis.kafka.connection import ensure_topics
from contracts.chassis.kafka.publisher import Publisher
from contracts.chassis.kafka.records import IncomingRecord
from contracts.chassis.settings import KafkaSettings
from tests.integration.test_kafka_policy import *  # noqa: F403
from tests.integration.test_kafka_policy import Record, eventually, reading


class Ledger:
    """Shared by the members of a group: who has a record in hand, and what was done."""

    def __init__(self) -> None:
        self.in_hand: set[tuple[int, int]] = set()
        self.done: list[bytes] = []
        self.collisions = 0

    async def handle(self, records: Sequence[IncomingRecord]) -> None:
        names = {(record.partition, record.offset) for record in records}
        self.collisions += len(names & self.in_hand)
        self.in_hand |= names
        await asyncio.sleep(0.05)
        self.in_hand -= names
        self.done += [record.value for record in records]


async def test_a_partition_changes_hands_between_batches(settings: KafkaSettings, topic: str):
    """Members come and go while records flow: all are handled, none by two members at a time."""
    ledger, small = Ledger(), settings.model_copy(update={"batch_records": 5})
    flow = asyncio.create_task(steadily(small, topic, 300))
    async with reading(small, [topic], ledger.handle):
        await eventually(lambda: len(ledger.done) > 20)
        async with reading(small, [topic], ledger.handle):
            await eventually(lambda: len(ledger.done) > 120, within_seconds=40)
        await flow
        await eventually(lambda: set(ledger.done) == {str(n).encode() for n in range(300)}, 40)
    assert ledger.collisions == 0


async def test_a_topic_that_the_cluster_cannot_make_is_told_with_the_reason(
    settings: KafkaSettings, topic: str
):
    """A name that it does not take: that is not a topic that is about to appear."""
    with pytest.raises(Unavailable, match=r"no topic a name \(InvalidTopicError\) yet"):
        await ensure_topics(settings, [topic, "a name"])


async def steadily(settings: KafkaSettings, topic: str, count: int) -> None:
    async with Publisher(settings) as publisher:
        for n in range(count):
            assert await publisher.send([Record(f"ORD-{n % 20}", str(n).encode(), topic)]) == [None]
            await asyncio.sleep(0.03)
