"""The inbox: each event has its effect once, in the order of its stream, or is parked for a person.

The mark and the effect are one transaction. A batch is applied whole when it can be; otherwise record by
record, and one that keeps failing is parked together with every later record of its order, while other orders
flow on.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import LiteralString
from uuid import UUID

import structlog

from contracts.chassis import parking
from contracts.chassis.errors import Unavailable
from contracts.chassis.kafka.records import IncomingRecord, record_span
from contracts.chassis.postgres import Connection, Database
from contracts.envelope import Event
from contracts.order import fact_of

log = structlog.get_logger()

RETRY_PAUSES = (0.1, 0.5, 2.0)
"""Seconds before each further try of a record that failed."""

BEHIND = "an earlier record of this order is parked"

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
TELLING = ("actor", "code", "commandId", "handle", "hold", "stepKey")
"""Of an event's data, what a timeline tells; the rest is in the effect."""


class Poison(Exception):
    """The record can have no effect: it does not parse, or its place is taken by another event."""


class Inbox:
    """One consumer's memory of what it has applied."""

    def __init__(self, database: Database, consumer: str, effect: Effect) -> None:
        self._database = database
        self.consumer = consumer
        self._effect = effect

    async def apply(self, records: Sequence[IncomingRecord]) -> None:
        """Every record has had its effect once, or is parked.

        Raises Unavailable when the database is away."""
        try:
            async with self._database.transaction() as connection:
                if await parking.any_parked(connection, self.consumer, records):
                    raise Poison("an order of this batch is parked")
                await self.apply_within(connection, records)
        except Unavailable:
            raise
        except Exception:
            for record in records:
                await self._apply_or_park(record)

    async def apply_within(self, connection: Connection, records: Sequence[IncomingRecord]) -> None:
        """Every record has had its effect once when this transaction commits.

        Raises Poison for a record that can have none, and whatever the effect raises."""
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
                "consumer": self.consumer,
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
            "select event_id from inbox where consumer = %s and event_id = any(%s)", (self.consumer, ids)
        )
        return {row["event_id"] for row in await found.fetchall()}

    async def pass_over(self, connection: Connection, event: Event) -> None:
        """The event is known from now on and never has an effect; its place in the stream is taken."""
        await connection.queue(
            _MARK,
            {
                "consumer": self.consumer,
                "ids": [event.id],
                "streams": [event.subject],
                "sequences": [event.sequence],
            },
        )

    async def _apply_or_park(self, record: IncomingRecord) -> None:
        began = time.monotonic()
        for pause in (*RETRY_PAUSES, None):
            try:
                async with self._database.transaction() as connection:
                    if await parking.first_parked(connection, self.consumer, parking.order_of(record)):
                        await self._park_behind(connection, record)
                    else:
                        await self.apply_within(connection, [record])
            except Unavailable:
                raise
            except Exception as error:
                if pause is None or isinstance(error, Poison):
                    await self._set_aside(record, error, timedelta(seconds=time.monotonic() - began))
                    return
                await asyncio.sleep(pause)
            else:
                return

    async def _park_behind(self, connection: Connection, record: IncomingRecord) -> None:
        event = parking.event_of(record)
        if event is None or not await self._known(connection, [event.id]):
            await parking.park(connection, self.consumer, record, BEHIND)

    async def _set_aside(self, record: IncomingRecord, error: Exception, failing_for: timedelta) -> None:
        async with self._database.transaction() as connection:
            is_new = await parking.park(connection, self.consumer, record, reason_of(error), failing_for)
        if is_new:
            log.error("record parked", order_id=parking.order_of(record), reason=type(error).__name__)


def reason_of(error: Exception) -> str:
    """Why a record is parked: words of ours, for an error's own may quote what was sent."""
    return str(error) if isinstance(error, Poison) else type(error).__name__


async def _hear(connection: Connection, events: Sequence[Event]) -> None:
    """It is kept what was heard of each order, and from now on, when."""
    if not events:
        return
    kept = [{name: event.data[name] for name in TELLING if name in event.data} for event in events]
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
    event = parking.event_of(record)
    if event is None:
        raise Poison("not an event of ours")
    return event
