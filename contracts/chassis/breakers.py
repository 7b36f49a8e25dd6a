"""A circuit breaker for each provider, shared by all workers of a service.

The machine of states is `purgatory`'s; the state is a row, and whoever turns it has locked that row: so many
workers count as one, and in HALF_OPEN one call at a time goes out as a probe. What is CLOSED or OPEN is
believed for a second without a look, so a call costs the database nothing most of the time. Whether a
cool-down is over is said by the database's clock.
"""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Literal, LiteralString
from zlib import crc32

from prometheus_client import Counter
from purgatory.domain.model import CLOSED, HALF_OPENED, OPENED, Context, OpenedState

from contracts.chassis.errors import Away, NotFound, Unavailable
from contracts.chassis.postgres import Connection, Database, Row
from contracts.values import Code

State = Literal["CLOSED", "OPEN", "HALF_OPEN"]
AUTOMATIC = "circuit-breaker"
"""Who turned it when nobody did."""
BELIEVED_SECONDS = 1.0
PROBE_SECONDS = 60.0
"""A probe of which nothing is heard for so long is dead, as no call takes that long; another one goes out."""
TRIPPED_SECONDS: Final = 30.0
"""One that an operator opened is looked at so often by those who wait."""

TRANSITIONS = Counter(
    "tandem_circuit_breaker_transitions", "Turns of a circuit breaker made by this process", ["breaker", "to"]
)

_NAMES: dict[str, State] = {CLOSED: "CLOSED", OPENED: "OPEN", HALF_OPENED: "HALF_OPEN"}
_STATES: dict[State, Any] = {ours: theirs for theirs, ours in _NAMES.items()}

_COLUMNS: LiteralString = """
    select
        *,
        -- Null while it is open until somebody resets it.
        extract(epoch from open_until - now())::float as open_seconds,
        extract(epoch from probe_until - now())::float as probe_seconds
    from circuit_breakers
    """
LISTED: LiteralString = _COLUMNS + "order by name"
FIND: LiteralString = _COLUMNS + "where name = %(name)s"
_LOCKED: LiteralString = FIND + " for update"

_TURN: LiteralString = """
    update circuit_breakers
    set
        state = %(state)s,
        failures = %(failures)s,
        open_until = now() + make_interval(secs => %(open_seconds)s::float),
        probe_until = now() + make_interval(secs => %(probe_seconds)s::float),
        changed_at = case when state = %(state)s then changed_at else now() end
    where name = %(name)s
    """
_NOTE: LiteralString = """
    insert into circuit_breaker_transitions (breaker, from_state, to_state, reason, actor)
    values (%(name)s, %(from)s, %(to)s, %(reason)s, %(actor)s)
    """
_CONFIGURE: LiteralString = """
    update circuit_breakers
    set
        threshold = coalesce(%(threshold)s, threshold),
        cool_down_seconds = coalesce(%(cool_down_seconds)s, cool_down_seconds)
    where name = %(name)s
    """
HISTORY: LiteralString = """
    select from_state, to_state, reason, actor, at
    from circuit_breaker_transitions
    where breaker = %(name)s
    order by id desc
    limit %(limit)s
    """


class CircuitOpen(Away):
    """The circuit breaker of the provider is open: it is not asked now, and the call is repeated later."""

    code = Code.CIRCUIT_OPEN


