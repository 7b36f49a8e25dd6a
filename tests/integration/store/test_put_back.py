"""A store that was put back: the log shows what it lacks, and nothing leaves before that was looked at."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from contracts.chassis import exceptions, outbox, put_back
from contracts.chassis.errors import Refused, Unavailable
from contracts.chassis.event_store import Cause
from contracts.chassis.kafka.records import IncomingRecord
from contracts.chassis.outbox import OutboxRecord, OutboxRelay
from contracts.chassis.postgres import Connection, Database, Row
from contracts.chassis.publishing import Publication
from contracts.chassis.settings import PostgresSettings
from contracts.values import Message
from deploy.local.stack import Stack
from tests.integration.backups import Backups
from tests.integration.store.incoming import record, stranger
from tests.integration.store.tally import TOPIC, Tally, TallyChange, adding, bucket_of, tally
from tests.integration.store.test_outbox import SETTINGS, Topic
from tests.integration.test_kafka_policy import eventually

SOURCE = "/orders"
CAUSE = Cause("shop")


class Kept:
    """A log of one partition, in pages of two."""

    partitions = (0,)

    def __init__(self, *records: IncomingRecord) -> None:
        self._records = records
        self.pages = 0

    async def before(self, partition: int, offset: int | None = None) -> Sequence[IncomingRecord]:
        self.pages += 1
        return [each for each in self._records if offset is None or each.offset < offset][-2:]


class Nothing(Message):
    """No data."""


async def follow(connection: Connection, change: TallyChange) -> None:
    publication = Publication(TOPIC, SOURCE, "tandem.order")
    order_id = change.stream.partition("-")[2]
    await outbox.add(connection, [publication.record(each, order_id, Nothing()) for each in change.recorded])


def telling(database: Database) -> Tally:
    """Each fact becomes its public event."""
    return tally(database, follow)


async def told(database: Database) -> list[IncomingRecord]:
    """What the outbox has for Kafka, as a reader gets it."""
    return [
        IncomingRecord(
            TOPIC,
            0,
            row["id"],
            row["key"].encode(),
            {name: str(value).encode() for name, value in row["headers"].items()},
            bytes(row["body"]),
        )
        for row in await database.fetch("select * from outbox order by id")
    ]


async def waiting(database: Database) -> dict[str, Row]:
    rows = await exceptions.page(database)
    return {row["stream"]: row for row in rows}


async def resolves(database: Database, row: Row, how: str) -> None:
    async with database.transaction() as connection:
        await exceptions.resolve_one(connection, row["id"], resolution=how, by="ada")


async def test_a_store_that_has_all_that_was_told_is_well(database: Database):
    """One page is enough to see it; what is not ours or no event is passed over."""
    await telling(database).change("order-a", CAUSE, adding(1, 2, 3))
    log = Kept(*await told(database), stranger("x", 90))
    await put_back.compare(database, log, SOURCE)
    assert (log.pages, await waiting(database)) == (1, {})
    await put_back.compare(database, Kept(record("b", 1, 0)), "/elsewhere")
    assert await waiting(database) == {}


async def test_each_stream_that_lacks_a_fact_is_told_with_how_many(database: Database):
    """Also one of which nothing is left; whole pages back, until nothing is lacking any more."""
    await telling(database).change("order-a", CAUSE, adding(1, 2))
    known = await told(database)
    lost = [record("b", 1, 91), record("a", 3, 92), record("a", 4, 93), record("b", 2, 94)]
    log = Kept(*known, *lost)
    await put_back.compare(database, log, SOURCE)
    found = await waiting(database)
    assert {stream: row["evidence"] for stream, row in found.items()} == {
        "order-a": {"seen": 4, "stored": 2},
        "order-b": {"seen": 2, "stored": 0},
    }
    assert found["order-a"]["subject"] == "a"
    assert log.pages == 3


@pytest.mark.parametrize(
    "odd",
    [record("x\x00y", 1, 0), record("x", 2**31, 0), record("x" * 3000, 1, 0)],
    ids=["NUL", "version", "name"],
)
async def test_what_no_store_of_ours_could_hold_is_no_sign(database: Database, odd: IncomingRecord):
    """A stranger may write anything, and keeps no relay from its work."""
    await put_back.compare(database, Kept(odd, record("a", 1, 1)), SOURCE)
    assert set(await waiting(database)) == {"order-a"}


async def test_the_same_number_of_other_facts_is_no_less_a_sign(database: Database):
    """What counts is the event's id, for versions are given anew."""
    await telling(database).change("order-a", CAUSE, adding(1, 2))
    await put_back.compare(database, Kept(record("a", 2, 92)), SOURCE)
    assert (await waiting(database))["order-a"]["evidence"] == {"seen": 2, "stored": 2}


