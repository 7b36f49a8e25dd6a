"""The inbox: each event has its effect once, in the order of its stream, or is parked for a person.

The mark and the effect are one transaction. A batch is applied whole when it can be; otherwise record by
record, and one that keeps failing is parked together with every later record of its order, while other orders
flow on.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import LiteralString
from uuid import UUID

import structlog
from psycopg.types.json import Jsonb

from contracts.chassis.errors import Unavailable
from contracts.chassis.kafka.consumer import IncomingRecord, record_span
from contracts.chassis.postgres import Connection, Database
from contracts.envelope import Event, from_record
from contracts.order import fact_of

log = structlog.get_logger()

RETRY_PAUSES = (0.1, 0.5, 2.0)
"""Seconds before each further try of a record that failed."""

KEY_LENGTH = 200
"""Much longer than an order id, and short enough for an index."""

Effect = Callable[[Connection, Event], Awaitable[None]]

_MARK: LiteralString = """
    insert into inbox (consumer, event_id, stream, sequence)
    select %(consumer)s, *
    from unnest(%(ids)s::uuid[], %(streams)s::text[], %(sequences)s::int[])
    on conflict do nothing
    returning event_id
    """


# One statement a batch, and it travels with the effects.
_HEAR: LiteralString = """
    insert into heard (order_id, stream, sequence, type, at, data)
    select *
    from unnest(
        %(orders)s::text[], %(streams)s::text[], %(sequences)s::int[],
        %(types)s::text[], %(times)s::timestamptz[], %(data)s::jsonb[]
    )
    on conflict do nothing
    """
_KEPT = ("actor", "code", "commandId", "handle", "hold", "stepKey")
"""Of an event's data, what a timeline tells; the rest is in the effect."""


class Poison(Exception):
    """The record can have no effect: it does not parse, or its place is taken by another event."""


class Inbox:
    """One consumer's memory of what it has applied."""

    def __init__(self, database: Database, consumer: str, effect: Effect) -> None:
        self._database = database
        self._consumer = consumer
        self._effect = effect

    async def apply(self, records: Sequence[IncomingRecord]) -> None:
        """Every record has had its effect once, or is parked.

        Raises Unavailable when the database is away."""
        try:
            async with self._database.transaction() as connection:
                if await self._any_parked(connection, records):
                    raise Poison("an order of this batch is parked")
                await self._apply(connection, records)
        except Unavailable:
            raise
        except Exception:
            for record in records:
                await self._apply_or_park(record)

    async def _apply(self, connection: Connection, records: Sequence[IncomingRecord]) -> None:
        events = [_event_of(record) for record in records]
        new = await self._mark(connection, events)
        heard: list[Event] = []
        for record, event in zip(records, events, strict=True):
            if event.id in new:
                new.remove(event.id)
                heard.append(event)
                with record_span(record):
                    await self._effect(connection, event)
        await _hear(connection, heard)

    async def _mark(self, connection: Connection, events: Sequence[Event]) -> set[UUID]:
        """The events nobody applied yet; now they are ours to apply. Raises Poison when one cannot be."""
        ids = [event.id for event in events]
        inserted = await connection.queue(
            _MARK,
            {
                "consumer": self._consumer,
                "ids": ids,
                "streams": [event.subject for event in events],
                "sequences": [event.sequence for event in events],
            },
        )
        new: set[UUID] = {row["event_id"] for row in await inserted.fetchall()}
        if len(new) < len(events) and set(ids) - await self._known(connection, ids):
            raise Poison("another event has this place in the stream")
        return new

    async def _known(self, connection: Connection, ids: Sequence[UUID]) -> set[UUID]:
        found = await connection.queue(
            "select event_id from inbox where consumer = %s and event_id = any(%s)", (self._consumer, ids)
        )
        return {row["event_id"] for row in await found.fetchall()}

    async def _apply_or_park(self, record: IncomingRecord) -> None:
        for pause in (*RETRY_PAUSES, None):
            try:
                async with self._database.transaction() as connection:
                    if await self._any_parked(connection, [record]):
                        await self._park(connection, record, "an earlier record of this order is parked")
                    else:
                        await self._apply(connection, [record])
            except Unavailable:
                raise
            except Exception as error:
                if pause is None or isinstance(error, Poison):
                    await self._set_aside(record, error)
                    return
                await asyncio.sleep(pause)
            else:
                return

    async def _set_aside(self, record: IncomingRecord, error: Exception) -> None:
        log.error("record parked", order_id=_order_of(record), reason=type(error).__name__)
        reason = str(error) if isinstance(error, Poison) else type(error).__name__
        async with self._database.transaction() as connection:
            await self._park(connection, record, reason)

    async def _park(self, connection: Connection, record: IncomingRecord, reason: str) -> None:
        await connection.queue(
            """
            insert into parked (consumer, topic, partition, record_offset, order_id, headers, body, reason)
            values (%s, %s, %s, %s, %s, %s, %s, %s)
            on conflict (consumer, topic, partition, record_offset) do nothing
            """,
            (
                self._consumer,
                record.topic,
                record.partition,
                record.offset,
                _order_of(record),
                Jsonb({_text(name.encode()): _text(value) for name, value in record.headers.items()}),
                record.value,
                reason,
            ),
        )

    async def _any_parked(self, connection: Connection, records: Sequence[IncomingRecord]) -> bool:
        """True when an order of these records has a parked one."""
        orders = list({_order_of(record) for record in records})
        found = await connection.queue(
            "select 1 from parked where consumer = %s and order_id = any(%s) limit 1",
            (self._consumer, orders),
        )
        return await found.fetchone() is not None


async def _hear(connection: Connection, events: Sequence[Event]) -> None:
    """It is kept what was heard of each order, and from now on, when."""
    if not events:
        return
    kept = [{name: event.data[name] for name in _KEPT if name in event.data} for event in events]
    await connection.queue(
        _HEAR,
        {
            "orders": [event.correlation_id for event in events],
            "streams": [event.subject for event in events],
            "sequences": [event.sequence for event in events],
            "types": [fact_of(event.type) for event in events],
            "times": [event.time for event in events],
            "data": [json.dumps(data) for data in kept],
        },
    )


def _event_of(record: IncomingRecord) -> Event:
    try:
        return from_record(record.headers, record.value, record.key)
    except ValueError as error:
        raise Poison("not an event of ours") from error


def _order_of(record: IncomingRecord) -> str:
    """The record's key; a record without one is an order of its own."""
    if record.key:
        return _text(record.key)[:KEY_LENGTH]
    return f"{record.topic}/{record.partition}/{record.offset}"


def _text(raw: bytes) -> str:
    """What PostgreSQL can store of bytes that a stranger sent."""
    return raw.decode(errors="replace").replace("\x00", "\ufffd")
