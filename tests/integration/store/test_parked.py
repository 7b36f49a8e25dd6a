"""Parked records: told on the dead-letter topic, let in again in order, given up with a reason."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from contracts.chassis import inbox
from contracts.chassis.errors import NotFound, Refused, Unavailable
from contracts.chassis.inbox import BEHIND, Inbox
from contracts.chassis.kafka.records import IncomingRecord
from contracts.chassis.parked import Flow, Parked
from contracts.chassis.postgres import Connection, Database, Row
from contracts.chassis.settings import PostgresSettings
from contracts.envelope import Event
from tests.integration.store.incoming import TOPIC, Applied, record, stranger

PATIENCE_SECONDS = 60


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "RETRY_PAUSES", (0.01,))


class Gate:
    """An effect that stops inside its transaction where it is told to, until it may go on."""

    def __init__(self, applied: Applied, stop_at: str) -> None:
        self._applied, self._stop_at = applied, stop_at
        self.reached, self.open = asyncio.Event(), asyncio.Event()

    async def effect(self, connection: Connection, event: Event) -> None:
        await self._applied.effect(connection, event)
        if f"{event.correlation_id}:{event.sequence}" == self._stop_at:
            self.reached.set()
            await self.open.wait()


async def park(database: Database, applied: Applied, *records: IncomingRecord, failing: str = "a:1") -> None:
    """The records come while one of them cannot be applied; afterwards it could."""
    applied.failing.add(failing)
    await Inbox(database, "c", applied.effect).apply(records)
    applied.failing.clear()


def parked_of(database: Database, applied: Applied, gate: Gate | None = None) -> Parked:
    return Parked(database, Inbox(database, "c", (gate or applied).effect))


async def rows(database: Database) -> list[Row]:
    return await database.fetch("select * from parked order by id")


async def outcomes(database: Database) -> list[str | None]:
    return [row["outcome"] for row in await rows(database)]


async def waits_for_a_lock(database: Database) -> None:
    """Somebody does."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await database.fetch(  # noqa: ASYNC110  another session's
            "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        ):
            await asyncio.sleep(0.01)


async def test_a_parked_record_is_told_on_the_dead_letter_topic(database: Database, applied: Applied):
    """With why, whence and since when, in the transaction that parks it; apart from its order's events."""
    await park(database, applied, record("a", 1, 4), record("a", 2, 5), record("b", 1, 6))
    first, behind = await database.fetch("select key, topic, headers, body from outbox order by id")
    assert (first["topic"], first["key"]) == (f"{TOPIC}.dlq", "dlq:a")
    assert first["body"] == record("a", 1, 4).value
    row = (await rows(database))[0]
    told = {name: value for name, value in first["headers"].items() if name.startswith("dlq_")}
    assert told == {
        "dlq_id": str(row["id"]),
        "dlq_reason": "ZeroDivisionError",
        "dlq_consumer": "c",
        "dlq_topic": TOPIC,
        "dlq_partition": "0",
        "dlq_offset": "4",
        "dlq_key": "a",
        "dlq_first_failed_at": row["first_failed_at"].isoformat(),
    }
    assert first["headers"]["ce_sequence"] == "1"
    assert behind["headers"]["dlq_reason"] == BEHIND
    assert row["first_failed_at"] < row["parked_at"]


async def test_what_a_new_broker_counts_anew_is_known_by_its_event(database: Database, applied: Applied):
    """The same event at another offset is parked once; another event at a known offset is not lost."""
    await park(database, applied, record("a", 1, 0), record("a", 2, 1))
    await park(database, applied, record("a", 1, 7), record("a", 2, 8), record("b", 1, 0), failing="b:1")
    assert [(row["order_id"], row["record_offset"]) for row in await rows(database)] == [
        ("a", 0),
        ("a", 1),
        ("b", 0),
    ]


async def test_what_was_applied_before_is_not_parked_when_it_comes_again(
    database: Database, applied: Applied
):
    """A record that already had its effect has nothing to wait for."""
    await Inbox(database, "c", applied.effect).apply([record("a", 1, 0)])
    await park(database, applied, record("a", 2, 1), record("a", 1, 2), record("a", 3, 3), failing="a:2")
    assert [row["record_offset"] for row in await rows(database)] == [1, 3]


async def test_a_replay_applies_it_and_everything_behind_it(database: Database, applied: Applied):
    """In order and once, recorded with who did it; another order stays parked."""
    await park(database, applied, record("a", 1, 0), record("a", 2, 1), record("a", 3, 2))
    await park(database, applied, record("b", 1, 3), failing="b:1")
    first, second, third, other = [row["id"] for row in await rows(database)]
    assert await parked_of(database, applied).replay(first, "ada") == Flow([first, second, third])
    assert await applied.all() == ["a:1", "a:2", "a:3"]
    settled = (await rows(database))[0]
    assert (settled["outcome"], settled["settled_by"]) == ("REPLAYED", "ada")
    assert (await rows(database))[3]["outcome"] is None
    await Inbox(database, "c", applied.effect).apply([record("a", 1, 9), record("a", 4, 10)])
    assert await applied.all() == ["a:1", "a:2", "a:3", "a:4"]
    assert other not in (first, second, third)


