"""Clean-up by age: what nobody can need any more goes, in small batches; facts never do.

A trigger keeps the facts, and what names a person is not erased by age. Everything here is older than
whatever could still ask for it: see the reasons beside the settings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import LiteralString

from prometheus_client import Counter

from contracts.chassis.postgres import Database
from contracts.chassis.settings import HousekeepingSettings, RelaySettings

DELETED = Counter("tandem_cleaned_up_rows", "Rows deleted because of their age", ["table"])

BATCH = 5_000
"""Rows in one statement, so that it never holds anybody up."""
BATCHES = 20
"""Of one table in one go; the rest is for the next one."""

# By where the rows lie, as not every table has one column that names a row.
_DELETE: LiteralString = """
    with open_streams as ({open_streams})
    delete from {table}
    where ctid = any(array(
        select ctid
        from {table}
        where {since} < now() - %(keep)s {only}
        limit %(limit)s
        for update skip locked
    ))
    """


@dataclass(frozen=True, slots=True)
class Leftover:
    """The rows of one table that are too old."""

    table: LiteralString
    since: LiteralString
    """The moment from which a row's age counts; one that has none is kept."""
    keep: timedelta
    only: LiteralString = ""
    """What else must be true of a row; may ask `open_streams`."""


class CleanUp:
    """Deletes one service's leftovers."""

    def __init__(
        self, database: Database, open_streams: LiteralString, leftovers: Sequence[Leftover]
    ) -> None:
        """`open_streams` asks for the `stream` and the `order_id` of each that has not ended."""
        self._database = database
        self._open_streams: LiteralString = open_streams
        self._leftovers = leftovers

    async def run(self) -> dict[str, int]:
        """What was too old is gone; how many rows, by table."""
        return {left.table: rows for left in self._leftovers if (rows := await self._delete(left))}

    async def _delete(self, left: Leftover) -> int:
        delete = _DELETE.format(
            open_streams=self._open_streams, table=left.table, since=left.since, only=left.only
        )
        deleted = 0
        for _ in range(BATCHES):
            rows = await self._database.execute(delete, keep=left.keep, limit=BATCH)
            deleted += rows
            if rows < BATCH:
                break
        DELETED.labels(left.table).inc(deleted)
        return deleted


_STREAM_ENDED: LiteralString = " and stream not in (select stream from open_streams)"
_ORDER_ENDED: LiteralString = " and order_id not in (select order_id from open_streams)"
_SETTLED: LiteralString = " and status in ('REJECTED', 'EFFECTIVE', 'SUPERSEDED')"


def leftovers(housekeeping: HousekeepingSettings, relay: RelaySettings) -> list[Leftover]:
    """Of every table that grows and is not for ever.

    A receipt and a call's answer outlive their stream's end, so whatever comes again before that meets them;
    afterwards the stream itself refuses every wish. A key by which an order was placed is forgotten with its
    receipt: after that it places another order."""
    published = timedelta(days=relay.keep_published_days)
    applied = timedelta(days=housekeeping.inbox_keep_days)
    ended = timedelta(days=housekeeping.receipts_keep_days)
    heard = timedelta(days=housekeeping.heard_keep_days)
    reconciled = timedelta(days=housekeeping.reconciliations_keep_days)
    return [
        Leftover("outbox", "published_at", published),
        Leftover("inbox", "applied_at", applied),
        Leftover("parked", "settled_at", applied),
        Leftover("receipts", "received_at", ended, _SETTLED + _STREAM_ENDED),
        Leftover("external_calls", "answered_at", ended, _STREAM_ENDED),
        Leftover("heard", "heard_at", heard, _ORDER_ENDED),
        Leftover("reconciliations", "at", reconciled),
    ]
