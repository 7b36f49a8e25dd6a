"""The broker behind `--kafka apache`: real, with the partitions of production, keeping what it took."""

from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer  # pyright: ignore[reportMissingTypeStubs]

from deploy.local.stack import Stack


async def _send(servers: str, topic: str, values: list[bytes]) -> set[int]:
    producer: Any = AIOKafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True)
    async with producer:
        for value in values:
            await producer.send_and_wait(topic, value, key=value)
        return await producer.partitions_for(topic)


async def _receive(servers: str, topic: str, group: str, count: int) -> set[bytes]:
    consumer: Any = AIOKafkaConsumer(
        topic,
        bootstrap_servers=servers,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    async with consumer:
        found: set[bytes] = set()
        async for record in consumer:
            found.add(record.value or b"")
            if len(found) == count:
                await consumer.commit()
                return found
    return found


async def test_a_topic_has_sixteen_partitions(kafka_servers: str):
    """An idempotent producer with acks=all reaches them."""
    assert await _send(kafka_servers, f"t-{uuid4()}", [b"1"]) == set(range(16))


async def test_records_and_offsets_survive_a_kill(kafka_engine: Stack):
    """After kill -9 a group goes on behind what it committed, and nothing acknowledged is lost."""
    topic, group = f"t-{uuid4()}", f"g-{uuid4()}"
    first = [b"%d" % n for n in range(20)]
    await _send(kafka_engine.kafka_servers, topic, first)
    assert await _receive(kafka_engine.kafka_servers, topic, group, 20) == set(first)
    await _send(kafka_engine.kafka_servers, topic, [b"later"])
    kafka_engine["kafka"].kill()
    kafka_engine["kafka"].wait_ready(60)
    assert await _receive(kafka_engine.kafka_servers, topic, group, 1) == {b"later"}
