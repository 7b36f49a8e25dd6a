"""Kafka's policy: what is acknowledged is stored, in order; what is read is handled before it is passed."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import INVALID_SPAN_CONTEXT
from structlog.testing import capture_logs

from contracts.chassis import telemetry
from contracts.chassis.errors import Unavailable, Unsendable
from contracts.chassis.kafka import backwards
from contracts.chassis.kafka.backwards import read_backwards
from contracts.chassis.kafka.buckets import bucket_of
from contracts.chassis.kafka.connection import cluster_id, ensure_topics
from contracts.chassis.kafka.consumer import Consumer, Handler
from contracts.chassis.kafka.publisher import Publisher
from contracts.chassis.kafka.records import IncomingRecord, record_span
from contracts.chassis.roles import topics_exist
from contracts.chassis.settings import KafkaSettings, TelemetrySettings
from contracts.chassis.telemetry.tracing import configure_tracing
from tests.proof.chaos.proxy import Proxy

MOCK = """
import signal
from confluent_kafka import Producer
owner = Producer({"test.mock.num.brokers": 1, "log_level": 3})
broker = next(iter(owner.list_topics(timeout=10).brokers.values()))
print(f"{broker.host}:{broker.port}", flush=True)
signal.pause()
"""


@dataclass(frozen=True)
class Record:
    key: str
    body: bytes
    topic: str = "orders.events.v1"
    headers: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def bucket(self) -> int:
        return bucket_of(self.key)


class EmbeddedBroker:
    """A broker of the test's own, to be killed."""

    def __enter__(self) -> tuple[str, subprocess.Popen[str]]:
        self._process = subprocess.Popen([sys.executable, "-c", MOCK], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip(), self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def topic() -> str:
    """A topic of the test's own."""
    return f"test.{uuid4().hex[:8]}"


def settings_for(servers: str, **changes: object) -> KafkaSettings:
    return KafkaSettings.model_validate(
        {"servers": servers, "group": f"g-{uuid4().hex[:8]}", "retry_pause_seconds": 0.05} | changes
    )


@pytest.fixture
async def settings(kafka_servers: str, topic: str) -> KafkaSettings:
    settings = settings_for(kafka_servers)
    await ensure_topics(settings, [topic])
    return settings


class Shelf:
    """A handler that keeps what it was given, and fails as often as it is told to."""

    def __init__(self, failures: int = 0, seconds: float = 0.0) -> None:
        self.records: list[IncomingRecord] = []
        self.tries = 0
        self._failures, self._seconds = failures, seconds

    async def __call__(self, records: Sequence[IncomingRecord]) -> None:
        self.tries += 1
        await asyncio.sleep(self._seconds)
        if self.tries <= self._failures:
            raise RuntimeError("not now")
        self.records += records

    @property
    def bodies(self) -> list[bytes]:
        return [record.value for record in self.records]


@asynccontextmanager
async def reading(settings: KafkaSettings, topics: Sequence[str], shelf: Handler) -> AsyncGenerator[Consumer]:
    consumer = Consumer(settings, topics, shelf)
    task = asyncio.create_task(consumer.run())
    try:
        yield consumer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def eventually(is_so: Callable[[], bool], within_seconds: float = 20.0) -> None:
    async with asyncio.timeout(within_seconds):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def publish(settings: KafkaSettings, *records: Record) -> None:
    async with Publisher(settings) as publisher:
        assert await publisher.send(records) == [None] * len(records)


def test_buckets_are_those_of_kafkas_partitioner():
    """An order's bucket is frozen: these values are the Java client's."""
    assert [bucket_of(key) for key in ("ORD-1", "ORD-2", "a", "")] == [12, 8, 12, 9]


async def test_records_of_an_order_arrive_in_order(settings: KafkaSettings, topic: str):
    """Forty orders, ten records each: one partition per order, and the order they were given in."""
    records = [Record(f"ORD-{n % 40}", str(n).encode(), topic) for n in range(400)]
    await publish(settings, *records)
    shelf = Shelf()
    async with reading(settings, [topic], shelf):
        await eventually(lambda: len(shelf.records) == 400)
    by_order: dict[bytes | None, list[IncomingRecord]] = {}
    for record in shelf.records:
        by_order.setdefault(record.key, []).append(record)
    for key, found in by_order.items():
        assert [int(record.value) for record in found] == sorted(int(record.value) for record in found)
        assert len({record.partition for record in found}) == 1, key


async def test_headers_and_key_arrive_as_given(settings: KafkaSettings, topic: str):
    """What the outbox stored is what a reader gets."""
    await publish(settings, Record("ORD-1", b"{}", topic, {"ce_id": "7", "content-type": "application/json"}))
    shelf = Shelf()
    async with reading(settings, [topic], shelf):
        await eventually(lambda: bool(shelf.records))
    (record,) = shelf.records
    assert (record.topic, record.key, record.value) == (topic, b"ORD-1", b"{}")
    assert {name: record.headers[name] for name in ("ce_id", "content-type")} == {
        "ce_id": b"7",
        "content-type": b"application/json",
    }


async def test_a_hopeless_record_blocks_its_own_order_only(settings: KafkaSettings, topic: str):
    """A record too large for the broker is named as such; later ones of its order wait, others pass."""
    records = [
        Record("ORD-1", b"x" * 2_000_000, topic),
        Record("ORD-2", b"2", topic),
        Record("ORD-1", b"1", topic),
    ]
    async with Publisher(settings) as publisher:
        first, second, third = await publisher.send(records)
    assert isinstance(first, Unsendable)
    assert second is None
    assert isinstance(third, Unavailable)


async def test_more_than_a_batch_holds_stays_in_order(settings: KafkaSettings, topic: str):
    """One order's records that fill several batches, another's that is refused too."""
    bodies = [b"%05d" % n + b"x" * 3000 for n in range(100)]
    records: list[Record] = [Record("ORD-1", body, topic) for body in bodies]
    refused = [Record("ORD-2", b"x" * 2_000_000, topic), Record("ORD-2", b"after", topic)]
    async with Publisher(settings) as publisher:
        outcomes = await publisher.send([*records[:50], *refused, *records[50:]])
    assert outcomes[:50] + outcomes[52:] == [None] * 100
    assert isinstance(outcomes[50], Unsendable)
    assert isinstance(outcomes[51], Unavailable)
    shelf = Shelf()
    async with reading(settings, [topic], shelf):
        await eventually(lambda: len(shelf.records) == 100)
    assert shelf.bodies == bodies


async def test_a_failing_batch_is_given_again(settings: KafkaSettings, topic: str):
    """A handler that raises gets the same records after a pause, and nothing is passed over."""
    await publish(settings, Record("ORD-1", b"1", topic), Record("ORD-1", b"2", topic))
    shelf = Shelf(failures=3)
    async with reading(settings, [topic], shelf):
        await eventually(lambda: shelf.bodies == [b"1", b"2"])
    assert shelf.tries >= 4


async def test_an_offset_is_committed_after_the_handler(settings: KafkaSettings, topic: str):
    """A reader that dies while handling leaves its records to the next; what was handled is not repeated."""
    await publish(settings, Record("ORD-1", b"1", topic))
    hanging = Shelf(seconds=60)
    async with reading(settings, [topic], hanging):
        await eventually(lambda: hanging.tries == 1)
    shelf = Shelf()
    async with reading(settings, [topic], shelf):
        await eventually(lambda: shelf.bodies == [b"1"])
    await publish(settings, Record("ORD-1", b"2", topic))
    later = Shelf()
    async with reading(settings, [topic], later):
        await eventually(lambda: bool(later.records))
        await asyncio.sleep(0.3)
    assert later.bodies == [b"2"]


async def test_a_record_that_is_not_json_is_the_handlers_to_judge(settings: KafkaSettings, topic: str):
    """Bytes of any kind are handed over, and the ones behind them too."""
    await publish(settings, Record("ORD-1", b"\xff\x00{", topic), Record("ORD-1", b"2", topic))
    shelf = Shelf()
    async with reading(settings, [topic], shelf):
        await eventually(lambda: shelf.bodies == [b"\xff\x00{", b"2"])


async def test_one_reader_serves_several_topics(kafka_servers: str):
    """Both topics of a service come through one handler, and the lag ends at nothing."""
    topics = [f"test.{uuid4().hex[:8]}" for _ in range(2)]
    settings = settings_for(kafka_servers)
    counts = await ensure_topics(settings, topics)
    assert set(counts) == set(topics)
    assert all(count >= 1 for count in counts.values())
    await publish(settings, *(Record("ORD-1", topic.encode(), topic) for topic in topics))
    shelf = Shelf()
    async with reading(settings, topics, shelf) as consumer:
        await eventually(lambda: len(shelf.records) == 2)
        await eventually(lambda: consumer.lag() == 0)
    assert sorted(shelf.bodies) == sorted(topic.encode() for topic in topics)


async def test_a_trace_goes_through_kafka(settings: KafkaSettings, topic: str):
    """The stored context, the producer's span and the reader's span are one trace."""
    memory = InMemorySpanExporter()
    stop = configure_tracing("kafka", "test", TelemetrySettings(), exporter=memory)
    with telemetry.span("POST /orders"):
        stored, trace_id = telemetry.current_traceparent() or "", telemetry.current_trace_id()
    await publish(settings, Record("ORD-1", b"1", topic, {"ce_traceparent": stored}))
    shelf = Shelf()
    async with reading(settings, [topic], shelf):
        await eventually(lambda: bool(shelf.records))
    with record_span(shelf.records[0]):
        assert telemetry.current_trace_id() == trace_id
    stop()
    finished = memory.get_finished_spans()
    parents = {span.name: span.parent and span.parent.span_id for span in finished}
    ids = {span.name: (span.get_span_context() or INVALID_SPAN_CONTEXT).span_id for span in finished}
    sent, processed = parents[f"send {topic}"], parents[f"process {topic}"]
    posted, sender = ids["POST /orders"], ids[f"send {topic}"]
    assert sent == posted
    assert processed == sender


async def test_a_broker_that_is_away_is_waited_for(tmp_path: Path):
    """Without a broker each record is Unavailable; once it is back, the same publisher and reader go on."""
    settings = settings_for("127.0.0.1:9", request_timeout_seconds=1.0)
    async with Publisher(settings) as publisher:
        (outcome,) = await publisher.send([Record("ORD-1", b"1")])
    assert isinstance(outcome, Unavailable)
    with pytest.raises(Unavailable):
        await cluster_id(settings)
    async with reading(settings, ["t"], Shelf()):
        await asyncio.sleep(0.5)


async def test_who_waits_for_topics_is_alive_and_says_why():
    """A relay that begins while Kafka is away makes progress, so nobody kills it, and its log says why."""
    turns, second = 0, asyncio.Event()

    def progress() -> None:
        nonlocal turns
        turns += 1
        if turns == 2:
            second.set()

    with capture_logs() as lines:
        waiting = asyncio.create_task(topics_exist(["t"], settings_for("127.0.0.1:9"), progress))
        async with asyncio.timeout(60):
            await second.wait()
        assert not waiting.done()
        waiting.cancel()
    assert {line["reason"] for line in lines if "reason" in line} == {"Kafka does not answer"}


async def test_a_publisher_survives_its_broker(tmp_path: Path):
    """After the broker died records are Unavailable, not lost in a buffer; a new cluster has a new name."""
    with EmbeddedBroker() as (address, process):
        settings = settings_for(address, request_timeout_seconds=1.0)
        first = await cluster_id(settings)
        async with Publisher(settings) as publisher:
            assert await publisher.send([Record("ORD-1", b"1")]) == [None]
            process.kill()
            process.wait()
            (outcome,) = await publisher.send([Record("ORD-1", b"2")])
            assert isinstance(outcome, Unavailable)
    with EmbeddedBroker() as (address, _):
        assert await cluster_id(settings_for(address)) != first


async def test_another_cluster_behind_the_same_address_gets_nothing_until_it_is_met(topic: str):
    """Neither from a producer that lost its connection nor from a new one: the older records are first."""
    with EmbeddedBroker() as (address, process), EmbeddedBroker() as (other, _):
        now = [address]
        async with Proxy("kafka", lambda: now[0], is_kafka=True) as proxy:
            settings = settings_for(proxy.address, request_timeout_seconds=5.0)
            async with Publisher(settings) as publisher:
                first = await publisher.cluster_id()
                assert await publisher.send([Record("ORD-1", b"1", topic)]) == [None]
                process.kill()
                process.wait()
                now[0] = other
                for _ in range(2):
                    (outcome,) = await publisher.send([Record("ORD-1", b"2", topic)])
                    assert isinstance(outcome, Unavailable)
                assert await publisher.cluster_id() != first
                both = [Record("ORD-1", b"1", topic), Record("ORD-1", b"2", topic)]
                assert await publisher.send(both) == [None, None]
            shelf = Shelf()
            async with reading(settings_for(other), [topic], shelf):
                await eventually(lambda: len(shelf.records) >= 2)
    assert shelf.bodies == [b"1", b"2"]


async def test_a_topic_is_read_from_its_end(
    settings: KafkaSettings, topic: str, monkeypatch: pytest.MonkeyPatch
):
    """Page by page of one partition, oldest first in each; an empty partition has none."""
    monkeypatch.setattr(backwards, "PAGE", 4)
    await publish(settings, *[Record("ORD-1", str(number).encode(), topic) for number in range(10)])
    async with read_backwards(settings, topic) as log:
        pages: list[list[int]] = []
        for partition in log.partitions:
            page = await log.before(partition)
            while page:
                pages.append([int(each.value) for each in page])
                page = await log.before(partition, page[0].offset)
    assert len(log.partitions) > 1
    assert pages == [[6, 7, 8, 9], [2, 3, 4, 5], [0, 1]]


async def test_a_broker_that_is_away_is_said_so():
    """So the relay waits and looks again."""
    with pytest.raises(Unavailable):
        async with read_backwards(settings_for("127.0.0.1:9", request_timeout_seconds=1), "any"):
            pass
