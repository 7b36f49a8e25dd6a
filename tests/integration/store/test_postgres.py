"""The database as a service meets it: bounded waits, one transaction, a bell, and servers that go away."""

import asyncio
from contextlib import suppress

import psycopg
import pytest

from contracts.chassis import knocks, outbox, pii
from contracts.chassis.errors import Conflict, Refused, Unavailable
from contracts.chassis.knocks import Knock
from contracts.chassis.outbox import OutboxRecord
from contracts.chassis.postgres import Database, Listener
from contracts.chassis.settings import PostgresSettings

RECORD = OutboxRecord(0, "key", "topic", {}, b"")


async def _end_other_sessions(settings: PostgresSettings) -> None:
    async with await psycopg.AsyncConnection.connect(settings.url, autocommit=True) as connection:
        await connection.execute(
            """
            select pg_terminate_backend(pid, 2000) from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid()
            """
        )


async def test_a_statement_that_takes_too_long_is_unavailable(settings: PostgresSettings):
    """Nobody waits for ever; the caller may ask again later."""
    async with Database(settings.model_copy(update={"statement_timeout_seconds": 0.1})) as database:
        with pytest.raises(Unavailable):
            await database.execute("select pg_sleep(5)")
        assert await database.fetch("select 1 as one") == [{"one": 1}]


async def test_a_lock_that_is_not_given_is_unavailable(settings: PostgresSettings):
    """Who waits for another one's row gives up, and its transaction leaves nothing."""
    async with Database(settings.model_copy(update={"lock_timeout_seconds": 0.1})) as database:
        await database.execute("insert into outbox_relays values ('r', now())")
        async with database.transaction() as holder:
            await holder.execute("update outbox_relays set seen_at = now()")
            with pytest.raises(Unavailable):  # noqa: PT012  the whole transaction is the statement
                async with database.transaction() as waiter:
                    await knocks.add(waiter, Knock("w"))
                    await waiter.execute("update outbox_relays set seen_at = now()")
        assert await database.fetch("select 1 from knocks") == []


async def test_a_pool_that_is_empty_is_unavailable(settings: PostgresSettings):
    """Waiting for a connection is bounded, too."""
    narrow = settings.model_copy(update={"pool_size": 1, "pool_wait_seconds": 0.1})
    async with Database(narrow) as database, database.connection():
        with pytest.raises(Unavailable):
            await database.fetch("select 1")


async def test_a_database_that_is_not_there_is_unavailable(settings: PostgresSettings):
    """No server behind the address is the same answer, within the pool's wait."""
    away = settings.model_copy(
        update={"url": "postgresql://tandem@127.0.0.1:1/orders", "pool_wait_seconds": 0.2}
    )
    async with Database(away) as database:
        with pytest.raises(Unavailable):
            await database.fetch("select 1")