async def test_a_replay_stops_where_one_fails_again(database: Database, applied: Applied):
    """What came before it had its effect, it says why it failed, and what is behind it waits."""
    await park(database, applied, record("a", 1, 0), record("a", 2, 1), record("a", 3, 2))
    applied.failing.add("a:2")
    first, second, _ = [row["id"] for row in await rows(database)]
    flow = await parked_of(database, applied).replay(first, "ada")
    assert flow == Flow([first], stopped_at=second, reason="ZeroDivisionError", left=2)
    assert await applied.all() == ["a:1"]
    assert [(row["reason"], row["tries"]) for row in await rows(database)][1] == ("ZeroDivisionError", 1)
    applied.failing.clear()
    # The very same command goes on where it stopped.
    assert (await parked_of(database, applied).replay(first, "ada")).left == 0
    assert await applied.all() == ["a:1", "a:2", "a:3"]


async def test_only_the_first_of_an_order_is_replayed(database: Database, applied: Applied):
    """Or the order of its stream would be lost."""
    await park(database, applied, record("a", 1, 0), record("a", 2, 1))
    first, second = [row["id"] for row in await rows(database)]
    with pytest.raises(Refused, match=f"record {first} of this order comes first"):
        await parked_of(database, applied).replay(second, "ada")
    with pytest.raises(NotFound):
        await parked_of(database, applied).replay(4711, "ada")
    assert await applied.all() == []


async def test_a_discarded_record_never_has_an_effect(database: Database, applied: Applied):
    """Also when Kafka brings it again; who, when and why is kept, and what is behind it flows."""
    await park(database, applied, record("a", 1, 0), record("a", 2, 1), record("a", 3, 2))
    first = (await rows(database))[0]["id"]
    flow = await parked_of(database, applied).discard(first, "ada", "a test of ours")
    assert len(flow.applied) == 2
    await Inbox(database, "c", applied.effect).apply([record("a", 1, 7), record("a", 4, 8)])
    assert await applied.all() == ["a:2", "a:3", "a:4"]
    row = (await rows(database))[0]
    assert (row["outcome"], row["settled_by"], row["settled_because"]) == (
        "DISCARDED",
        "ada",
        "a test of ours",
    )
    assert row["settled_at"] > row["parked_at"]
    again = await parked_of(database, applied).discard(first, "bob", "once more")
    assert again == Flow()
    assert (await rows(database))[0]["settled_by"] == "ada"


async def test_what_had_its_effect_cannot_be_discarded(database: Database, applied: Applied):
    """It is said when that was."""
    await park(database, applied, record("a", 1, 0))
    first = (await rows(database))[0]["id"]
    await parked_of(database, applied).replay(first, "ada")
    with pytest.raises(Refused, match="had its effect at"):
        await parked_of(database, applied).discard(first, "ada", "too late")


async def test_discarding_in_the_middle_lets_nothing_pass_the_first(database: Database, applied: Applied):
    """The order goes on once its first one is settled, without the one that was given up."""
    await park(database, applied, record("a", 1, 0), record("a", 2, 1), record("a", 3, 2))
    first, second, _ = [row["id"] for row in await rows(database)]
    assert await parked_of(database, applied).discard(second, "ada", "wrong") == Flow(left=2)
    assert await applied.all() == []
    await parked_of(database, applied).replay(first, "ada")
    assert await applied.all() == ["a:1", "a:3"]


async def test_what_is_no_event_is_discarded_for_good(database: Database, applied: Applied):
    """A stranger's bytes, and an event in a place that is taken, do not come back either."""
    poison = [stranger("a", 1), record("a", 1, 2, name="impostor")]
    await Inbox(database, "c", applied.effect).apply([record("a", 1, 0), *poison])
    parked = parked_of(database, applied)
    first, second = [row["id"] for row in await rows(database)]
    assert (await parked.replay(first, "ada")).reason == "not an event of ours"
    flow = await parked.discard(first, "ada", "not ours")
    assert (flow.stopped_at, flow.reason) == (second, "another event has this place in the stream")
    await parked.discard(second, "ada", "an impostor")
    await Inbox(database, "c", applied.effect).apply([*poison, record("a", 2, 3)])
    assert await applied.all() == ["a:1", "a:2"]
    assert await outcomes(database) == ["DISCARDED", "DISCARDED"]


async def test_a_replay_that_is_killed_is_done_by_the_next(database: Database, applied: Applied):
    """Killed inside the second record's transaction: the first one had its effect, nothing has it twice."""
    await park(database, applied, record("a", 1, 0), record("a", 2, 1), record("a", 3, 2))
    first = (await rows(database))[0]["id"]
    gate = Gate(applied, "a:2")
    replay = asyncio.create_task(parked_of(database, applied, gate).replay(first, "ada"))
    await gate.reached.wait()
    replay.cancel()
    await asyncio.wait({replay})
    assert await applied.all() == ["a:1"]
    assert await outcomes(database) == ["REPLAYED", None, None]
    await parked_of(database, applied).replay(first, "ada")
    assert await applied.all() == ["a:1", "a:2", "a:3"]


