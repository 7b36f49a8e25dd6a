"""The event store, and the journal: the one transaction in which a service changes.

A stream is the only truth about its order or fulfillment. Whoever changes it loads it, lets a pure decision
answer with facts, and stores them with everything that must follow from them (projection, outbox rows, a
knock) in one transaction. Two writers of one stream meet in `unique (stream, version)`: the second one
reloads and decides again.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Generic, LiteralString, TypeVar
from uuid import UUID

import psycopg
from pydantic import BaseModel, ConfigDict
from uuid_utils.compat import uuid7

from contracts.chassis import put_back
from contracts.chassis.errors import Conflict, StoreBehind
from contracts.chassis.postgres import Connection, Database, Row
from contracts.chassis.seen import seen
from contracts.chassis.telemetry import current_traceparent

ATTEMPTS = 8
"""Times a decision is taken. From the second on the losers queue up for the stream, so that only writers who
come fresh can still be faster: 16 writers of one stream needed 3 at most."""

ACCEPTED_FOR = timedelta(minutes=10)
"""What waits when a person accepts a shorter stream goes on, and so does what its workflow asks before it
has heard of it; an older word is about another time that the store was put back."""

# Only when a stream is shorter than its workflow knew it.
_ACCEPTED: LiteralString = """
    select 1
    from exceptions
    where stream = %(stream)s
      and code = 'STORE_BEHIND'
      and resolution = 'skip'
      and resolved_at > %(since)s
    limit 1
    """

_LOCK: LiteralString = "select pg_advisory_xact_lock(hashtextextended(%s, 0))"

# Of a stream that has nothing yet, one row that says only what time it is and whether somebody knows of more.
_LOAD: LiteralString = """
    select
        stream,
        version,
        event_id,
        type,
        schema_version,
        data::text as data,
        meta ->> 'actor' as actor,
        meta ->> 'commandId' as command_id,
        meta ->> 'causationId' as causation_id,
        meta ->> 'traceparent' as traceparent,
        recorded_at,
        clock_timestamp() as now,
        is_behind
    from (
        select exists (
            select 1
            from exceptions
            where exceptions.stream = %s and code = 'STORE_BEHIND' and resolved_at is null
        ) as is_behind
    ) as here
    left join events on stream = %s and version > %s
    order by version
    """

_APPEND: LiteralString = """
    insert into events (stream, version, event_id, type, schema_version, data, meta, recorded_at)
    values (%s, %s, %s, %s, %s, %s::jsonb, %s::jsonb, %s)
    """


class Fact(BaseModel):
    """What happened: past tense, holding only what was learnt. Id, version and time live in the envelope."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: ClassVar[int] = 1


F = TypeVar("F", bound=Fact)
S = TypeVar("S")
T = TypeVar("T")

Asked = psycopg.AsyncCursor[Row]
"""A stream that was asked for and may not have been answered yet."""
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Cause:
    """Who wanted the change and by which command."""

    actor: str
    command_id: str | None = None
    causation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Recorded(Generic[F]):
    """A fact as it is stored."""

    stream: str
    version: int
    event_id: UUID
    fact: F
    actor: str
    command_id: str | None
    causation_id: str | None
    traceparent: str | None
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Change(Generic[S, F]):
    """A stream after a decision; `recorded` is empty when the decision had nothing to add."""

    stream: str
    before: S | None
    state: S
    version: int
    recorded: Sequence[Recorded[F]]
    is_put_back: bool = False
    """The stream is shorter than its workflow knew it, and a person said that this is right."""
    states: Sequence[S] = ()
    """The stream after each of the recorded facts."""

    @property
    def steps(self) -> Iterator[tuple[S | None, Recorded[F], S]]:
        """Each recorded fact between the stream before and after it, oldest first."""
        return zip((self.before, *self.states), self.recorded, self.states, strict=False)


Decision = Callable[[Connection, S | None], Awaitable[Sequence[F]]]
"""Reads the state of the stream (None: nothing was ever recorded); answers with facts, or raises Refused."""