async def test_what_was_taken_as_it_is_is_not_told_again(database: Database):
    """The lost facts stay in the log for days; a fact that is lost after that is another matter."""
    await put_back.compare(database, Kept(record("a", 1, 1), record("a", 2, 2)), SOURCE)
    await resolves(database, (await waiting(database))["order-a"], "skip")
    await put_back.compare(database, Kept(record("a", 1, 1), record("a", 2, 2)), SOURCE)
    assert await waiting(database) == {}
    late = record("a", 3, 3)
    headers = {**late.headers, "ce_time": datetime(2100, 1, 1, tzinfo=UTC).isoformat().encode()}
    await put_back.compare(
        database, Kept(IncomingRecord(late.topic, 0, 3, late.key, headers, late.value)), SOURCE
    )
    assert set(await waiting(database)) == {"order-a"}


async def test_a_retry_is_refused_while_the_newer_store_is_not_back(database: Database):
    """Whoever says that it is back is told how much of it is there."""
    journal = telling(database)
    await journal.change("order-a", CAUSE, adding(1, 2))
    await put_back.compare(database, Kept(record("a", 3, 3)), SOURCE)
    row = (await waiting(database))["order-a"]
    with pytest.raises(Refused, match="2 of 3 facts"):
        await put_back.expect_back(database, row)
    await resolves(database, row, "skip")
    await journal.change("order-a", CAUSE, adding(3))
    await put_back.expect_back(database, row)


async def test_what_is_told_of_a_stream_waits_for_the_person(database: Database):
    """Everything else leaves; afterwards this does, in its order."""
    topic, journal = Topic(), telling(database)
    relay = OutboxRelay(database, topic.send, SETTINGS)
    for stream in ("order-a", "order-b"):
        await journal.change(stream, CAUSE, adding(1, 2))
    await put_back.compare(database, Kept(record("a", 3, 3)), SOURCE)
    assert await relay.turn() == 2
    assert {key for key, _ in topic.records} == {"b"}
    await resolves(database, (await waiting(database))["order-a"], "skip")
    assert await relay.turn() == 2
    assert len(topic.of("a")) == 2


async def test_nothing_leaves_a_store_before_it_was_compared(
    database: Database, settings: PostgresSettings, engines: Stack
):
    """Put back under a relay that runs: what was written meanwhile waits until somebody has looked."""
    topic, comparing = Topic(), asyncio.Event()
    compared = 0

    async def compare() -> None:
        nonlocal compared
        compared += 1
        await comparing.wait()

    backups = Backups(engines, [settings.url])
    relay = OutboxRelay(database, topic.send, SETTINGS, compare=compare)
    running = asyncio.create_task(relay.run(asyncio.Event()))
    await asyncio.to_thread(backups.take)
    await is_written(database, "1")
    await eventually(lambda: compared > 0, 60)
    assert topic.records == []
    comparing.set()
    await eventually(lambda: topic.of("a") == ["1"], 60)
    comparing.clear()
    before = compared
    await asyncio.to_thread(backups.put_back)
    await is_written(database, "2")
    await eventually(lambda: compared > before, 60)
    assert topic.of("a") == ["1"]
    comparing.set()
    await eventually(lambda: topic.of("a") == ["1", "2"], 60)
    running.cancel()
    await asyncio.wait({running})


async def is_written(database: Database, body: str) -> None:
    """As soon as the database answers again."""
    async with asyncio.timeout(60):
        while True:
            with suppress(Unavailable):
                async with database.transaction() as connection:
                    await outbox.add(
                        connection, [OutboxRecord(bucket_of("a"), "a", TOPIC, {}, body.encode())]
                    )
                return
            await asyncio.sleep(0.01)