async def test_a_replay_whose_database_goes_away_is_done_by_the_next(
    database: Database, settings: PostgresSettings, applied: Applied
):
    """It says Unavailable, which is no failure of the record."""
    await park(database, applied, record("a", 1, 0), record("a", 2, 1))
    first = (await rows(database))[0]["id"]

    async def cut(connection: Connection, event: Event) -> None:
        await applied.effect(connection, event)
        if event.sequence == 2:
            await connection.execute("select pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(Unavailable):
        await Parked(database, Inbox(database, "c", cut)).replay(first, "ada")
    assert await applied.all() == ["a:1"]
    assert [row["tries"] for row in await rows(database)] == [0, 0]
    await parked_of(database, applied).replay(first, "ada")
    assert await applied.all() == ["a:1", "a:2"]


Deed = Callable[[Parked, int], Coroutine[Any, Any, Flow]]


def replaying(parked: Parked, first: int) -> Coroutine[Any, Any, Flow]:
    return parked.replay(first, "bob")


def discarding(parked: Parked, first: int) -> Coroutine[Any, Any, Flow]:
    return parked.discard(first, "bob", "late")


@pytest.mark.parametrize("second", [replaying, discarding])
async def test_two_people_at_once_take_turns(
    database: Database, settings: PostgresSettings, applied: Applied, second: Deed
):
    """Whoever comes second waits for the record in hand; each record has its effect once and in order."""
    await park(database, applied, record("a", 1, 0), record("a", 2, 1), record("a", 3, 2))
    first = (await rows(database))[0]["id"]
    gate = Gate(applied, "a:1")
    one = asyncio.create_task(parked_of(database, applied, gate).replay(first, "ada"))
    await gate.reached.wait()
    async with Database(settings, "second") as elsewhere:
        other = asyncio.create_task(second(parked_of(elsewhere, applied), first))
        await waits_for_a_lock(database)
        gate.open.set()
        done = await asyncio.gather(one, other, return_exceptions=True)
    assert await applied.all() == ["a:1", "a:2", "a:3"]
    assert await outcomes(database) == ["REPLAYED"] * 3
    assert not any(isinstance(each, BaseException) and not isinstance(each, Refused) for each in done)


@pytest.mark.parametrize("stop_at", ["a:1", "a:2"])
async def test_a_record_that_arrives_during_a_replay_comes_last(
    database: Database, settings: PostgresSettings, applied: Applied, stop_at: str
):
    """It waits for the record in hand and is then applied, by whoever is next; it is not left behind."""
    await park(database, applied, record("a", 1, 0), record("a", 2, 1))
    first = (await rows(database))[0]["id"]
    gate = Gate(applied, stop_at)
    replay = asyncio.create_task(parked_of(database, applied, gate).replay(first, "ada"))
    await gate.reached.wait()
    async with Database(settings, "consumer") as consumer:
        arriving = asyncio.create_task(Inbox(consumer, "c", applied.effect).apply([record("a", 3, 2)]))
        await waits_for_a_lock(database)
        gate.open.set()
        await asyncio.gather(replay, arriving)
    assert await applied.all() == ["a:1", "a:2", "a:3"]
    assert None not in await outcomes(database)


async def test_what_a_store_that_was_put_back_tells_anew_is_for_a_person(
    database: Database, applied: Applied
):
    """A place that is taken is neither applied nor passed over, nor can a replay force it; discarded, record
    by record, what is truly new flows again."""
    anew = [record("a", version, version + 2, name=f"anew-{version}") for version in (2, 3)]
    box = Inbox(database, "c", applied.effect)
    await box.apply([record("a", 1, 0), record("a", 2, 1), record("a", 3, 2)])
    await box.apply([*anew, record("a", 4, 6), record("b", 1, 7)])
    assert await applied.all() == ["a:1", "a:2", "a:3", "b:1"]
    found = await rows(database)
    taken = "another event has this place in the stream"
    assert [row["reason"] for row in found] == [taken, BEHIND, BEHIND]
    letters = await database.fetch("select headers ->> 'dlq_reason' as reason from outbox order by id")
    assert [letter["reason"] for letter in letters] == [taken, BEHIND, BEHIND]
    parked = parked_of(database, applied)
    replayed = await parked.replay(found[0]["id"], "ada")
    assert (replayed.applied, replayed.reason) == ([], taken)
    flows = [await parked.discard(row["id"], "ada", "their store was put back") for row in found[:2]]
    assert [(flow.applied, flow.left) for flow in flows] == [([], 2), ([found[2]["id"]], 0)]
    assert await applied.all() == ["a:1", "a:2", "a:3", "b:1", "a:4"]
