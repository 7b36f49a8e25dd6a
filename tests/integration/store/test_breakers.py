"""One circuit breaker for many workers, on a real database."""

import asyncio
from typing import Any

import psycopg
import pytest

from contracts.chassis import breakers
from contracts.chassis.backlog import BREAKER, Backlog
from contracts.chassis.breakers import Breaker, CircuitOpen
from contracts.chassis.errors import Misunderstood, NotFound, Unavailable
from contracts.chassis.postgres import Database
from contracts.chassis.settings import ExceptionSettings

THRESHOLD = 3


@pytest.fixture
async def ready(database: Database) -> Database:
    """A provider that is asked again an hour after it was given up."""
    await database.execute(
        "insert into circuit_breakers (name, threshold, cool_down_seconds) values ('payments', 3, 3600)"
    )
    return database


def worker(database: Database) -> Breaker:
    """It looks before each call."""
    return Breaker(database, "payments", believed_seconds=-1)


async def asks(breaker: Breaker, error: BaseException | None = None) -> None:
    async with breaker.guarding("order-1:authorize:1"):
        if error:
            raise error


async def fails(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(Unavailable):
            await asks(breaker, Unavailable("payments: HTTP 503"))


async def cool_down_ends(database: Database) -> None:
    await database.execute("update circuit_breakers set open_until = now()")


async def state(database: Database) -> tuple[str, int]:
    circuit = await breakers.find(database, "payments")
    return circuit.state, circuit.failures


async def turns(database: Database) -> list[tuple[str, str]]:
    rows = await database.fetch(breakers.HISTORY, name="payments", limit=50)
    return [(row["from_state"], row["to_state"]) for row in reversed(rows)]


async def test_failures_of_many_workers_add_up(ready: Database):
    """Each of three workers sees one failure: together they open it, and none asks any more."""
    crew = [worker(ready) for _ in range(THRESHOLD)]
    for one in crew:
        await fails(one)
    assert await state(ready) == ("OPEN", 0)
    for one in crew:
        with pytest.raises(CircuitOpen) as refused:
            await asks(one)
        assert refused.value.retry_after is not None
        assert 3500 < refused.value.retry_after.total_seconds() < 3600 * 1.5
        with pytest.raises(CircuitOpen):
            await one.check("order-1:authorize:1")


async def test_failures_at_once_are_all_counted(ready: Database):
    """None is lost, and the breaker is turned once."""
    await asyncio.gather(*(fails(worker(ready)) for _ in range(8)))
    assert await turns(ready) == [("CLOSED", "OPEN")]


async def test_an_answer_in_between_begins_a_new_row(ready: Database):
    breaker = worker(ready)
    await fails(breaker, 2)
    await asks(breaker)
    assert await state(ready) == ("CLOSED", 0)
    await fails(breaker, 2)
    assert await state(ready) == ("CLOSED", 2)


async def test_a_refusal_or_a_mistake_of_ours_is_an_answer(ready: Database):
    """Only a provider that cannot answer counts."""
    breaker = worker(ready)
    await fails(breaker, 2)
    with pytest.raises(Misunderstood):
        await asks(breaker, Misunderstood())
    assert await state(ready) == ("CLOSED", 0)


async def test_one_probe_at_a_time_goes_out(ready: Database):
    """All others are turned away until it is known what became of it; then all go on."""
    await fails(worker(ready), THRESHOLD)
    await cool_down_ends(ready)
    goes_on, let_go = asyncio.Event(), asyncio.Event()

    async def probe() -> None:
        async with worker(ready).guarding("probe"):
            goes_on.set()
            await let_go.wait()

    probing = asyncio.create_task(probe())
    await goes_on.wait()
    for _ in range(5):
        with pytest.raises(CircuitOpen):
            await asks(worker(ready))
    let_go.set()
    await probing
    await asks(worker(ready))
    assert await turns(ready) == [("CLOSED", "OPEN"), ("OPEN", "HALF_OPEN"), ("HALF_OPEN", "CLOSED")]


async def test_many_who_come_when_the_cool_down_ends_send_one_probe(ready: Database):
    """The row decides who it is."""
    await fails(worker(ready), THRESHOLD)
    await cool_down_ends(ready)
    sent: list[int] = []
    all_came = asyncio.Event()

    async def come(number: int) -> bool:
        try:
            async with worker(ready).guarding(str(number)):
                sent.append(number)
                await all_came.wait()
        except CircuitOpen:
            return False
        return True

    coming = asyncio.as_completed([come(number) for number in range(10)])
    turned_away = [await next(coming) for _ in range(9)]
    all_came.set()
    assert (turned_away, await next(coming), len(sent)) == ([False] * 9, True, 1)


async def test_a_probe_without_an_answer_opens_it_again(ready: Database):
    await fails(worker(ready), THRESHOLD)
    await cool_down_ends(ready)
    await fails(worker(ready))
    assert await state(ready) == ("OPEN", 0)
    with pytest.raises(CircuitOpen):
        await asks(worker(ready))


async def test_a_probe_that_died_with_its_worker_is_replaced(ready: Database):
    """After its time another one may go out."""
    await fails(worker(ready), THRESHOLD)
    await cool_down_ends(ready)
    with pytest.raises(asyncio.CancelledError):
        await asks(worker(ready), asyncio.CancelledError())
    with pytest.raises(CircuitOpen):
        await asks(worker(ready))
    await ready.execute("update circuit_breakers set probe_until = now()")
    await asks(worker(ready))
    assert (await state(ready))[0] == "CLOSED"


async def test_a_call_from_before_the_breaker_was_turned_tells_nothing_new(ready: Database):
    """Time-outs of calls that were out when it opened must not open it anew after it closed."""

    async def late() -> None:
        async with worker(ready).guarding("old"):
            await fails(worker(ready), THRESHOLD)
            await cool_down_ends(ready)
            await asks(worker(ready))
            raise Unavailable

    with pytest.raises(Unavailable):
        await late()
    assert await state(ready) == ("CLOSED", 0)


async def test_a_closed_breaker_costs_the_database_nothing(ready: Database):
    """It is believed for a second: no look at all for the calls of that second."""
    breaker = Breaker(ready, "payments", believed_seconds=3600)
    await asks(breaker)
    await ready.execute("update circuit_breakers set state = 'OPEN', open_until = now() + interval '1 hour'")
    await asks(breaker)
    with pytest.raises(CircuitOpen):
        await asks(worker(ready))


async def test_an_operator_trips_and_resets_it(ready: Database):
    """Open until somebody resets it, with who and why."""
    await breakers.set_by_hand(ready, "payments", "OPEN", reason="their maintenance", actor="ada")
    with pytest.raises(CircuitOpen):
        await asks(worker(ready))
    await breakers.set_by_hand(ready, "payments", "CLOSED", reason="they are back", actor="grace")
    await asks(worker(ready))
    rows = await ready.fetch(breakers.HISTORY, name="payments", limit=5)
    told = [(row["actor"], row["reason"], row["from_state"], row["to_state"]) for row in rows]
    assert told == [
        ("grace", "they are back", "OPEN", "CLOSED"),
        ("ada", "their maintenance", "CLOSED", "OPEN"),
    ]


async def test_a_trip_for_a_while_ends_with_a_probe(ready: Database):
    await breakers.set_by_hand(ready, "payments", "OPEN", reason="a nap", actor="ada", seconds=60)
    assert ((await breakers.find(ready, "payments")).open_seconds or 0) > 50
    await cool_down_ends(ready)
    await asks(worker(ready))
    assert (await state(ready))[0] == "CLOSED"


@pytest.mark.parametrize(("seconds", "is_until_reset"), [(None, True), (60.0, False)])
async def test_whoever_calls_himself_the_breaker_trips_it_as_he_says(
    ready: Database, seconds: float | None, is_until_reset: bool
):
    """A name decides nothing: until somebody resets it, or for so long, and never for the cool-down."""
    await breakers.set_by_hand(
        ready, "payments", "OPEN", reason="a drill", actor=breakers.AUTOMATIC, seconds=seconds
    )
    circuit = await breakers.find(ready, "payments")
    assert (circuit.state, circuit.open_until is None) == ("OPEN", is_until_reset)
    assert circuit.open_seconds is None or circuit.open_seconds <= 60


async def test_what_is_configured_holds_at_once_and_is_recorded(ready: Database):
    await breakers.configure(
        ready, "payments", threshold=1, cool_down_seconds=None, reason="too slow", actor="ada"
    )
    await fails(worker(ready))
    assert (await state(ready))[0] == "OPEN"
    row = (await ready.fetch(breakers.HISTORY, name="payments", limit=5))[-1]
    assert (row["reason"], row["actor"]) == ("threshold 1, cool-down 3600 s: too slow", "ada")


async def test_a_transition_is_final(ready: Database):
    await fails(worker(ready), THRESHOLD)
    for statement in (
        "update circuit_breaker_transitions set actor = 'x'",
        "delete from circuit_breaker_transitions",
    ):
        with pytest.raises(psycopg.errors.RaiseException, match="never changed or deleted"):
            await ready.execute(statement)  # pyright: ignore[reportArgumentType]


async def test_a_provider_that_is_not_ours_has_no_breaker(ready: Database):
    with pytest.raises(NotFound):
        await asks(Breaker(ready, "weather"))


async def test_the_state_is_a_metric(ready: Database):
    """One for the state it is in, zero for the others."""
    await fails(worker(ready), THRESHOLD)
    await Backlog(ready, ExceptionSettings()).look()
    seen: dict[str, Any] = {
        name: BREAKER.labels("payments", name)._value.get()  # pyright: ignore[reportPrivateUsage]
        for name in ("CLOSED", "OPEN", "HALF_OPEN")
    }
    assert seen == {"CLOSED": 0, "OPEN": 1, "HALF_OPEN": 0}
