"""Reads a topic from its end, a page of one partition at a time, and leaves no trace: no group, no commit."""

# aiokafka has no types of its own.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from contracts.chassis.errors import Unavailable
from contracts.chassis.kafka.connection import connection, partitions_of
from contracts.chassis.kafka.records import IncomingRecord, incoming
from contracts.chassis.settings import KafkaSettings

PAGE = 100
"""Records of one partition; what a start reads when all is well."""
_WAIT_MS = 20
"""The broker answers whoever asks for more than there is after so long."""


class Backwards:
    """A topic as it was when we came."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        bounds: Mapping[TopicPartition, tuple[int, int]],
        patience_seconds: float,
    ) -> None:
        self._consumer = consumer
        self._bounds = {part.partition: (part, *bound) for part, bound in bounds.items()}
        self._patience_seconds = patience_seconds

    @property
    def partitions(self) -> Sequence[int]:
        return sorted(self._bounds)

    async def before(self, partition: int, offset: int | None = None) -> Sequence[IncomingRecord]:
        """The records just before this one, or the last ones, oldest first; none at the beginning."""
        part, first, end = self._bounds[partition]
        end = end if offset is None else offset
        begin = max(first, end - PAGE)
        found: list[IncomingRecord] = []
        if begin >= end:
            return found
        self._consumer.assign([part])
        self._consumer.seek(part, begin)
        async with asyncio.timeout(self._patience_seconds):
            while await self._consumer.position(part) < end:
                read = await self._consumer.getmany(part, timeout_ms=_WAIT_MS * 10)
                found += [incoming(record) for record in read.get(part, ())]
        return [record for record in found if record.offset < end]


@asynccontextmanager
async def read_backwards(settings: KafkaSettings, topic: str) -> AsyncGenerator[Backwards]:
    """The topic can be read from its end. Raises Unavailable when the broker does not answer."""
    count = (await partitions_of(settings, [topic]))[topic]
    parts = [TopicPartition(topic, number) for number in range(count)]
    consumer = AIOKafkaConsumer(
        **connection(settings),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=_WAIT_MS,
    )
    try:
        async with asyncio.timeout(settings.request_timeout_seconds):
            await consumer.start()
            consumer.assign(parts)
            firsts, ends = await consumer.beginning_offsets(parts), await consumer.end_offsets(parts)
        bounds = {part: (firsts[part], ends[part]) for part in parts}
        yield Backwards(consumer, bounds, settings.request_timeout_seconds)
    except (KafkaError, OSError, TimeoutError) as error:
        raise Unavailable("Kafka does not answer") from error
    finally:
        await consumer.stop()
