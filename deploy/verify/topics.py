"""Both topics, read from their beginning to what was their end when we came."""

# aiokafka has no types of its own.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import asyncio
from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from contracts import fulfillment, order
from contracts.chassis.errors import Unavailable
from deploy.verify.comparing import Told
from deploy.verify.stores import told_by

TOPICS = (order.TOPIC, fulfillment.TOPIC)
_ANSWER_SECONDS = 10
_SILENT_SECONDS = 60

Raw = tuple[dict[str, bytes], bytes]
"""Headers and body of a record."""
Records = Mapping[str, Sequence[Raw]]
"""By topic, in the order of each partition."""


async def read(servers: str) -> Records:
    """Raises Unavailable when the broker does not answer."""
    # Without a group: a group would take the records away from somebody else.
    consumer = AIOKafkaConsumer(
        *TOPICS,
        bootstrap_servers=servers,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        request_timeout_ms=_ANSWER_SECONDS * 1000,
        fetch_max_wait_ms=100,
    )
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            await consumer.start()
        return await _read(consumer)
    except (KafkaError, OSError, TimeoutError) as error:
        raise Unavailable("Kafka does not answer") from error
    finally:
        await consumer.stop()


async def _read(consumer: AIOKafkaConsumer) -> Records:
    found: dict[str, list[Raw]] = {topic: [] for topic in TOPICS}
    parts = sorted(consumer.assignment())
    ends = await consumer.end_offsets(parts)
    async with asyncio.timeout(_SILENT_SECONDS) as patience:
        while [part for part in parts if await consumer.position(part) < ends[part]]:
            for part, records in (await consumer.getmany(timeout_ms=500)).items():
                found[part.topic] += [(dict(record.headers), record.value or b"") for record in records]
                patience.reschedule(asyncio.get_running_loop().time() + _SILENT_SECONDS)
    return found


def by_stream(records: Records) -> dict[str, list[Told]]:
    """What was told of each stream; a record that is no event of ours is left out."""
    found: dict[str, list[Told]] = {}
    for several in records.values():
        for headers, body in several:
            try:
                subject, told = told_by({name: value.decode() for name, value in headers.items()}, body)
            except (KeyError, ValueError):
                continue
            found.setdefault(subject, []).append(told)
    return found
