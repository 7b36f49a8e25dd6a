"""Clean-up by age: what nobody can need any more goes, in small batches; facts never do.

A trigger keeps the facts, and what names a person is erased by its own rules. Everything here is older than
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


@dataclass(frozen=True, slots=True)
class Leftover:
    """The rows of one table that are too old."""

    table: str
    delete: LiteralString
    """Deletes at most `%(limit)s` of those older than `%(keep)s`."""
    keep: timedelta


class CleanUp:
    """Deletes one service's leftovers."""

    def __init__(self, database: Database, leftovers: Sequence[Leftover]) -> None:
        self._database = database
        self._leftovers = leftovers

    async def run(self) -> dict[str, int]:
        """What was too old is gone; how many rows, by table."""
        return {left.table: rows for left in self._leftovers if (rows := await self._delete(left))}

    async def _delete(self, left: Leftover) -> int:
        deleted = 0
        for _ in range(BATCHES):
            rows = await self._database.execute(left.delete, keep=left.keep, limit=BATCH)
            deleted += rows
            if rows < BATCH:
                break
        DELETED.labels(left.table).inc(deleted)
        return deleted


_OUTBOX: LiteralString = """
    delete from outbox
    where id in (
        select id
        from outbox
        where published_at < now() - %(keep)s
        limit %(limit)s
        for update skip locked
    )
    """

_INBOX: LiteralString = """
    delete from inbox
    where ctid = any(array(
        select ctid
        from inbox
        where applied_at < now() - %(keep)s
        limit %(limit)s
        for update skip locked
    ))
    """

_RECEIPTS: LiteralString = """
    delete from receipts
    where command_id in (
        select command_id
        from receipts
        where received_at < now() - %(keep)s
          and status in ('REJECTED', 'EFFECTIVE', 'SUPERSEDED')
          and stream not in (select stream from open_streams)
        limit %(limit)s
        for update skip locked
    )
    """

_CALLS: LiteralString = """
    delete from external_calls
    where provider_key in (
        select provider_key
        from external_calls
        where answered_at < now() - %(keep)s
          and stream not in (select stream from open_streams)
        limit %(limit)s
        for update skip locked
    )
    """

_HEARD: LiteralString = """
    delete from heard
    where ctid = any(array(
        select ctid
        from heard
        where heard_at < now() - %(keep)s
          and order_id not in (select order_id from open_streams)
        limit %(limit)s
        for update skip locked
    ))
    """

_PARKED: LiteralString = """
    delete from parked
    where id in (
        select id
        from parked
        where settled_at < now() - %(keep)s
        limit %(limit)s
        for update skip locked
    )
    """

_RECONCILIATIONS: LiteralString = """
    delete from reconciliations
    where id in (
        select id
        from reconciliations
        where at < now() - %(keep)s
        limit %(limit)s
        for update skip locked
    )
    """


def leftovers(
    open_streams: LiteralString, housekeeping: HousekeepingSettings, relay: RelaySettings
) -> list[Leftover]:
    """Of every table that grows and is not for ever; `open_streams` asks for each open stream and order.

    A receipt and a call's answer outlive their stream's end, so whatever comes again before that meets them;
    afterwards the stream itself refuses every wish."""
    alive: LiteralString = "with open_streams as (" + open_streams + ")"
    ended = timedelta(days=housekeeping.receipts_keep_days)
    return [
        Leftover("outbox", _OUTBOX, timedelta(days=relay.keep_published_days)),
        Leftover("inbox", _INBOX, timedelta(days=housekeeping.inbox_keep_days)),
        Leftover("parked", _PARKED, timedelta(days=housekeeping.inbox_keep_days)),
        Leftover("receipts", alive + _RECEIPTS, ended),
        Leftover("external_calls", alive + _CALLS, ended),
        Leftover("heard", alive + _HEARD, timedelta(days=housekeeping.heard_keep_days)),
        Leftover("reconciliations", _RECONCILIATIONS, timedelta(days=housekeeping.reconciliations_keep_days)),
    ]
