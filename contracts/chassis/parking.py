"""Where a record waits for a person that could not be applied, and every later one of its order behind it.

A parked record is told on its topic's dead-letter topic as well, by the outbox and so in the transaction that
parks it. A row stays after it was settled: a record that Kafka brings again is known, whatever its offset.

The first row of an order is the lock of its queue: who parks behind it, applies it or discards it holds it.
So no record is left behind a queue that has just become empty, and two people take turns.
"""

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import LiteralString, cast

from prometheus_client import Counter
from psycopg.types.json import Jsonb

from contracts.chassis import outbox
from contracts.chassis.kafka.buckets import bucket_of
from contracts.chassis.kafka.records import IncomingRecord
from contracts.chassis.outbox import OutboxRecord
from contracts.chassis.postgres import Connection, Row
from contracts.envelope import Event, from_record

PARKED = Counter("tandem_inbox_parked", "Records that could not be applied, and those behind them")

KEY_LENGTH = 200
"""Much longer than an order id, and short enough for an index."""

_ANY: LiteralString = """
    select 1
    from parked
    where consumer = %(consumer)s and order_id = any(%(orders)s) and outcome is null
    limit 1
    """

# Waits for whoever holds the row, and then takes the next one if it was settled.
_FIRST: LiteralString = """
    select *
    from parked
    where consumer = %(consumer)s and order_id = %(order_id)s and outcome is null
    order by id
    limit 1
    for update
    """

_PARK: LiteralString = """
    insert into parked (
        consumer, identity, topic, partition, record_offset, order_id, headers, body, reason, first_failed_at
    )
    values (
        %(consumer)s, %(identity)s, %(topic)s, %(partition)s, %(offset)s, %(order_id)s, %(headers)s, %(body)s,
        %(reason)s, clock_timestamp() - %(failing_for)s
    )
    on conflict (consumer, identity) do nothing
    returning id, first_failed_at
    """


_LETTERS = ".dlq"
_LETTER_KEY = "dlq:"


def dead_letters(topic: str) -> str:
    """The topic that tells which records of this one could not be applied."""
    return f"{topic}{_LETTERS}"


def is_dead_letters(topic: str) -> bool:
    """Its records tell of others, and none of them has a place in a stream."""
    return topic.endswith(_LETTERS)


def told_of(key: str) -> str:
    """The key of the record that a dead letter of this key tells of; of any other record its own."""
    return key.removeprefix(_LETTER_KEY)


def order_of(record: IncomingRecord) -> str:
    """The record's key; a record without one is an order of its own."""
    if record.key:
        return _text(record.key)[:KEY_LENGTH]
    return f"{record.topic}/{record.partition}/{record.offset}"


async def any_parked(connection: Connection, consumer: str, records: Sequence[IncomingRecord]) -> bool:
    """True when an order of these records has a parked one."""
    orders = list({order_of(record) for record in records})
    found = await connection.queue(_ANY, {"consumer": consumer, "orders": orders})
    return await found.fetchone() is not None


async def first_parked(connection: Connection, consumer: str, order_id: str) -> Row | None:
    """The first that is parked of this order, locked; None when there is none any more."""
    found = await connection.queue(_FIRST, {"consumer": consumer, "order_id": order_id})
    return await found.fetchone()


async def park(
    connection: Connection,
    consumer: str,
    record: IncomingRecord,
    reason: str,
    failing_for: timedelta = timedelta(),
) -> bool:
    """The record waits for a person, and its dead letter is on its way; False when it was parked before."""
    headers = {_text(name.encode()): _text(value) for name, value in record.headers.items()}
    parked = await connection.queue(
        _PARK,
        {
            "consumer": consumer,
            "identity": _identity(record),
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "order_id": order_of(record),
            "headers": Jsonb(headers),
            "body": record.value,
            "reason": reason,
            "failing_for": failing_for,
        },
    )
    row = await parked.fetchone()
    if row is None:
        return False
    PARKED.inc()
    told = {
        "dlq_id": str(row["id"]),
        "dlq_reason": reason,
        "dlq_consumer": consumer,
        "dlq_topic": record.topic,
        "dlq_partition": str(record.partition),
        "dlq_offset": str(record.offset),
        "dlq_key": order_of(record),
        "dlq_first_failed_at": row["first_failed_at"].isoformat(),
    }
    await outbox.add(connection, [_dead_letter(record, {**headers, **told})])
    return True


def _dead_letter(record: IncomingRecord, headers: dict[str, str]) -> OutboxRecord:
    """Keyed apart from its order, whose events must not wait behind a letter that cannot leave."""
    order_id = order_of(record)
    return OutboxRecord(
        bucket_of(order_id), f"{_LETTER_KEY}{order_id}", dead_letters(record.topic), headers, record.value
    )


def record_of(row: Row) -> IncomingRecord:
    """The record as it came."""
    headers = cast("dict[str, str]", row["headers"])
    return IncomingRecord(
        topic=row["topic"],
        partition=row["partition"],
        offset=row["record_offset"],
        key=row["order_id"].encode(),
        headers={name: value.encode() for name, value in headers.items()},
        value=bytes(row["body"]),
    )


def event_of(record: IncomingRecord) -> Event | None:
    """The event it carries; None when it is none of ours."""
    try:
        return from_record(record.headers, record.value, record.key)
    except ValueError:
        return None


def _identity(record: IncomingRecord) -> str:
    """What it is known by when it comes again: a new broker counts its offsets anew."""
    event = event_of(record)
    if event is not None:
        return str(event.id)
    digest = hashlib.sha256(record.value).hexdigest()[:16]
    return f"{record.topic}/{record.partition}/{record.offset}/{digest}"


def _text(raw: bytes) -> str:
    """What PostgreSQL can store of bytes that a stranger sent."""
    return raw.decode(errors="replace").replace("\x00", "\ufffd")