@dataclass(frozen=True, slots=True)
class Circuit:
    """A breaker as its row says."""

    name: str
    state: State
    failures: int
    threshold: int
    cool_down_seconds: float
    open_seconds: float | None
    """What is left of the cool-down; None when there is none, or until somebody resets it."""
    probe_seconds: float | None
    """How long the probe that is out may still take."""
    open_until: datetime | None
    changed_at: datetime

    @property
    def closed_to_all(self) -> float | None:
        """Seconds until asking has any sense; None when a call may go out, be it as a probe."""
        match self.state:
            case "CLOSED":
                return None
            case "OPEN":
                left = TRIPPED_SECONDS if self.open_seconds is None else self.open_seconds
                return left if left > 0 else None
            case "HALF_OPEN":
                # Half a cool-down: sooner all who wait would come in vain while one probe takes its time.
                return self.cool_down_seconds / 2 if (self.probe_seconds or 0) > 0 else None

    def turned(self, handle: Callable[[Context], None]) -> tuple[State, int]:
        """The state and the failures in a row after what `handle` tells the machine of states."""
        # Not its clock but the database's says whether the cool-down is over.
        opened_at = float("inf") if self.closed_to_all else 0.0
        context = Context(
            self.name,
            self.threshold,
            self.cool_down_seconds,
            _STATES[self.state],
            self.failures,
            opened_at if self.state == "OPEN" else None,
        )
        try:
            handle(context)
        except OpenedState:
            return self.state, self.failures
        return _NAMES[context.state], context.failure_count or 0


def circuit_of(row: Row) -> Circuit:
    return Circuit(**{name: row[name] for name in Circuit.__slots__})


class Breaker:
    """One provider's breaker as a worker uses it."""

    def __init__(self, database: Database, name: str, *, believed_seconds: float = BELIEVED_SECONDS) -> None:
        self._database = database
        self.name = name
        self._believed_seconds = believed_seconds
        self._seen: Circuit | None = None
        self._seen_at = 0.0

    async def check(self, about: str) -> None:
        """Raises CircuitOpen when a call about this would be refused; nothing is claimed."""
        self._refuse((await self._believed()).closed_to_all, about)

    @asynccontextmanager
    async def guarding(self, about: str) -> AsyncGenerator[None]:
        """The call inside may go out, and the breaker learns whether the provider answered.

        Raises CircuitOpen when it may not. Only Unavailable counts against the provider; whatever else comes
        out of the block is an answer of it, or a mistake of ours."""
        before = await self._believed()
        self._refuse(before.closed_to_all, about)
        is_probe = before.state != "CLOSED" and await self._claimed(about)
        try:
            yield
        except Unavailable as error:
            await self._learn(error, before, is_probe)
            raise
        except Exception:
            await self._learn(None, before, is_probe)
            raise
        await self._learn(None, before, is_probe)

    async def _believed(self) -> Circuit:
        """The breaker as it was a moment ago."""
        if self._seen is None or time.monotonic() - self._seen_at > self._believed_seconds:
            self._see(await find(self._database, self.name))
        assert self._seen is not None
        return self._seen

    def _see(self, circuit: Circuit) -> None:
        self._seen, self._seen_at = circuit, time.monotonic()

    def _refuse(self, seconds: float | None, about: str) -> None:
        """Raises CircuitOpen with a delay; those who wait come back one after the other, not all at once."""
        if seconds is not None:
            spread = 1 + crc32(about.encode()) / 2**32 / 2
            raise CircuitOpen(
                f"{self.name} is not asked now", retry_after=timedelta(seconds=seconds * spread)
            )

    async def _claimed(self, about: str) -> bool:
        """True when this call is the probe. Raises CircuitOpen when another one is out."""
        async with self._database.transaction() as connection:
            circuit = await _locked(connection, self.name)
            refused_for = circuit.closed_to_all
            if refused_for is None and circuit.state != "CLOSED":
                turned = circuit.turned(Context.handle_new_request)
                await _turn_itself(connection, circuit, turned, reason="the cool-down is over")
        self._seen = None
        self._refuse(refused_for, about)
        return circuit.state != "CLOSED"

    async def _learn(self, error: Unavailable | None, before: Circuit, is_probe: bool) -> None:
        """What the call told counts, unless the breaker was turned since: then it is old, or no probe."""
        if error is None and not is_probe and before.failures == 0:
            return
        async with self._database.transaction() as connection:
            circuit = await _locked(connection, self.name)
            if circuit.state == "HALF_OPEN" if is_probe else circuit.changed_at == before.changed_at:
                turned = circuit.turned(partial(_told, error))
                await _turn_itself(connection, circuit, turned, reason=_why(circuit, error))
        self._seen = None


