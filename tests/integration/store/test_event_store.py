"""The event store and the journal, on PostgreSQL."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Any

import psycopg
import pytest

from contracts.chassis import event_store, outbox
from contracts.chassis.errors import Conflict, Refused
from contracts.chassis.event_store import ATTEMPTS, Cause, EventStore, Fact, Journal
from contracts.chassis.postgres import Connection, Database
from tests.integration.store.tally import (
    CAUSE,
    STORE,
    Added,
    TallyChange,
    adding,
    evolve,
    publish,
    tally,
)

WRITERS = 16
ROUNDS = 5


async def test_facts_are_read_as_they_were_recorded(database: Database):
    """Oldest first, versions from 1 without gaps, each with who wanted it and by which command."""
    journal = tally(database)
    written = await journal.change("s", Cause("ada", "c-1", "e-0"), adding(2, 3))
    await journal.change("s", CAUSE, adding(4))
    stream = await journal.read("s")
    assert stream is not None
    assert [each.version for each in stream.recorded] == [1, 2, 3]
    assert (stream.state, stream.version) == (9, 3)
    assert stream.recorded[:2] == written.recorded
    assert (stream.recorded[0].actor, stream.recorded[0].command_id, stream.recorded[0].causation_id) == (
        "ada", "c-1", "e-0",
    )  # fmt: skip


async def test_a_fact_has_the_database_s_time(database: Database, monkeypatch: pytest.MonkeyPatch):
    """However wrong the clock of the process is that records it; so time goes forward in every stream."""

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Wrong":
            return cls(2001, 1, 1, tzinfo=tz)

    monkeypatch.setattr(event_store, "datetime", Wrong)
    for _ in range(2):
        await tally(database).change("s", CAUSE, adding(1))
    clock = await database.fetch_one(
        """
        select min(recorded_at) >= pg_postmaster_start_time() and max(recorded_at) <= now() as is_its_own,
            array_agg(recorded_at order by version) = array_agg(recorded_at order by recorded_at) as goes_on
        from events
        """
    )
    assert clock == {"is_its_own": True, "goes_on": True}


async def test_a_stream_that_never_began_is_none(database: Database):
    """Nothing recorded is None, not an empty state."""
    assert await tally(database).read("never") is None


async def test_a_change_knows_the_state_before_and_after(database: Database):
    """What follows a change can tell what moved."""
    seen: list[TallyChange] = []

    async def remember(connection: Connection, change: TallyChange) -> None:
        seen.append(change)

    journal = tally(database, remember)
    await journal.change("s", CAUSE, adding(1))
    await journal.change("s", CAUSE, adding(5))
    assert [(each.before, each.state, each.version) for each in seen] == [(None, 1, 1), (1, 6, 2)]


async def test_a_decision_without_facts_writes_nothing(database: Database):
    """A wish that is already true leaves the stream as it is, and nothing follows."""

    async def never(connection: Connection, change: TallyChange) -> None:
        raise AssertionError("nothing may follow")

    await tally(database).change("s", CAUSE, adding(1))
    unchanged = await tally(database, never).change("s", CAUSE, adding())
    assert (unchanged.state, unchanged.version, unchanged.recorded) == (1, 1, [])


async def test_concurrent_writers_leave_no_gap_and_lose_nothing(database: Database):
    """Sixteen writers of one stream: every change is stored once, on the state it was decided on."""
    journal = tally(database)
    tries: list[int] = []

    async def write() -> None:
        for _ in range(ROUNDS):
            seen: list[int] = []

            async def decide(
                connection: Connection, total: int | None, seen: list[int] = seen
            ) -> Sequence[Added]:
                seen.append(total or 0)
                return [Added(amount=1)]

            change = await journal.change("s", CAUSE, decide)
            tries.append(len(seen))
            assert change.state == seen[-1] + 1

    await asyncio.gather(*(write() for _ in range(WRITERS)))
    stream = await journal.read("s")
    assert stream is not None
    assert [each.version for each in stream.recorded] == list(range(1, WRITERS * ROUNDS + 1))
    assert stream.state == WRITERS * ROUNDS
    assert max(tries) < ATTEMPTS


async def test_an_append_on_an_old_version_is_a_conflict(database: Database):
    """Who expects version 0 of a stream that has one stores nothing."""
    await tally(database).change("s", CAUSE, adding(1))
    with pytest.raises(Conflict):  # noqa: PT012  the whole transaction is the statement
        async with database.transaction() as connection:
            await STORE.load(connection, "s")
            await STORE.append(connection, "s", 0, [Added(amount=7)], CAUSE)
    assert len(await database.fetch("select 1 from events")) == 1


async def test_a_conflict_that_never_ends_is_raised(database: Database):
    """After so many decisions the caller hears of it; the loop is not endless."""
    decided = 0

    async def lose(connection: Connection, total: int | None) -> Sequence[Added]:
        nonlocal decided
        decided += 1
        raise Conflict

    with pytest.raises(Conflict):
        await tally(database).change("s", CAUSE, lose)
    assert decided == ATTEMPTS


@pytest.mark.parametrize(
    "statement", ["update events set type = 'Other'", "delete from events", "truncate events"]
)
async def test_facts_are_final(database: Database, statement: Any):
    """The database itself refuses to change or delete a fact."""
    await tally(database).change("s", CAUSE, adding(1))
    with pytest.raises(psycopg.errors.RaiseException, match="never changed or deleted"):
        await database.execute(statement)


async def test_what_follows_commits_with_the_facts_or_not_at_all(database: Database):
    """A projection that fails undoes the facts and the outbox rows it came with."""

    async def fail(connection: Connection, change: TallyChange) -> None:
        await publish(connection, change)
        await connection.execute("select 1 / 0")

    with pytest.raises(psycopg.errors.DivisionByZero):
        await tally(database, fail).change("s", CAUSE, adding(1))
    assert await tally(database).read("s") is None
    assert await database.fetch("select 1 from outbox") == []


async def test_an_error_of_a_queued_statement_undoes_everything(database: Database):
    """Nobody waits for a queued statement, and yet its error stops the commit."""

    async def fail(connection: Connection, change: TallyChange) -> None:
        await outbox.add(connection, [])
        await connection.queue("insert into receipts (command_id) values (null)")

    with pytest.raises(psycopg.errors.NotNullViolation):
        await tally(database, fail).change("s", CAUSE, adding(1))
    assert await tally(database).read("s") is None


async def test_a_refused_change_stores_nothing(database: Database):
    """A refusal is the caller's to keep; the stream does not know of it."""

    async def refuse(connection: Connection, total: int | None) -> Sequence[Added]:
        raise Refused

    with pytest.raises(Refused):
        await tally(database).change("s", CAUSE, refuse)
    assert await tally(database).read("s") is None


async def test_an_old_fact_is_read_in_its_new_shape(database: Database):
    """Upcasters run one after the other, from the version a fact was stored with."""
    await tally(database).change("s", CAUSE, adding(2))

    class Counted(Fact):
        schema_version = 3
        cents: int

    def to_second(data: dict[str, Any]) -> dict[str, Any]:
        return {"units": data["amount"]}

    def to_third(data: dict[str, Any]) -> dict[str, Any]:
        return {"cents": data["units"] * 100}

    Counted.__name__ = "Added"
    store = EventStore((Counted,), {("Added", 1): to_second, ("Added", 2): to_third})
    async with database.connection() as connection:
        assert (await store.load(connection, "s"))[0].fact == Counted(cents=200)


async def test_a_change_inside_a_larger_transaction_shares_its_fate(database: Database):
    """Two streams changed in one transaction are both changed or neither is."""
    journal: Journal[int, Added] = tally(database)

    async def both(connection: Connection) -> None:
        await journal.change_in(connection, "a", CAUSE, adding(1))
        await journal.change_in(connection, "b", CAUSE, adding(1))
        raise Refused

    with pytest.raises(Refused):
        await journal.retrying(both)
    assert await journal.read("a") is None
    assert evolve(None, Added(amount=1)) == 1
