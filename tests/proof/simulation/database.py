"""The twin of `contracts.chassis.postgres`: the very SQL of our code, answered from tables in memory.

It does not read SQL. Each statement is known by its text and has a Python function of its own; one that is
not known is an error, so that a changed statement is looked at and never guessed. A transaction runs alone,
from its first statement to its commit: two that ran at once on PostgreSQL meet in `unique (stream, version)`
and the loser begins again, which is one after the other too.
"""

import json
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import islice
from typing import Any, Literal, LiteralString, TypeVar

from psycopg.types.json import Jsonb

from contracts.chassis.errors import Unavailable

Behaviour = Literal["ok", "lost", "away"]
"""lost: committed, but nobody is told. away: rolled back."""
Row = dict[str, Any]
Key = tuple[Any, ...]
Given = Any
"""The parameters of a statement: a sequence or a mapping, as the code gave them."""


class UnknownStatement(BaseException):
    """The twin has no answer for this SQL; give it one in `statements.py` or `moving.py`.

    Nobody of ours may take it for a failure of the database and try again."""


class Tables:
    """One service's data, and how to take back what an open transaction did to it."""

    def __init__(self, now: Callable[[], datetime], place: Callable[[], int]) -> None:
        self._now = now
        self.place = place
        """Where a fact stands among all facts of all databases."""
        self._tables: defaultdict[str, dict[Key, Row]] = defaultdict(dict)
        """Rows by their primary key, in the order they were first stored."""
        self._moments: list[datetime] = []
        self._undo: list[list[tuple[str, Key, Row | None]]] = [[]]
        """What takes back each open transaction; the last one is inside of those before it."""
        self._identity = 0

    def now(self) -> datetime:
        """The moment at which the transaction began, as in PostgreSQL."""
        return self._moments[-1] if self._moments else self._now()

    def identity(self) -> int:
        """The next number; like PostgreSQL's, it is not taken back."""
        self._identity += 1
        return self._identity

    def rows(self, table: str) -> Mapping[Key, Row]:
        """The table itself, by the keys of its rows, for whoever only looks."""
        return self._tables[table]

    def all(self, table: str) -> list[Row]:
        return list(self._tables[table].values())

    def count(self, table: str) -> int:
        return len(self._tables[table])

    def newest(self, table: str, number: int) -> list[Row]:
        """So many of the rows stored last, oldest first."""
        return list(islice(reversed(self._tables[table].values()), number))[::-1]

    def get(self, table: str, *key: Any) -> Row | None:
        return self._tables[table].get(key)

    def put(self, table: str, key: Key, row: Row) -> None:
        """The row is there, in place of one with the same key."""
        rows = self._tables[table]
        self._undo[-1].append((table, key, rows.get(key)))
        rows[key] = row

    def update(self, table: str, key: Key, **values: Any) -> None:
        self.put(table, key, {**self._tables[table][key], **values})

    def remove(self, table: str, key: Key) -> None:
        self._undo[-1].append((table, key, self._tables[table].pop(key)))

    def begin(self) -> None:
        """Another writer comes first: what it commits stays, whatever becomes of who began before."""
        self._undo.append([])
        self._moments.append(self._now())

    def mark(self) -> int:
        return len(self._undo[-1])

    def roll_back(self, to: int = 0) -> None:
        """Everything since the mark is undone."""
        undo = self._undo[-1]
        while len(undo) > to:
            table, key, before = undo.pop()
            if before is None:
                del self._tables[table][key]
            else:
                self._tables[table][key] = before

    def end(self) -> None:
        """What the transaction did stays."""
        self._undo.pop()
        self._moments.pop()


Answer = Callable[[Tables, Given], Sequence[Row] | int | None]
"""Rows for a question, the number of changed rows for a change."""
A = TypeVar("A", bound=Answer)
STATEMENTS: dict[str, Answer] = {}


def statement(sql: str) -> Callable[[A], A]:
    """The function answers this statement."""

    def known(answer: A) -> A:
        STATEMENTS[normal(sql)] = answer
        _KNOWN.clear()
        return answer

    return known


_KNOWN: dict[str, Answer | None] = {}
"""By the text as our code has it, layout included."""


def answer_to(sql: str) -> Answer | None:
    """What answers this statement; None for one that is about the transaction, or that nobody knows."""
    if sql not in _KNOWN:
        _KNOWN[sql] = STATEMENTS.get(normal(sql))
    return _KNOWN[sql]