def _told(error: Unavailable | None, context: Context) -> None:
    if error is None:
        context.handle_end_request()
    else:
        context.handle_exception(error)


def _why(circuit: Circuit, error: Unavailable | None) -> str:
    if error is None:
        return "the probe was answered"
    if circuit.state == "HALF_OPEN":
        return f"the probe failed, {error.detail}"
    return f"{circuit.failures + 1} in a row failed, the last one {error.detail}"


async def find(database: Database, name: str) -> Circuit:
    """Raises NotFound for a provider this service does not ask."""
    return _known(await database.fetch_one(FIND, name=name), name)


async def _turn_itself(
    connection: Connection, circuit: Circuit, turned: tuple[State, int], *, reason: str
) -> None:
    """Nobody turned it: where it opens, it is for its cool-down."""
    state, failures = turned
    seconds = circuit.cool_down_seconds
    await turn(connection, circuit, state, failures, reason=reason, actor=AUTOMATIC, open_seconds=seconds)


async def turn(
    connection: Connection,
    circuit: Circuit,
    state: State,
    failures: int,
    *,
    reason: str,
    actor: str,
    open_seconds: float | None,
) -> None:
    """The breaker is in that state, and who turned it is recorded; the caller has locked its row.

    An open one lets a probe out after `open_seconds`; without them it waits for somebody to reset it."""
    await connection.queue(
        _TURN,
        {
            "name": circuit.name,
            "state": state,
            "failures": failures,
            "open_seconds": open_seconds if state == "OPEN" else None,
            "probe_seconds": PROBE_SECONDS if state == "HALF_OPEN" else None,
        },
    )
    if state != circuit.state:
        await note(connection, circuit, state, reason=reason, actor=actor)
        TRANSITIONS.labels(circuit.name, state).inc()


async def note(connection: Connection, circuit: Circuit, state: State, *, reason: str, actor: str) -> None:
    told = {"name": circuit.name, "from": circuit.state, "to": state, "reason": reason[:200], "actor": actor}
    await connection.queue(_NOTE, told)


async def set_by_hand(
    database: Database,
    name: str,
    state: Literal["CLOSED", "OPEN"],
    *,
    reason: str,
    actor: str,
    seconds: float | None = None,
) -> None:
    """It is CLOSED, or OPEN for so many seconds or until somebody resets it. Raises NotFound."""
    async with database.transaction() as connection:
        circuit = await _locked(connection, name)
        await turn(connection, circuit, state, 0, reason=reason, actor=actor, open_seconds=seconds)
        if state == circuit.state:
            await note(connection, circuit, state, reason=reason, actor=actor)


async def configure(
    database: Database,
    name: str,
    *,
    threshold: int | None,
    cool_down_seconds: float | None,
    reason: str,
    actor: str,
) -> None:
    """What is given holds from the next failure on. Raises NotFound."""
    async with database.transaction() as connection:
        circuit = await _locked(connection, name)
        asked = {"name": name, "threshold": threshold, "cool_down_seconds": cool_down_seconds}
        await connection.queue(_CONFIGURE, asked)
        what = (threshold or circuit.threshold, cool_down_seconds or circuit.cool_down_seconds)
        told = "threshold {}, cool-down {:g} s: ".format(*what) + reason
        await note(connection, circuit, circuit.state, reason=told, actor=actor)


async def _locked(connection: Connection, name: str) -> Circuit:
    return _known(await (await connection.execute(_LOCKED, {"name": name})).fetchone(), name)


def _known(row: Row | None, name: str) -> Circuit:
    if row is None:
        raise NotFound(f"no circuit breaker {name[:60]}; see GET /circuit-breakers")
    return circuit_of(row)