async def test_a_deadlock_is_a_conflict(database: Database):
    """Two writers that wait for each other: one of them is told to decide again."""
    await database.execute("insert into outbox_relays values ('a', now()), ('b', now())")
    meet = asyncio.Barrier(2)

    async def lock(first: str, second: str) -> None:
        async with database.transaction() as connection:
            await connection.execute("update outbox_relays set seen_at = now() where owner = %s", (first,))
            await meet.wait()
            await connection.execute("update outbox_relays set seen_at = now() where owner = %s", (second,))

    outcomes = await asyncio.gather(lock("a", "b"), lock("b", "a"), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [Conflict]


async def test_a_transaction_is_all_or_nothing(database: Database):
    """An error inside undoes what was queued and what was done."""
    with pytest.raises(Refused):  # noqa: PT012  the whole transaction is the statement
        async with database.transaction() as connection:
            await connection.execute("insert into outbox_relays values ('a', now())")
            await connection.queue("insert into outbox_relays values ('b', now())")
            raise Refused
    assert await database.fetch("select 1 from outbox_relays") == []


async def test_a_swallowed_error_is_not_taken_for_a_commit(database: Database):
    """A transaction that PostgreSQL gave up cannot end as if it had been stored."""
    with pytest.raises(psycopg.Error):  # noqa: PT012  the whole transaction is the statement
        async with database.transaction() as connection:
            await connection.execute("insert into outbox_relays values ('a', now())")
            with suppress(psycopg.errors.DivisionByZero):
                await connection.execute("select 1 / 0")
    assert await database.fetch("select 1 from outbox_relays") == []


async def test_execute_knows_how_many_rows_it_changed(database: Database):
    """Inside a transaction a statement that is executed is done, and its error is its own."""
    async with database.transaction() as connection:
        done = await connection.execute("insert into outbox_relays values ('a', now()), ('b', now())")
        assert done.rowcount == 2
        async with connection.transaction(force_rollback=True):
            await connection.execute("delete from outbox_relays")
        with pytest.raises(psycopg.errors.UniqueViolation):
            async with connection.transaction():
                await connection.execute("insert into outbox_relays values ('a', now())")
    assert len(await database.fetch("select 1 from outbox_relays")) == 2


async def test_a_cancelled_transaction_leaves_the_pool_whole(settings: PostgresSettings):
    """Whoever is cut off in the middle of a statement stores nothing and keeps no connection."""
    async with Database(settings.model_copy(update={"pool_size": 2})) as database:
        for _ in range(6):

            async def work() -> None:
                async with database.transaction() as connection:
                    await knocks.add(connection, Knock("w"))
                    await connection.execute("select pg_sleep(5)")

            task = asyncio.create_task(work())
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await database.fetch("select 1 from knocks") == []


async def test_a_pool_forgets_connections_that_the_server_closed(
    database: Database, settings: PostgresSettings
):
    """After a restart of the server nobody is handed a dead connection."""
    async with database.connection() as first, database.connection() as second:
        assert first is not second
    await _end_other_sessions(settings)
    for _ in range(3):
        assert await database.fetch("select 1 as one") == [{"one": 1}]


async def test_the_bell_wakes_who_listens(database: Database, settings: PostgresSettings):
    """What was written decides who is woken: a knock its relay, a record the other one, nothing nobody."""
    listener = Listener(database.conninfo, outbox.CHANNEL, knocks.CHANNEL)
    records, knocked = (listener.heard[channel] for channel in (outbox.CHANNEL, knocks.CHANNEL))
    listening = asyncio.create_task(listener.run())
    async with asyncio.timeout(5):
        await asyncio.gather(records.wait(), knocked.wait())

    async def heard() -> tuple[bool, bool]:
        await asyncio.sleep(0.1)
        both = records.is_set(), knocked.is_set()
        records.clear()
        knocked.clear()
        return both

    await heard()
    async with database.transaction() as connection:
        await connection.execute("select 1")
    assert await heard() == (False, False)
    async with database.transaction() as connection:
        await knocks.add(connection, Knock("w"))
    assert await heard() == (False, True)
    async with database.transaction() as connection:
        await outbox.add(connection, [RECORD])
    assert await heard() == (True, False)
    with suppress(Refused):
        async with database.transaction() as connection:
            await outbox.add(connection, [RECORD])
            raise Refused
    assert await heard() == (False, False)
    database.ring(knocks.CHANNEL)
    assert await heard() == (False, True)
    listening.cancel()


async def test_who_listens_comes_back(database: Database):
    """A lost connection is made again, and what was missed meanwhile is looked for."""
    listener = Listener(database.conninfo, "outbox")
    listening = asyncio.create_task(listener.run())
    heard = listener.heard["outbox"]
    async with asyncio.timeout(10):
        await heard.wait()
        heard.clear()
        await database.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where query like 'listen%%'"
        )
        await heard.wait()
        heard.clear()
        database.ring("outbox")
        await heard.wait()
    listening.cancel()


async def test_personal_content_is_kept_by_version(database: Database):
    """A version that is there stays as it is; one that is not is None."""
    async with database.transaction() as connection:
        await pii.put(connection, "order-1", "address", 1, {"street": "first"})
        await pii.put(connection, "order-1", "address", 1, {"street": "second"})
        await pii.put(connection, "order-1", "address", 2, {"street": "third"})
    async with database.connection() as connection:
        assert await pii.get(connection, "order-1", "address", 1) == {"street": "first"}
        assert await pii.get(connection, "order-1", "address", 2) == {"street": "third"}
        assert await pii.get(connection, "order-1", "contact", 1) is None
