"""One service's own database: a pool, transactions with bounded waits, and the bell that wakes its relays."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, LiteralString, Self

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from contracts.chassis.errors import Conflict, Unavailable
from contracts.chassis.settings import PostgresSettings

Connection = psycopg.AsyncConnection[DictRow]
Row = DictRow


class Database:
    """The pool of one process. Everything it lends out times out rather than waits for ever."""

    def __init__(self, settings: PostgresSettings, application: str = "tandem") -> None:
        self._conninfo = connection_string(settings, application)
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            self._conninfo,
            connection_class=psycopg.AsyncConnection[DictRow],
            kwargs={"row_factory": dict_row, "autocommit": True},
            min_size=1,
            max_size=settings.pool_size,
            timeout=settings.pool_wait_seconds,
            open=False,
        )
        self._bells: dict[str, asyncio.Task[None]] = {}
        self._rung: set[str] = set()

    async def __aenter__(self) -> Self:
        await self._pool.open(wait=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*self._bells.values(), return_exceptions=True)
        await self._pool.close(timeout=5)

    @property
    def conninfo(self) -> str:
        return self._conninfo

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection in autocommit. Raises Unavailable when the database does not answer in time."""
        with _translated():
            async with self._pool.connection() as connection:
                yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Everything inside commits together or not at all.

        Raises Unavailable when the database does not answer, Conflict when it could not order two writers."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def fetch(self, query: LiteralString, **parameters: Any) -> list[Row]:
        async with self.connection() as connection:
            return await (await connection.execute(query, parameters)).fetchall()

    async def fetch_one(self, query: LiteralString, **parameters: Any) -> Row | None:
        async with self.connection() as connection:
            return await (await connection.execute(query, parameters)).fetchone()

    async def execute(self, query: LiteralString, **parameters: Any) -> int:
        """The number of rows it changed."""
        async with self.connection() as connection:
            return (await connection.execute(query, parameters)).rowcount

    def ring(self, channel: str) -> None:
        """Wakes whoever listens on the channel, soon and at most once for many commits.

        Called after the commit: NOTIFY inside the append transaction takes a global lock and caps the store
        at 4.6k transactions a second. A bell that is lost costs one poll interval, never a row."""
        self._rung.add(channel)
        if channel not in self._bells:
            task = asyncio.create_task(self._notify(channel), name=f"bell {channel}")
            self._bells[channel] = task
            task.add_done_callback(lambda _: self._bells.pop(channel, None))

    async def _notify(self, channel: str) -> None:
        while channel in self._rung:
            self._rung.discard(channel)
            try:
                async with self._pool.connection() as connection:
                    await connection.execute("select pg_notify(%s, '')", (channel,))
            except (psycopg.Error, PoolTimeout):
                return


def connection_string(settings: PostgresSettings, application: str) -> str:
    """The service's connection string with its time-outs, so that no session can wait or idle for ever."""
    options = (
        f"-c statement_timeout={settings.statement_timeout_seconds * 1000:.0f}"
        f" -c lock_timeout={settings.lock_timeout_seconds * 1000:.0f}"
        f" -c idle_in_transaction_session_timeout={settings.idle_in_transaction_timeout_seconds * 1000:.0f}"
    )
    return make_conninfo(
        settings.url,
        application_name=application,
        connect_timeout=settings.connect_timeout_seconds,
        options=options,
    )


class _translated:  # noqa: N801  reads as a word: `with _translated():`
    """Turns the driver's errors into ours; what is our own bug stays what it is."""

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        match error:
            case psycopg.errors.SerializationFailure() | psycopg.errors.DeadlockDetected():
                raise Conflict from error
            case psycopg.OperationalError() | psycopg.InterfaceError() | PoolTimeout():
                raise Unavailable("the database does not answer") from error
            case _:
                return


class Listener:
    """Hears the bell: an event per channel, set on each notification and after each reconnect."""

    def __init__(self, conninfo: str, *channels: LiteralString) -> None:
        self._conninfo = conninfo
        self.heard: dict[str, asyncio.Event] = {channel: asyncio.Event() for channel in channels}

    async def run(self) -> None:
        """Listens until cancelled; a broken connection is made again, pausing a second."""
        while True:
            try:
                await self._listen()
            except psycopg.Error:
                await asyncio.sleep(1)

    async def _listen(self) -> None:
        connection = await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True)
        async with connection:
            for channel in self.heard:
                await connection.execute(psycopg.sql.SQL("listen {}").format(psycopg.sql.Identifier(channel)))
            # What was rung while nobody listened is found by looking once.
            for event in self.heard.values():
                event.set()
            async for notification in connection.notifies():
                self.heard[notification.channel].set()
