"""A store that was put back to an older backup lacks facts that were told; Kafka's log still has them.

The log is compared with a store that nobody has met before, and whatever a stream lacks is for a person to
judge: the newer store may be back soon, or it is gone and the stream goes on from what there is.
"""

from collections.abc import Callable, Sequence
from typing import LiteralString, Protocol

import structlog

from contracts.chassis.errors import Refused
from contracts.chassis.exceptions import Trouble, raise_
from contracts.chassis.kafka.records import IncomingRecord
from contracts.chassis.postgres import Connection, Database, Row
from contracts.envelope import Event, from_record
from contracts.values import Code

log = structlog.get_logger()

_LAST_VERSION = 2**31 - 1
_LONGEST_NAME = 100

# What a person has taken as it is since it was told is settled.
_LACKING: LiteralString = """
    select
        told.stream,
        max(told.sequence) as seen,
        (select coalesce(max(version), 0) from events where events.stream = told.stream) as stored
    from unnest(
        %(ids)s::uuid[], %(streams)s::text[], %(subjects)s::text[], %(sequences)s::int[],
        %(times)s::timestamptz[]
    ) as told (event_id, stream, subject, sequence, at)
    where not exists (select 1 from events where events.event_id = told.event_id)
      and not exists (
          select 1
          from exceptions
          where exceptions.subject = told.subject
            and exceptions.stream = told.stream
            and exceptions.code = 'STORE_BEHIND'
            and exceptions.resolution = 'skip'
            and exceptions.resolved_at > told.at
      )
    group by told.stream
    """

_STORED: LiteralString = "select coalesce(max(version), 0) as stored from events where stream = %(stream)s"


class Log(Protocol):
    """A topic that is read from its end."""

    @property
    def partitions(self) -> Sequence[int]: ...

    async def before(self, partition: int, offset: int | None = None) -> Sequence[IncomingRecord]:
        """The records just before this one, or the last ones, oldest first; none at the beginning."""
        ...


async def compare(
    database: Database, told: Log, source: str, progress: Callable[[], None] = lambda: None
) -> None:
    """A person knows of each stream of ours of which the log has facts that the store lacks.

    Each partition is read back to where nothing is lacking. Raises Unavailable when Kafka or the database
    does not answer."""
    for partition in told.partitions:
        lacking: dict[str, Row] = {}
        page = await told.before(partition)
        while page and (found := await _lacking(database, page, source)):
            # The newest come first.
            lacking = {row["stream"]: row for row in found} | lacking
            progress()
            page = await told.before(partition, page[0].offset)
        if lacking:
            log.error("the store is behind what was told", partition=partition, count=len(lacking))
            async with database.transaction() as connection:
                for row in lacking.values():
                    await tell(connection, **row)


async def tell(connection: Connection, stream: str, seen: int, stored: int) -> None:
    """A person knows that the stream lacks what was seen or told of it."""
    trouble = Trouble(
        stream=stream,
        subject=_subject(stream),
        code=Code.STORE_BEHIND,
        fault="mismatch",
        reason="Facts were seen or told that the store lacks. Retry when they are back; skip when the store "
        "is right as it is: what went out since is looked up before anything is done.",
        evidence={"seen": seen, "stored": stored},
        resolutions=("retry", "skip"),
    )
    await raise_(connection, trouble)


async def expect_back(database: Database, row: Row) -> None:
    """Raises Refused while the stream lacks what this exception is about."""
    found = await database.fetch_one(_STORED, stream=row["stream"])
    stored, seen = found["stored"] if found else 0, row["evidence"]["seen"]
    if stored < seen:
        detail = f"the store still has {stored} of {seen} facts: skip it if the newer store is gone"
        raise Refused(detail, code=Code.STORE_BEHIND)


async def _lacking(database: Database, page: Sequence[IncomingRecord], source: str) -> list[Row]:
    events = [event for record in page if (event := _event_of(record)) and _is_of(event, source)]
    return await database.fetch(
        _LACKING,
        ids=[event.id for event in events],
        streams=[event.subject for event in events],
        subjects=[_subject(event.subject) for event in events],
        sequences=[event.sequence for event in events],
        times=[event.time for event in events],
    )


def _is_of(event: Event, source: str) -> bool:
    """True also of what a stranger tells in our name, unless no store of ours could ever hold it."""
    is_storable = 0 < event.sequence <= _LAST_VERSION and "\x00" not in event.subject
    return event.source == source and is_storable and len(event.subject) <= _LONGEST_NAME


def _event_of(record: IncomingRecord) -> Event | None:
    try:
        return from_record(record.headers, record.value, record.key)
    except ValueError:
        return None


def _subject(stream: str) -> str:
    return stream.partition("-")[2]
