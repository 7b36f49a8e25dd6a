"""A record that cannot be applied, from Kafka to the parking and back to Kafka, and in again."""

import asyncio
from uuid import uuid4

import pytest

from contracts.chassis import inbox
from contracts.chassis.inbox import Inbox
from contracts.chassis.kafka.connection import ensure_topics
from contracts.chassis.kafka.publisher import Publisher
from contracts.chassis.outbox import OutboxRelay
from contracts.chassis.parked import Parked
from contracts.chassis.parking import dead_letters
from contracts.chassis.postgres import Database
from contracts.chassis.settings import RelaySettings
from tests.integration.store.incoming import Applied, record
from tests.integration.test_kafka_policy import Record, Shelf, eventually, publish, reading, settings_for


def sent(order: str, sequence: int, topic: str) -> Record:
    """The same event as a relay sends it."""
    one = record(order, sequence, 0)
    headers = {name: value.decode() for name, value in one.headers.items()}
    return Record(order, one.value, topic, headers)


async def test_what_cannot_be_applied_is_on_the_dead_letter_topic_and_comes_in_again(
    database: Database, applied: Applied, kafka_servers: str, monkeypatch: pytest.MonkeyPatch
):
    """Other orders flow on; the letter leaves when Kafka is there; the replay has each effect once."""
    monkeypatch.setattr(inbox, "RETRY_PAUSES", (0.01,))
    topic = f"test.{uuid4().hex[:8]}"
    settings = settings_for(kafka_servers)
    await ensure_topics(settings, [topic, dead_letters(topic)])
    applied.failing.add("a:1")
    box = Inbox(database, "c", applied.effect)
    await publish(settings, sent("a", 1, topic), sent("b", 1, topic), sent("a", 2, topic))
    async with reading(settings, [topic], box.apply) as consumer:
        await eventually(lambda: consumer.lag() == 0, within_seconds=60)
        async with asyncio.timeout(60):
            while await applied.all() != ["b:1"] or await parked(database) != 2:  # noqa: ASYNC110  the reader's
                await asyncio.sleep(0.01)
    letters = Shelf()
    async with (
        Publisher(settings) as publisher,
        reading(settings_for(kafka_servers), [dead_letters(topic)], letters),
    ):
        relay = OutboxRelay(database, publisher.send, RelaySettings())
        moving = asyncio.create_task(relay.run(asyncio.Event()))
        await eventually(lambda: len(letters.records) == 2, within_seconds=60)
        moving.cancel()
        await asyncio.wait({moving})
    assert [letter.headers["ce_sequence"] for letter in letters.records] == [b"1", b"2"]
    first = letters.records[0]
    assert first.value == record("a", 1, 0).value
    assert (first.headers["dlq_topic"], first.headers["dlq_reason"]) == (topic.encode(), b"ZeroDivisionError")
    applied.failing.clear()
    flow = await Parked(database, box).replay(int(first.headers["dlq_id"]), "ada")
    assert (len(flow.applied), flow.left) == (2, 0)
    assert await applied.all() == ["b:1", "a:1", "a:2"]


async def parked(database: Database) -> int:
    return len(await database.fetch("select id from parked"))
