"""Reads records so that none is passed over: an offset is committed only after its handler returned.

FastStream by default acknowledges first, starts at the newest record and repeats a failing batch without a
pause; here a failing batch stays in hand and is given again after a pause that grows, and a partition changes
hands only between two tries.

Measured on the embedded broker, which answers an empty fetch only when its wait is over: a wait of 5 ms costs
7.5 % of a core for each idle consumer, 20 ms 3.7 %, 50 ms 1.3 %, 100 ms 0.8 %. Two consumers must leave room
in an idle budget of 3 %, so 150 ms; with 100 ms a lone record was handled after 55 ms (p50) to 100 ms. Apache
Kafka answers as soon as there is a record, whatever the wait is.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, cast

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaMessage
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from contracts.chassis.kafka.connection import RETRY_BACKOFF_MS
from contracts.chassis.kafka.records import IncomingRecord, incoming
from contracts.chassis.settings import KafkaSettings

log = structlog.get_logger()

_PAUSE_LIMIT_SECONDS = 30.0
_GRACE_SECONDS = 3.0
_WATCH_SECONDS = 2.0
# FastStream polls for this long and then sleeps as long without polling.
_POLL_MS = 50


Handler = Callable[[Sequence[IncomingRecord]], Awaitable[None]]


class Consumer:
    """One member of the group, reading all its topics into one handler, one batch at a time."""

    def __init__(
        self,
        settings: KafkaSettings,
        topics: Sequence[str],
        handler: Handler,
        *,
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._handler = handler
        self._progress = progress
        self._handling = asyncio.Lock()
        self._trying = False
        self._next: dict[TopicPartition, int] = {}
        """Of each partition the first record that is not handled, as far as we had one in hand."""
        self._broker = KafkaBroker(
            settings.servers.split(","),
            # Joining a group is one request that the broker holds until the other members are there.
            request_timeout_ms=40_000,
            retry_backoff_ms=RETRY_BACKOFF_MS,
            security=_security(settings),
            consumer_only=True,
            apply_types=False,
            graceful_timeout=_GRACE_SECONDS,
            logger=None,
        )
        self._subscriber = self._broker.subscriber(
            *topics,
            batch=True,
            group_id=settings.group,
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.MANUAL,
            # Kafka's least. The embedded broker lets a member that comes back wait a second less than this.
            session_timeout_ms=6_000,
            heartbeat_interval_ms=2_000,
            fetch_max_wait_ms=settings.fetch_max_wait_ms,
            batch_timeout_ms=_POLL_MS,
            max_records=settings.batch_records,
            decoder=_undecoded,
            listener=HandOver(self._handling, self._next),
        )
        self._subscriber(self._take)

    async def run(self) -> None:
        """Reads until cancelled; a broker that is away is asked again and again."""
        try:
            await self._start()
            while True:
                # A handler that hangs makes no progress; one that fails and is tried again does.
                if not self._trying and any(not task.done() for task in self._subscriber.tasks):
                    self._progress()
                await asyncio.sleep(_WATCH_SECONDS)
        finally:
            await self._broker.stop()

    def lag(self) -> int:
        """Records of our partitions that are not handled yet, as far as the last fetch knows."""
        consumer = self._subscriber.consumer
        if consumer is None:
            return 0
        behind = 0
        for partition in consumer.assignment():
            end = consumer.highwater(partition) or 0
            behind += max(0, end - self._next.get(partition, end))
        return behind

    async def _start(self) -> None:
        pause = self._settings.retry_pause_seconds
        while True:
            try:
                await self._broker.start()
            except (KafkaError, OSError) as error:
                log.warning("kafka does not answer", error=error, seconds=pause)
                await self._broker.stop()
                self._progress()
                await asyncio.sleep(pause)
                pause = min(pause * 2, _PAUSE_LIMIT_SECONDS)
            else:
                return

    async def _take(self, batch: tuple[ConsumerRecord[bytes, bytes], ...]) -> None:
        """The batch is handled and committed, or belongs to another member by now."""
        pause = self._settings.retry_pause_seconds
        while True:
            async with self._handling:
                mine = self._still_ours(batch)
                if not mine or await self._try(mine):
                    return
            await asyncio.sleep(pause)
            pause = min(pause * 2, _PAUSE_LIMIT_SECONDS)

    def _still_ours(
        self, batch: Sequence[ConsumerRecord[bytes, bytes]]
    ) -> dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]]:
        consumer = self._subscriber.consumer
        assigned = consumer.assignment() if consumer else frozenset[TopicPartition]()
        mine: dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]] = {}
        for record in batch:
            partition = TopicPartition(record.topic, record.partition)
            if partition in assigned:
                mine.setdefault(partition, []).append(record)
        return mine

    async def _try(self, mine: Mapping[TopicPartition, list[ConsumerRecord[bytes, bytes]]]) -> bool:
        for partition, records in mine.items():
            self._next[partition] = records[0].offset
        self._progress()
        self._trying = True
        try:
            await self._handler([incoming(record) for records in mine.values() for record in records])
        except Exception as error:
            log.warning("records are handled again later", count=sum(map(len, mine.values())), error=error)
            return False
        finally:
            self._trying = False
        await self._commit({partition: records[-1].offset + 1 for partition, records in mine.items()})
        return True

    async def _commit(self, offsets: dict[TopicPartition, int]) -> None:
        """What is not committed, because the group moved on without us, is handled again by its new owner."""
        self._next.update(offsets)
        consumer = cast("AIOKafkaConsumer", self._subscriber.consumer)
        try:
            await consumer.commit(offsets)
        except (KafkaError, OSError) as error:
            log.warning("offsets were not committed", error=error)


class HandOver(ConsumerRebalanceListener):
    """Lets go of partitions only when no batch is being handled, and of what we knew of them.

    What comes back was handled by another member meanwhile: our place in it would count that as lag."""

    def __init__(self, handling: asyncio.Lock, places: dict[TopicPartition, int]) -> None:
        self._handling = handling
        self._places = places

    async def on_partitions_revoked(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, revoked: Collection[TopicPartition]
    ) -> None:
        async with self._handling:
            pass

    async def on_partitions_assigned(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, assigned: Collection[TopicPartition]
    ) -> None:
        self._places.clear()


async def _undecoded(message: KafkaMessage) -> Any:
    """A record that is not JSON is the handler's to judge, like any other."""
    return message.raw_message


def _security(settings: KafkaSettings) -> BaseSecurity | None:
    """What FastStream needs to be let in; None for a broker that lets everybody in."""
    use_ssl = settings.security_protocol.endswith("SSL")
    if settings.security_protocol.startswith("SASL"):
        kinds = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}
        password = settings.password.get_secret_value() if settings.password else ""
        return kinds[settings.sasl_mechanism](settings.username or "", password, use_ssl=use_ssl)
    return BaseSecurity(use_ssl=True) if use_ssl else None
