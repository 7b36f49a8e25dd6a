"""Sends records so that an acknowledged one is stored, and those of one order in the order they were given.

FastStream acknowledges by one replica, puts the keyed messages of a batch into one random partition, and
gives no hold of its producer; this is the producer beneath it, told everything: all replicas, idempotent, key
and partition. No transactions: aiokafka speaks version 0 of that protocol.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, Self, cast
from weakref import WeakSet

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.protocol.metadata import MetadataRequest
from opentelemetry.trace import Span, SpanKind

from contracts.chassis import telemetry
from contracts.chassis.errors import TandemError, Unavailable, Unsendable
from contracts.chassis.kafka.connection import cluster_id, connection, partitions_of
from contracts.chassis.settings import KafkaSettings

log = structlog.get_logger()

_LARGEST_BYTES = 1024 * 1024
"""Kafka's own default for a request."""
_HOPELESS = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidTopicError, TypeError, ValueError)


class OutgoingRecord(Protocol):
    """What the outbox keeps of a record."""

    @property
    def topic(self) -> str: ...
    @property
    def bucket(self) -> int: ...
    @property
    def key(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


class Publisher:
    """One producer, made when it is first needed and made anew after any failure of the broker."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._partitions: dict[str, int] = {}
        self._met: str | None = None
        """The only cluster that gets anything, once we have met one."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._give_up()

    async def cluster_id(self) -> str:
        """The name of the cluster behind the address, which from now on is the one that gets the records.

        Raises Unavailable when it does not answer."""
        met = await cluster_id(self._settings)
        if met != self._met:
            await self._give_up()
            self._met = met
        return met

    async def send(self, records: Sequence[OutgoingRecord]) -> list[BaseException | None]:
        """For each record None when all replicas have it, Unsendable when they never will, else Unavailable.

        After a record failed, no later one of its key is sent."""
        shipment = _Shipment(records)
        longest = max(len(records), 1)
        while waiting := shipment.waiting():
            try:
                producer = await self._started({records[index].topic for index in waiting})
            except Unavailable as error:
                shipment.settle(waiting, error)
                continue
            batches = self._batches(producer, shipment, waiting, longest)
            for batch, outcome in zip(batches, await self._send_together(producer, batches), strict=True):
                if isinstance(outcome, Unsendable) and len(batch.indices) > 1:
                    # The broker does not say which of them it refuses, so from now on each is alone.
                    longest = 1
                else:
                    shipment.settle(batch.indices, outcome)
        return shipment.outcomes

    def _batches(
        self, producer: AIOKafkaProducer, shipment: "_Shipment", waiting: Sequence[int], longest: int
    ) -> list["_Batch"]:
        """One batch for each partition; what comes after a full one waits for the next."""
        batches: dict[tuple[str, int], _Batch] = {}
        for index in waiting:
            record = shipment.records[index]
            place = (record.topic, record.bucket % self._partitions[record.topic])
            batch = batches.setdefault(place, _Batch(*place, producer.create_batch(), []))
            if batch.builder.closed() or record.key in shipment.failed:
                continue
            try:
                is_in = _append(batch.builder, record)
            except Exception as error:
                shipment.settle([index], _said(error))
                batch.builder.close()
                continue
            if is_in:
                batch.indices.append(index)
            if len(batch.indices) >= longest:
                batch.builder.close()
        return [batch for batch in batches.values() if batch.indices]

    async def _send_together(
        self, producer: AIOKafkaProducer, batches: Sequence["_Batch"]
    ) -> list[TandemError | None]:
        sending = [await self._begin(producer, batch) for batch in batches]
        if sending:
            # Our own limit: an idempotent producer of aiokafka never gives a batch up by itself.
            await asyncio.wait(sending, timeout=self._settings.request_timeout_seconds)
        outcomes = [_outcome(future) for future in sending]
        if any(isinstance(outcome, Unavailable) for outcome in outcomes):
            log.warning("kafka producer is made anew", count=sum(outcome is not None for outcome in outcomes))
            await self._give_up()
        return outcomes

    async def _begin(self, producer: AIOKafkaProducer, batch: "_Batch") -> asyncio.Future[Any]:
        """The batch is in the producer's buffer; what is returned is done when it is stored."""
        try:
            buffered = await producer.send_batch(batch.builder, batch.topic, partition=batch.partition)
            return cast("asyncio.Future[Any]", buffered)
        except Exception as error:
            refused: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            refused.set_exception(error)
            return refused

    async def _started(self, topics: set[str]) -> AIOKafkaProducer:
        if unknown := topics - self._partitions.keys():
            self._partitions.update(await partitions_of(self._settings, unknown))
        if self._producer is None:
            if self._met not in (None, await cluster_id(self._settings)):
                raise Unavailable("another Kafka cluster is there, which the relay has not met")
            producer = AIOKafkaProducer(
                **connection(self._settings),
                acks="all",
                enable_idempotence=True,
                max_batch_size=64 * 1024,
                max_request_size=_LARGEST_BYTES,
            )
            if self._met is not None:
                _stay_with(self._met, producer)
            try:
                async with asyncio.timeout(self._settings.request_timeout_seconds):
                    await producer.start()
            except (KafkaError, OSError, TimeoutError) as error:
                await producer.stop()
                raise Unavailable("Kafka does not answer") from error
            self._producer = producer
        return self._producer

    async def _give_up(self) -> None:
        """The producer is gone, and nothing that is still in its buffer will ever be sent by it.

        Its own stop would wait for the buffer to be sent, which may be when the broker is back: by then the
        relay has sent the records again."""
        producer, self._producer = self._producer, None
        self._partitions.clear()
        if producer is None:
            return
        sender = producer._sender  # pyright: ignore[reportPrivateUsage]
        if sender.sender_task is not None:
            sender.sender_task.cancel()
            await asyncio.wait([sender.sender_task])
        producer._message_accumulator.fail_all(KafkaError("given up"))  # pyright: ignore[reportPrivateUsage]
        await producer.stop()


def _stay_with(met: str, producer: AIOKafkaProducer) -> None:
    """Each new connection of the producer is asked whose it is before it carries anything.

    A broker that lost its log comes back behind the same address, and the producer would go on there: newer
    records would be first. So it reaches nobody, and is given up until the relay has met the other one."""
    connect: Callable[..., Any] = producer.client._get_conn  # pyright: ignore[reportPrivateUsage]
    trusted = WeakSet[Any]()

    async def trustworthy(node_id: Any, **how: Any) -> Any:
        link = await connect(node_id, **how)
        if link is None or link in trusted:
            return link
        try:
            answer = await link.send(MetadataRequest([]))
        except (KafkaError, OSError, TimeoutError):
            link.close()
            return None
        if str(answer.cluster_id) == met:
            trusted.add(link)
            return link
        log.warning("another kafka cluster behind the same address")
        link.close()
        producer._message_accumulator.fail_all(KafkaError("another cluster"))  # pyright: ignore[reportPrivateUsage]
        return None

    producer.client._get_conn = trustworthy  # pyright: ignore[reportPrivateUsage]


@dataclass(frozen=True, slots=True)
class _Batch:
    """Stored whole or not at all, so the order of its records holds.

    Record by record, each waiting for the one before, what a parcel's work stores in one transaction took
    twelve round trips."""

    topic: str
    partition: int
    builder: BatchBuilder
    indices: list[int]


class _Shipment:
    """What became of each record so far."""

    def __init__(self, records: Sequence[OutgoingRecord]) -> None:
        self.records = records
        self.failed: set[str] = set()
        """Keys of which nothing more is sent."""
        self._settled: dict[int, BaseException | None] = {}

    def settle(self, indices: Sequence[int], outcome: BaseException | None) -> None:
        for index in indices:
            self._settled[index] = outcome
            if outcome is not None:
                self.failed.add(self.records[index].key)

    def waiting(self) -> list[int]:
        """The records that are still to be sent, in order."""
        unsettled = [index for index in range(len(self.records)) if index not in self._settled]
        behind = [index for index in unsettled if self.records[index].key in self.failed]
        self.settle(behind, Unavailable("an earlier record of this key was not sent"))
        return [index for index in unsettled if index not in self._settled]

    @property
    def outcomes(self) -> list[BaseException | None]:
        return [self._settled[index] for index in range(len(self.records))]


def _append(batch: BatchBuilder, record: OutgoingRecord) -> bool:
    """False when the batch is full; raises when the record cannot be in any."""
    if len(record.body) >= _LARGEST_BYTES:
        raise MessageSizeTooLargeError
    added = batch.append(
        timestamp=None, key=record.key.encode(), value=record.body, headers=_headers_of(record)
    )
    return added is not None


def _headers_of(record: OutgoingRecord) -> list[tuple[str, bytes]]:
    """Those of the record, and the trace it was written in with a span for the sending."""
    stored = record.headers.get("traceparent") or record.headers.get("ce_traceparent")
    with telemetry.attached(stored), _span(record) as span:
        here = telemetry.current_traceparent() if span.is_recording() else stored
    headers = {**record.headers, **({"traceparent": here} if here else {})}
    return [(name, value.encode()) for name, value in headers.items()]


def _span(record: OutgoingRecord) -> AbstractContextManager[Span]:
    return telemetry.span(
        f"send {record.topic}",
        kind=SpanKind.PRODUCER,
        order_id=record.key,
        event_type=record.headers.get("ce_type"),
    )


def _outcome(future: asyncio.Future[Any]) -> TandemError | None:
    if not future.done():
        future.cancel()
        return Unavailable("Kafka did not acknowledge in time")
    error = future.exception()
    return None if error is None else _said(error)


def _said(error: BaseException) -> TandemError:
    kind = Unsendable if isinstance(error, _HOPELESS) else Unavailable
    return kind(type(error).__name__)
