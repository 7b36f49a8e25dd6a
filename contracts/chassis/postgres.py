"""One service's own database: a pool, transactions with bounded waits, and the bell that wakes its relays.

A transaction is a pipeline: `begin` travels with the first statement, `queue` sends without waiting, and
`commit` travels with what was queued last. So loading a stream and writing a change are one round trip each.
"""

import asyncio
import select
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, LiteralString, Self, cast

import psycopg
from psycopg.abc import Params, Query, QueryNoTemplate
from psycopg.conninfo import make_conninfo
from psycopg.pq.abc import PGconn
from psycopg.rows import AsyncRowFactory, DictRow, dict_row
from psycopg.sql import SQL, Identifier
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from contracts.chassis.errors import Away, Conflict
from contracts.chassis.settings import PostgresSettings
from contracts.chassis.telemetry import transaction_span

Row = DictRow

QUIET_AFTER_BELL_SECONDS = 0.003
"""Commits of this long share one bell: 4,000 changes a second would otherwise send as many notifications."""


MOST_WAITING = 500
"""For a connection of one pool, more than any role has at work; one more is told at once."""


class Connection(psycopg.AsyncConnection[DictRow]):
    """A connection that can send without waiting, and knows which bells to ring when its work is done."""

    def __init__(self, pgconn: PGconn, row_factory: AsyncRowFactory[DictRow] = dict_row) -> None:
        super().__init__(pgconn, row_factory)
        self.bells: set[str] = set()
        """Channels whose relays have something to do once this transaction committed."""
        self.contended = False
        """True when this work lost against another writer before."""
        self.now: datetime
        """The database's clock, the only one that all processes share, when a stream was last read here."""
        self._sending: psycopg.AsyncPipeline | None = None

    async def execute(
        self, query: Query, params: Params | None = None, *, prepare: bool | None = None, binary: bool = False
    ) -> psycopg.AsyncCursor[DictRow]:
        """The statement is done, and everything that was queued before it."""
        plain = cast("QueryNoTemplate", query)
        cursor = await super().execute(plain, params, prepare=prepare, binary=binary)
        if self._sending is not None:
            await self._sending.sync()
        return cursor

    async def queue(
        self, query: QueryNoTemplate, params: Params | None = None
    ) -> psycopg.AsyncCursor[DictRow]:
        """The statement is on its way: a fetch waits for its rows, an error comes with the commit or sooner.

        It has no `rowcount` yet. Outside of a transaction this is `execute`."""
        return await super().execute(query, params)

    @asynccontextmanager
    async def pipelined(self) -> AsyncGenerator[None]:
        """A transaction around everything inside; the pool rolls back what is left with an error."""
        try:
            async with self.pipeline() as pipeline:
                self._sending = pipeline
                try:
                    await self.queue("begin")
                    yield
                    end = await self.queue("commit")
                except BaseException:
                    await _read_out(pipeline)
                    raise
        except psycopg.errors.PipelineAborted as aborted:
            raise _origin_of(aborted) from None
        finally:
            self._sending = None
        if end.statusmessage != "COMMIT":
            raise psycopg.InternalError("an error inside was swallowed, so nothing was committed")


async def _read_out(pipeline: psycopg.AsyncPipeline) -> None:
    """The answers to what was queued behind a failure are read; psycopg would log each as an error ignored.

    The first call stops at what had arrived, the second one reads the rest."""
    for _ in range(2):
        with suppress(psycopg.Error):
            await pipeline.sync()


def _origin_of(aborted: BaseException) -> BaseException:
    """The error that aborted the pipeline; psycopg raises the last answer it read, not the first."""
    while isinstance(aborted, psycopg.errors.PipelineAborted) and aborted.__context__ is not None:
        aborted = aborted.__context__
    return aborted


class Database:
    """The pool of one process. Everything it lends out times out rather than waits for ever."""

    def __init__(self, settings: PostgresSettings, application: str = "tandem") -> None:
        self._conninfo = connection_string(settings, application)
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            self._conninfo,
            connection_class=Connection,
            kwargs={"autocommit": True},
            min_size=1,
            max_size=settings.pool_size,
            timeout=settings.pool_wait_seconds,
            max_waiting=MOST_WAITING,
            # After that the next caller tries again at once, instead of waiting for a back-off of minutes.
            reconnect_timeout=settings.pool_wait_seconds,
            check=_still_there,
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
    async def connection(self) -> AsyncGenerator[Connection]:
        """A connection in autocommit. Raises Unavailable when the database does not answer in time."""
        with _translated():
            async with self._pool.connection() as connection:
                connection.bells.clear()
                connection.contended = False
                yield connection
                # Taken before the connection goes back: the next borrower starts with none.
                bells = tuple(connection.bells)
        for channel in bells:
            self.ring(channel)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """Everything inside commits together or not at all.

        Raises Unavailable when the database does not answer, Conflict when another writer was first."""
        async with self.connection() as connection:
            with transaction_span():
                async with connection.pipelined():
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
        """Wakes whoever listens on the channel, soon and once for many commits.

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
                    # A notification needs no disk: nothing is lost with it that a poll would not find.
                    await connection.execute(
                        "select set_config('synchronous_commit', 'off', true), pg_notify(%s, '')", (channel,)
                    )
            except psycopg.Error:
                return
            await asyncio.sleep(QUIET_AFTER_BELL_SECONDS)


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
        keepalives_idle=30,
        tcp_user_timeout=30_000,
        options=options,
    )


async def _still_there(connection: Connection) -> None:
    """Raises when the server has hung up: an idle connection that has something to read was told goodbye."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        # Closed, or the pool would take it back and offer it again.
        await connection.close()
        raise psycopg.OperationalError("the server closed the connection")


class _translated:  # noqa: N801  reads as a word: `with _translated():`
    """Turns the driver's errors into ours; what is our own bug stays what it is."""

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        match error:
            case psycopg.errors.SerializationFailure() | psycopg.errors.DeadlockDetected():
                raise Conflict from error
            case psycopg.errors.UniqueViolation() if (
                error.diag.constraint_name == "events_stream_version_key"
            ):
                raise Conflict from error
            case (
                psycopg.OperationalError()
                | psycopg.InterfaceError()
                | psycopg.errors.IdleInTransactionSessionTimeout()
                | psycopg.errors.ReadOnlySqlTransaction()
                | PoolTimeout()
            ):
                raise Away("the database does not answer") from error
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
        async with await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True) as connection:
            for channel in self.heard:
                await connection.execute(SQL("listen {}").format(Identifier(channel)))
            # What was rung while nobody listened is found by looking once.
            for event in self.heard.values():
                event.set()
            await self._hear(connection.pgconn)

    async def _hear(self, pgconn: PGconn) -> None:
        """Sets the events of each notification until the connection is lost, which raises.

        By the loop's own reader: `connection.notifies()` wakes up ten times a second to look for nothing."""
        loop = asyncio.get_running_loop()
        lost: asyncio.Future[None] = loop.create_future()
        # A lost connection no longer knows its socket.
        socket = pgconn.socket

        def read() -> None:
            try:
                pgconn.consume_input()
            except psycopg.Error as error:
                loop.remove_reader(socket)
                lost.set_exception(error)
                return
            while notification := pgconn.notifies():
                self.heard[notification.relname.decode()].set()

        loop.add_reader(socket, read)
        try:
            await lost
        finally:
            loop.remove_reader(socket)