class EventStore(Generic[F]):
    """Facts of many streams in one table, gapless within each stream."""

    def __init__(
        self, facts: Iterable[type[F]], upcasters: Mapping[tuple[str, int], Upcaster] | None = None
    ) -> None:
        self._facts = {fact.__name__: fact for fact in facts}
        self._upcasters = upcasters or {}

    async def load(self, connection: Connection, stream: str, after: int = 0) -> list[Recorded[F]]:
        """Facts of one stream, oldest first, from version `after + 1` on, without gaps."""
        recorded, _ = await self.read(connection, await self.asked(connection, stream, after))
        return recorded

    async def asked(self, connection: Connection, stream: str, after: int = 0) -> Asked:
        """The question is on its way; `read` waits for the answer."""
        return await connection.queue(_LOAD, (stream, stream, after))

    async def read(self, connection: Connection, asked: Asked) -> tuple[list[Recorded[F]], bool]:
        """The facts, and whether a person has yet to say what is right because more was seen or told."""
        rows = await asked.fetchall()
        connection.now = rows[0]["now"].astimezone(UTC)
        return [self._read(row) for row in rows if row["version"] is not None], rows[0]["is_behind"]

    async def append(
        self, connection: Connection, stream: str, expected_version: int, facts: Sequence[F], cause: Cause
    ) -> list[Recorded[F]]:
        """The facts are stored as versions `expected_version + 1` on, at the time at which it was read.

        When someone wrote first the transaction ends in Conflict, at the latest at its commit."""
        traceparent = current_traceparent()
        recorded = [
            Recorded(
                stream, version, uuid7(), fact,
                cause.actor, cause.command_id, cause.causation_id, traceparent, connection.now,
            )
            for version, fact in enumerate(facts, start=expected_version + 1)
        ]  # fmt: skip
        async with connection.cursor() as cursor:
            await cursor.executemany(_APPEND, [_row(each) for each in recorded])
        return recorded

    def _read(self, row: Row) -> Recorded[F]:
        return Recorded(
            row["stream"], row["version"], row["event_id"], self._fact(row),
            row["actor"], row["command_id"], row["causation_id"], row["traceparent"], row["recorded_at"],
        )  # fmt: skip

    def _fact(self, row: Row) -> F:
        name, schema_version = row["type"], row["schema_version"]
        if (name, schema_version) not in self._upcasters:
            return self._facts[name].model_validate_json(row["data"])
        data = json.loads(row["data"])
        while upcast := self._upcasters.get((name, schema_version)):
            data, schema_version = upcast(data), schema_version + 1
        return self._facts[name].model_validate(data)


def _row(recorded: Recorded[Any]) -> tuple[Any, ...]:
    meta = {
        "actor": recorded.actor,
        "commandId": recorded.command_id,
        "causationId": recorded.causation_id,
        "traceparent": recorded.traceparent,
    }
    fact: Fact = recorded.fact
    return (
        recorded.stream,
        recorded.version,
        recorded.event_id,
        type(fact).__name__,
        fact.schema_version,
        fact.model_dump_json(),
        json.dumps({name: value for name, value in meta.items() if value is not None}),
        recorded.recorded_at,
    )


