"""The inbox: one effect for each event, poison set aside with what follows it, nothing lost on the way."""

from collections.abc import Sequence

import psycopg
import pytest

from contracts.chassis import inbox
from contracts.chassis.errors import Unavailable
from contracts.chassis.inbox import Inbox
from contracts.chassis.kafka.records import IncomingRecord
from contracts.chassis.postgres import Connection, Database
from contracts.chassis.settings import PostgresSettings
from contracts.envelope import Event
from tests.integration.store.incoming import TOPIC, Applied, record, stranger


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "RETRY_PAUSES", (0.01, 0.01))


async def parked(database: Database) -> list[tuple[int, str]]:
    rows = await database.fetch("select record_offset, reason from parked order by record_offset")
    return [(row["record_offset"], row["reason"]) for row in rows]


async def test_events_have_their_effect_in_order(database: Database, applied: Applied):
    """A batch is applied whole, in the order it came."""
    await Inbox(database, "c", applied.effect).apply(
        [record("a", 1, 0), record("b", 1, 1), record("a", 2, 2)]
    )
    assert await applied.all() == ["a:1", "b:1", "a:2"]


async def test_what_was_heard_is_kept_with_the_effect(database: Database, applied: Applied):
    """Each event once, under its fact's name, with the little a timeline tells; a parked one is not heard."""
    applied.failing.add("a:3")
    data = {"actor": "ada", "stepKey": "pack", "lines": [{"sku": "TEAPOT"}]}
    box = Inbox(database, "c", applied.effect)
    await box.apply([record("a", 1, 0), record("a", 2, 1, data=data), record("b", 1, 2)])
    await box.apply([record("a", 1, 0), record("a", 3, 3)])
    heard = await database.fetch("select * from heard order by order_id, sequence")
    assert [(row["order_id"], row["stream"], row["sequence"]) for row in heard] == [
        ("a", "order-a", 1),
        ("a", "order-a", 2),
        ("b", "order-b", 1),
    ]
    assert {row["type"] for row in heard} == {"OrderPlaced"}
    assert heard[1]["data"] == {"actor": "ada", "stepKey": "pack"}
    assert heard[0]["heard_at"] > heard[0]["at"]


async def test_a_repeated_event_has_no_second_effect(database: Database, applied: Applied):
    """Neither in the same batch nor in a later one, nor beside a new event; and it is no poison."""
    box = Inbox(database, "c", applied.effect)
    await box.apply([record("a", 1, 0), record("a", 1, 1)])
    await box.apply([record("a", 1, 0), record("a", 2, 2)])
    await Inbox(database, "c", applied.effect).apply([record("a", 2, 2)])
    assert await applied.all() == ["a:1", "a:2"]
    assert await parked(database) == []


async def test_each_consumer_has_its_own_memory(database: Database, applied: Applied):
    """Two consumers of one database both apply an event."""
    for consumer in ("first", "second"):
        await Inbox(database, consumer, applied.effect).apply([record("a", 1, 0)])
    assert await applied.all() == ["a:1", "a:1"]


async def test_poison_parks_its_order_and_others_flow(database: Database, applied: Applied):
    """The failing record and every later one of its order are set aside; what came before has its effect."""
    applied.failing.add("a:2")
    box = Inbox(database, "c", applied.effect)
    await box.apply([record("a", 1, 0), record("a", 2, 1), record("b", 1, 2), record("a", 3, 3)])
    await box.apply([record("b", 2, 4), record("a", 4, 5)])
    assert await applied.all() == ["a:1", "b:1", "b:2"]
    assert await parked(database) == [
        (1, "ZeroDivisionError"),
        (3, "an earlier record of this order is parked"),
        (5, "an earlier record of this order is parked"),
    ]


async def test_an_effect_that_fails_once_is_tried_again(database: Database, applied: Applied):
    """A passing failure parks nothing, and its half-made effect is undone."""
    failures = iter([ZeroDivisionError(), ZeroDivisionError()])

    async def hesitant(connection: Connection, event: Event) -> None:
        await applied.effect(connection, event)
        if (failure := next(failures, None)) is not None:
            raise failure

    await Inbox(database, "c", hesitant).apply([record("a", 1, 0)])
    assert await applied.all() == ["a:1"]
    assert await parked(database) == []


async def test_a_record_that_is_no_event_is_parked(database: Database, applied: Applied):
    """Bytes that nobody can read are kept as they came, and the batch around them is applied."""
    box = Inbox(database, "c", applied.effect)
    await box.apply([record("a", 1, 0), stranger("x\x00y", 1), record("b", 1, 2)])
    await box.apply([stranger("x\x00y", 1)])
    assert await applied.all() == ["a:1", "b:1"]
    assert [offset for offset, _ in await parked(database)] == [1]
    row = await database.fetch_one("select body from parked")
    assert row is not None
    assert row["body"] == b"\x00not json"


async def test_a_record_without_a_key_blocks_nobody(database: Database, applied: Applied):
    """Without a key a record is an order of its own."""
    keyless = [IncomingRecord(TOPIC, 0, offset, None, {}, b"") for offset in (1, 2)]
    await Inbox(database, "c", applied.effect).apply([*keyless, record("a", 1, 3)])
    assert await applied.all() == ["a:1"]
    assert len(await parked(database)) == 2


async def test_a_place_in_the_stream_is_taken_once(database: Database, applied: Applied):
    """Another event that claims a sequence we have applied is poison, not a duplicate."""
    box = Inbox(database, "c", applied.effect)
    await box.apply([record("a", 1, 0), record("a", 1, 1, name="impostor")])
    assert await applied.all() == ["a:1"]
    assert await parked(database) == [(1, "another event has this place in the stream")]


async def test_nothing_is_applied_while_the_database_is_away(
    database: Database, settings: PostgresSettings, applied: Applied
):
    """The caller hears that it must come again, and what began is undone."""

    async def cut(connection: Connection, event: Event) -> None:
        await applied.effect(connection, event)
        if event.sequence == 2:
            await _end_sessions_but_ours(settings)
            await connection.execute("select 1")

    with pytest.raises(Unavailable):
        await Inbox(database, "c", cut).apply([record("a", 1, 0), record("a", 2, 1)])
    assert await applied.all() == []
    assert await parked(database) == []
    await Inbox(database, "c", applied.effect).apply([record("a", 1, 0), record("a", 2, 1)])
    assert await applied.all() == ["a:1", "a:2"]


async def _end_sessions_but_ours(settings: PostgresSettings) -> None:
    async with await psycopg.AsyncConnection.connect(settings.url, autocommit=True) as connection:
        await connection.execute(
            """
            select pg_terminate_backend(pid, 2000) from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid()
            """
        )


async def test_an_empty_batch_is_fine(database: Database, applied: Applied):
    """Nothing to apply applies nothing."""
    nothing: Sequence[IncomingRecord] = []
    await Inbox(database, "c", applied.effect).apply(nothing)
    assert await applied.all() == []
