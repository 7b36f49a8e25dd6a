"""Sends records so that an acknowledged one is stored, and those of one order in the order they were given.

FastStream acknowledges by one replica, puts the keyed messages of a batch into one random partition, and
gives no hold of its producer; this is the producer beneath it, told everything: all replicas, idempotent, key
and partition. No transactions: aiokafka speaks version 0 of that protocol.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, Self, cast

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
from opentelemetry.trace import Span, SpanKind

from contracts.chassis import telemetry
from contracts.chassis.errors import TandemError, Unavailable, Unsendable
from contracts.chassis.kafka.connection import connection, partitions_of
from contracts.chassis.settings import KafkaSettings

log = structlog.get_logger()

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

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._give_up()

    async def send(self, records: Sequence[OutgoingRecord]) -> list[BaseException | None]:
        """For each record None when all replicas have it, Unsendable when they never will, else Unavailable.

        After a record failed, no later one of its key is sent: the next one of a key goes out only when the
        one before is stored. Records of different keys are on their way together."""
        outcomes: list[BaseException | None] = [None] * len(records)
        failed: set[str] = set()
        for wave in _waves(records):
            open_ones = [index for index in wave if records[index].key not in failed]
            for index in set(wave).difference(open_ones):
                outcomes[index] = Unavailable("an earlier record of this key was not sent")
            results = await self._send_together([records[index] for index in open_ones])
            for index, outcome in zip(open_ones, results, strict=True):
                outcomes[index] = outcome
                if outcome is not None:
                    failed.add(records[index].key)
        return outcomes

    async def _send_together(self, records: Sequence[OutgoingRecord]) -> list[TandemError | None]:
        try:
            producer = await self._started({record.topic for record in records})
        except Unavailable as error:
            return [error] * len(records)
        sending = [asyncio.ensure_future(await self._begin(producer, record)) for record in records]
        if sending:
            # Our own limit: an idempotent producer of aiokafka never gives a record up by itself.
            await asyncio.wait(sending, timeout=self._settings.request_timeout_seconds)
        outcomes = [_outcome(future) for future in sending]
        if any(isinstance(outcome, Unavailable) for outcome in outcomes):
            log.warning("kafka producer is made anew", count=sum(outcome is not None for outcome in outcomes))
            await self._give_up()
        return outcomes

    async def _begin(self, producer: AIOKafkaProducer, record: OutgoingRecord) -> asyncio.Future[Any]:
        """The record is in the producer's buffer; what is returned is done when it is stored."""
        stored = record.headers.get("traceparent") or record.headers.get("ce_traceparent")
        with telemetry.attached(stored), _span(record) as span:
            here = telemetry.current_traceparent() if span.is_recording() else stored
            headers = {**record.headers, **({"traceparent": here} if here else {})}
            try:
                buffered = await producer.send(
                    record.topic,
                    record.body,
                    key=record.key.encode(),
                    partition=record.bucket % self._partitions[record.topic],
                    headers=[(name, value.encode()) for name, value in headers.items()],
                )
                return cast("asyncio.Future[Any]", buffered)
            except Exception as error:
                refused: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
                refused.set_exception(error)
                return refused

    async def _started(self, topics: set[str]) -> AIOKafkaProducer:
        if unknown := topics - self._partitions.keys():
            self._partitions.update(await partitions_of(self._settings, unknown))
        if self._producer is None:
            producer = AIOKafkaProducer(
                **connection(self._settings),
                acks="all",
                enable_idempotence=True,
                max_batch_size=64 * 1024,
            )
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
    if error is None:
        return None
    kind = Unsendable if isinstance(error, _HOPELESS) else Unavailable
    return kind(type(error).__name__)


def _waves(records: Sequence[OutgoingRecord]) -> list[list[int]]:
    """Indices by turn: the first record of each key, then the second of each, and so on."""
    waves: list[list[int]] = []
    seen: dict[str, int] = {}
    for index, record in enumerate(records):
        turn = seen.get(record.key, 0)
        seen[record.key] = turn + 1
        if turn == len(waves):
            waves.append([])
        waves[turn].append(index)
    return waves