class Journal(Generic[S, F]):
    """One transaction for one change of one stream."""

    def __init__(
        self,
        database: Database,
        store: EventStore[F],
        *,
        evolve: Callable[[S | None, F], S],
        follow: Callable[[Connection, Change[S, F]], Awaitable[None]],
    ) -> None:
        self.database = database
        self._store = store
        self._evolve = evolve
        self._follow = follow
        """Writes what must follow from new facts in their transaction: projection, outbox rows, receipts."""

    async def read(self, stream: str) -> Change[S, F] | None:
        """The stream as it is now, with its facts; None when nothing was ever recorded.

        Raises StoreBehind when the workflow that asks has seen more of it, here and in what follows."""
        try:
            async with self.database.connection() as connection:
                asked = await self._store.asked(connection, stream)
                return await self._loaded(connection, stream, asked, changes=False)
        except StoreBehind as behind:
            await self._tell_somebody(behind)
            raise

    async def change(self, stream: str, cause: Cause, decide: Decision[S, F]) -> Change[S, F]:
        """The decision's facts are stored with all that follows from them.

        Raises Refused when the decision does, Conflict when others wrote first too many times, and
        StoreBehind while a person has yet to say what is right."""
        return await self.retrying(lambda connection: self.change_in(connection, stream, cause, decide))

    async def retrying(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """The work's result from a transaction of its own; a conflict runs it again on newer state."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self.database.transaction() as connection:
                    connection.contended = attempt > 1
                    return await work(connection)
            except StoreBehind as behind:
                await self._tell_somebody(behind)
                raise
            except Conflict:
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    async def lock(self, connection: Connection, stream: str) -> None:
        """Others who lock the stream wait for this transaction; who does not can still be faster."""
        await connection.queue(_LOCK, (stream,))

    async def asked(self, connection: Connection, stream: str) -> Asked:
        """The stream is asked for, so that the question travels with what the caller asks next."""
        if connection.contended:
            await self.lock(connection, stream)
        return await self._store.asked(connection, stream)

    async def change_in(
        self,
        connection: Connection,
        stream: str,
        cause: Cause,
        decide: Decision[S, F],
        asked: Asked | None = None,
    ) -> Change[S, F]:
        """The same inside a transaction of the caller's, who runs it again on Conflict."""
        asked = asked or await self.asked(connection, stream)
        loaded = await self._loaded(connection, stream, asked, changes=True)
        before = loaded.state if loaded else None
        is_put_back = loaded is not None and loaded.is_put_back
        version = loaded.version if loaded else 0
        facts = await decide(connection, before)
        states = self._folded(before, facts)
        state = states[-1] if states else before
        if state is None:
            raise AssertionError(f"a decision left {stream} empty")
        if not facts:
            return Change(stream, before, state, version, [], is_put_back)
        recorded = await self._store.append(connection, stream, version, facts, cause)
        change = Change(stream, before, state, version + len(facts), recorded, is_put_back, states)
        await self._follow(connection, change)
        return change

    async def _loaded(
        self, connection: Connection, stream: str, asked: Asked, *, changes: bool
    ) -> Change[S, F] | None:
        recorded, is_behind = await self._store.read(connection, asked)
        version = recorded[-1].version if recorded else 0
        # Whoever only looks may see what there is; a workflow looks in order to act on it.
        if is_behind and (changes or seen().version):
            raise StoreBehind(stream, seen=seen().version, stored=version, is_known=True)
        is_put_back = version < seen().version
        if is_put_back:
            await _expect_accepted(connection, stream, version)
        states = self._folded(None, [each.fact for each in recorded])
        return Change(stream, None, states[-1], version, recorded, is_put_back, states) if states else None

    def _folded(self, state: S | None, facts: Iterable[F]) -> list[S]:
        """The stream after each of the facts."""
        states: list[S] = []
        for fact in facts:
            state = self._evolve(state, fact)
            states.append(state)
        return states

    async def _tell_somebody(self, behind: StoreBehind) -> None:
        """A person knows that the stream lacks what its workflow has seen."""
        if not behind.is_known:
            async with self.database.transaction() as connection:
                await put_back.tell(connection, behind.stream, seen=behind.seen, stored=behind.stored)


async def _expect_accepted(connection: Connection, stream: str, version: int) -> None:
    """Raises StoreBehind unless a person has said, since the workflow asked, that this is right."""
    known = seen()
    since = known.asked_at - ACCEPTED_FOR if known.asked_at else None
    rows = await connection.execute(_ACCEPTED, {"stream": stream, "since": since})
    if await rows.fetchone() is None:
        raise StoreBehind(stream, seen=known.version, stored=version)