def normal(sql: str) -> str:
    """The text without comments and without its layout."""
    lines = (line.partition("--")[0] for line in sql.splitlines())
    return " ".join(" ".join(lines).split())


class Cursor:
    """What a statement answered."""

    __slots__ = ("_rows", "rowcount")

    def __init__(self, answer: Sequence[Row] | int | None) -> None:
        is_number = isinstance(answer, int)
        self._rows = [] if is_number or answer is None else list(answer)
        self.rowcount = answer if is_number else len(self._rows)

    async def fetchone(self) -> Row | None:
        return self._rows.pop(0) if self._rows else None

    async def fetchall(self) -> list[Row]:
        rows, self._rows = self._rows, []
        return rows


class Many:
    """A cursor that runs one statement many times."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection

    async def executemany(self, sql: str, many: Sequence[Given]) -> None:
        for given in many:
            await self._connection.execute(sql, given)


class Connection:
    """The twin of contracts.chassis.postgres.Connection."""

    def __init__(self, tables: Tables) -> None:
        self.bells: set[str] = set()
        self.contended = False
        self.now: datetime
        self._tables = tables
        self._savepoints: dict[str, int] = {}

    async def execute(self, sql: str, given: Given = None) -> Cursor:
        return Cursor(self._answer(sql, given))

    async def queue(self, sql: str, given: Given = None) -> Cursor:
        return Cursor(self._answer(sql, given))

    @asynccontextmanager
    async def cursor(self) -> AsyncGenerator[Many]:
        yield Many(self)

    def _answer(self, sql: str, given: Given) -> Sequence[Row] | int | None:
        if answer := answer_to(sql):
            return answer(self._tables, given)
        match normal(sql).split():
            case ["savepoint", name]:
                self._savepoints[name] = self._tables.mark()
            case ["rollback", "to", "savepoint", name]:
                self._tables.roll_back(self._savepoints[name])
            case _:
                raise UnknownStatement(normal(sql))
        return None


async def _at_once(_: str) -> None: ...


class Database:
    """The twin of contracts.chassis.postgres.Database."""

    def __init__(
        self,
        now: Callable[[], datetime],
        *,
        place: Callable[[], int] = lambda: 0,
        stage: Callable[[str], Awaitable[None]] = _at_once,
        ring: Callable[[str], None] = lambda _: None,
        miss: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.tables = Tables(now, place)
        self.behaviours: list[Behaviour] = []
        """How the next transactions that write end; then all goes well."""
        self._miss = miss
        """Called instead of `ring` when whoever committed was cut off before it could ring."""
        self._stage = stage
        """Called after each commit: whoever wrote may die here without knowing that it was stored."""
        self._ring = ring

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        connection = Connection(self.tables)
        yield connection
        for channel in sorted(connection.bells):
            self.ring(channel)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """Everything inside is stored together or not at all."""
        connection = Connection(self.tables)
        self.tables.begin()
        try:
            yield connection
            wrote = self.tables.mark() > 0
            behaviour = self.behaviours.pop(0) if wrote and self.behaviours else "ok"
            if behaviour == "away":
                raise Unavailable("the database does not answer")
        except BaseException:
            self.tables.roll_back()
            raise
        finally:
            self.tables.end()
        for channel in sorted(connection.bells):
            (self.ring if behaviour == "ok" else self._miss)(channel)
        if behaviour == "lost":
            raise Unavailable("the database does not answer")
        if wrote:
            await self._stage("stored")

    async def fetch(self, sql: LiteralString, **given: Any) -> list[Row]:
        return await (await Connection(self.tables).execute(sql, given)).fetchall()

    async def fetch_one(self, sql: LiteralString, **given: Any) -> Row | None:
        return await (await Connection(self.tables).execute(sql, given)).fetchone()

    async def execute(self, sql: LiteralString, **given: Any) -> int:
        return (await Connection(self.tables).execute(sql, given)).rowcount

    def ring(self, channel: str) -> None:
        self._ring(channel)


def plain(value: Any) -> Any:
    """What jsonb gives back: a value of its own, only of JSON's kinds."""
    if isinstance(value, Jsonb):
        return json.loads(json.dumps(value.obj))
    return value
