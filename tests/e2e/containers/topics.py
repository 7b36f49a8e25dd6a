"""What the topics hold, and who reads them."""

# aiokafka has no types of its own.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import asyncio
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from contracts import fulfillment, order
from contracts.chassis.leases import BUCKETS

TOPICS = (order.TOPIC, fulfillment.TOPIC)

Told = Mapping[str, list[tuple[dict[str, bytes], bytes]]]
"""Headers and body of each record, by topic, in the order of each partition."""


def read(servers: str) -> Told:
    """Both topics from their beginning to what was their end when we came."""
    return asyncio.run(_read(servers))


def members(servers: str, group: str) -> int:
    """How many consumers of the group have partitions of their own."""
    return asyncio.run(_members(servers, group))


async def _read(servers: str) -> Told:
    parts = [TopicPartition(topic, number) for topic in TOPICS for number in range(BUCKETS)]
    found: dict[str, list[tuple[dict[str, bytes], bytes]]] = {topic: [] for topic in TOPICS}
    reader = AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest")
    async with asyncio.timeout(60), reader as consumer:
        consumer.assign(parts)
        ends = await consumer.end_offsets(parts)
        while [part for part in parts if await consumer.position(part) < ends[part]]:
            for part, records in (await consumer.getmany(timeout_ms=1000)).items():
                found[part.topic] += [(dict(record.headers), record.value or b"") for record in records]
    return found


async def _members(servers: str, group: str) -> int:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        described: Any = await admin.describe_consumer_groups([group])
        (answer,) = described
        (one,) = answer.groups
        state, joined = one[2], one[5]
        return len(joined) if state == "Stable" else 0
    finally:
        await admin.close()
