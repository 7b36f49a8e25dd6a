"""The outbox's relay: what moves, what waits, what is set aside."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from contracts.chassis import outbox
from contracts.chassis.errors import Unavailable, Unsendable
from contracts.chassis.outbox import OutboxRecord, OutboxRelay, OutboxRow, wait
from contracts.chassis.postgres import Connection, Database
from contracts.chassis.settings import PostgresSettings, RelaySettings
from tests.integration.store.tally import TOPIC, bucket_of

SETTINGS = RelaySettings(
    backoff_seconds=0.05, max_backoff_seconds=0.2, lease_seconds=0.6, poll_seconds=0.2, outbox_batch_size=100
)


class Topic:
    """A broker that takes everything, except what a test names."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str]] = []
        self.refusing: dict[str, Exception] = {}

    async def send(self, rows: Sequence[OutboxRow]) -> list[BaseException | None]:
        outcomes: list[BaseException | None] = []
        failed: set[str] = set()
        for row in rows:
            error = self.refusing.get(row.body.decode())
            if error is not None or row.key in failed:
                failed.add(row.key)
                outcomes.append(error or Unavailable())
            else:
                self.records.append((row.key, row.body.decode()))
                outcomes.append(None)
        return outcomes

    def of(self, key: str) -> list[str]:
        return [body for each, body in self.records if each == key]


async def put(database: Database, key: str, *bodies: str) -> None:
    async with database.transaction() as connection:
        await outbox.add(
            connection,
            [OutboxRecord(bucket_of(key), key, TOPIC, {"ce_id": body}, body.encode()) for body in bodies],
        )


async def settle(relay: OutboxRelay, seconds: float = 1.0) -> None:
    """The relay has looked for so long."""
    running = asyncio.create_task(relay.run(asyncio.Event()))
    await asyncio.sleep(seconds)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_records_leave_in_order_and_only_once(database: Database):
    """Every record is sent with what it was written with, and a second look finds nothing."""
    topic = Topic()
    relay = OutboxRelay(database, topic.send, SETTINGS)
    await put(database, "a", "1", "2", "3")
    assert await relay.turn() == 3
    assert await relay.turn() == 0
    assert topic.of("a") == ["1", "2", "3"]


async def test_a_failed_record_holds_back_its_order_only(database: Database):
    """What follows in its order waits for it, other orders flow, and nothing is out of turn."""
    topic = Topic()
    topic.refusing["1"] = Unavailable()
    patient = {"backoff_seconds": 60.0, "max_backoff_seconds": 60.0}
    relay = OutboxRelay(database, topic.send, SETTINGS.model_copy(update=patient))
    await put(database, "a", "1", "2")
    await put(database, "b", "3")
    assert await relay.turn() == 1
    await put(database, "a", "4")
    assert await relay.turn() == 0
    assert topic.records == [("b", "3")]
    topic.refusing.clear()
    await database.execute("update outbox set next_attempt_at = now()")
    assert await relay.turn() == 3
    assert topic.of("a") == ["1", "2", "4"]


async def test_a_failed_record_is_tried_again_ever_later(database: Database):
    """The pause doubles and has a limit; the row says how often and why."""
    topic = Topic()
    topic.refusing["1"] = Unavailable()
    relay = OutboxRelay(database, topic.send, SETTINGS)
    await put(database, "a", "1")
    pauses: list[float] = []
    for _ in range(4):
        await database.execute("update outbox set next_attempt_at = now()")
        await put(database, "b", "2")
        await relay.turn()
        row = await database.fetch_one(
            """
            select extract(epoch from next_attempt_at - now())::float as pause, last_error
            from outbox where key = 'a'
            """
        )
        assert row is not None
        assert row["last_error"] == "Unavailable"
        pauses.append(row["pause"])
    assert pauses == pytest.approx([0.05, 0.1, 0.2, 0.2], abs=0.04)


async def test_a_broker_that_is_away_costs_no_row_its_turn(database: Database):
    """While nothing at all can be sent no row is set back, so everything leaves as soon as it is back."""
    topic = Topic()
    topic.refusing |= {"1": Unavailable(), "2": Unavailable()}
    relay = OutboxRelay(database, topic.send, SETTINGS)
    await put(database, "a", "1")
    await put(database, "b", "2")
    for _ in range(3):
        with pytest.raises(Unavailable):
            await relay.turn()
    topic.refusing.clear()
    assert await relay.turn() == 2


async def moved(database: Database, move: Callable[[Connection, int], Awaitable[None]]) -> None:
    """A person has seen to what is parked."""
    async with database.transaction() as connection:
        for row in await database.fetch("select id from outbox where parked_at is not null"):
            await move(connection, row["id"])


async def test_what_is_discarded_lets_the_others_go(database: Database):
    """It never leaves, whatever becomes of the topics; one that is not parked is not discarded."""
    topic = Topic()
    topic.refusing["2"] = Unsendable()
    relay = OutboxRelay(database, topic.send, SETTINGS)
    await put(database, "a", "1", "2", "3")
    assert await relay.turn() == 1
    rows = await database.fetch("select id from outbox where parked_at is null")
    async with database.transaction() as connection:
        for row in rows:
            await outbox.discard(connection, row["id"])
    await moved(database, outbox.discard)
    assert await relay.turn() == 1
    assert topic.of("a") == ["1", "3"]
    assert [row["body"] for row in await database.fetch("select body from outbox order by id")] == [
        b"1",
        b"3",
    ]


async def test_a_record_that_can_never_be_sent_is_parked(database: Database):
    """It blocks its own order until a person helps; every other order flows on."""
    topic = Topic()
    topic.refusing["2"] = Unsendable()
    relay = OutboxRelay(database, topic.send, SETTINGS)
    await put(database, "a", "1", "2", "3")
    await put(database, "b", "4")
    await settle(relay, 0.5)
    await put(database, "b", "5")
    await settle(relay, 0.5)
    assert (topic.of("a"), topic.of("b")) == (["1"], ["4", "5"])
    assert [
        row["body"] for row in await database.fetch("select body from outbox where parked_at is not null")
    ] == [b"2"]

    topic.refusing.clear()
    await moved(database, outbox.unpark)
    await settle(relay)
    assert topic.of("a") == ["1", "2", "3"]


async def test_a_new_cluster_gets_everything_that_is_kept(database: Database):
    """A cluster we have not met holds nothing of ours; a known one is left alone."""
    topic = Topic()
    cluster = "first"

    async def cluster_id() -> str:
        return cluster

    await put(database, "a", "1", "2")
    for expected in (2, 0):
        relay = OutboxRelay(database, topic.send, SETTINGS, cluster_id=cluster_id)
        assert await relay.turn() == expected
        await relay.release()
    cluster = "second"
    assert await OutboxRelay(database, topic.send, SETTINGS, cluster_id=cluster_id).turn() == 2
    assert topic.of("a") == ["1", "2", "1", "2"]


async def test_a_new_cluster_gets_it_however_long_that_takes(settings: PostgresSettings, database: Database):
    """All that is kept becomes unpublished in one statement, which no time limit cuts off."""
    topic = Topic()
    cluster = "first"

    async def cluster_id() -> str:
        return cluster

    await put(database, "a", "1", "2", "3")
    relay = OutboxRelay(database, topic.send, SETTINGS, cluster_id=cluster_id)
    assert await relay.turn() == 3
    await relay.release()
    await database.execute(
        """
        create function takes_long() returns trigger language plpgsql as
        $$ begin perform pg_sleep(1.5); return new; end $$
        """
    )
    await database.execute(
        """
        create trigger takes_long before update on outbox
            for each row when (new.published_at is null and old.published_at is not null)
            execute function takes_long()
        """
    )
    cluster = "second"
    async with Database(settings.model_copy(update={"statement_timeout_seconds": 4}), "test") as limited:
        assert await OutboxRelay(limited, topic.send, SETTINGS, cluster_id=cluster_id).turn() == 3
    assert topic.of("a") == ["1", "2", "3"] * 2


async def test_what_the_old_cluster_took_meanwhile_is_sent_again(database: Database):
    """A relay that is sending while another one meets the new cluster does not mark its rows."""
    sending, finish = asyncio.Event(), asyncio.Event()

    async def slow(rows: Sequence[OutboxRow]) -> list[BaseException | None]:
        sending.set()
        await finish.wait()
        return [None] * len(rows)

    async def old() -> str:
        return "old"

    async def new() -> str:
        return "new"

    await put(database, "a", "1")
    late = asyncio.create_task(OutboxRelay(database, slow, SETTINGS, cluster_id=old).turn())
    await sending.wait()
    topic = Topic()
    other = OutboxRelay(database, topic.send, SETTINGS, cluster_id=new)
    await other.turn()
    finish.set()
    assert await late == 0
    await settle(other)
    assert topic.of("a") == ["1"]


async def test_relays_share_the_buckets_evenly(database: Database):
    """Two relays own eight buckets each soon after the second one came, and one all of them soon after."""

    async def owned() -> list[int]:
        rows = await database.fetch(
            """
            select count(*) as n
            from outbox_leases
            where expires_at > clock_timestamp()
            group by owner
            order by n
            """
        )
        return [row["n"] for row in rows]

    topic = Topic()
    relays = [OutboxRelay(database, topic.send, SETTINGS) for _ in range(2)]
    running = [asyncio.create_task(relay.run(asyncio.Event())) for relay in relays]
    await asyncio.sleep(0.8)
    assert await owned() == [8, 8]
    running[0].cancel()
    await asyncio.gather(running[0], return_exceptions=True)
    await relays[0].release()
    await asyncio.sleep(0.5)
    assert await owned() == [16]
    running[1].cancel()
    await asyncio.gather(running[1], return_exceptions=True)


async def test_a_bell_wakes_the_relay(database: Database):
    """A record leaves at once, long before the next poll."""
    topic = Topic()
    wake = asyncio.Event()
    settings = SETTINGS.model_copy(update={"poll_seconds": 60.0, "lease_seconds": 60.0})
    running = asyncio.create_task(OutboxRelay(database, topic.send, settings).run(wake))
    await asyncio.sleep(0.2)
    await put(database, "a", "1")
    wake.set()
    await asyncio.sleep(0.2)
    running.cancel()
    assert topic.of("a") == ["1"]


async def test_the_relay_outlives_a_broker_that_is_away(database: Database):
    """An error of the other side makes it wait and look again."""
    calls = 0

    async def away() -> str:
        nonlocal calls
        calls += 1
        raise Unavailable

    topic = Topic()
    await settle(OutboxRelay(database, topic.send, SETTINGS, cluster_id=away), 0.4)
    assert calls > 2


async def test_waiting_ends_with_the_event_or_the_time():
    """Who waits is woken by whichever comes first."""
    wake = asyncio.Event()
    await wait(wake, 0.01)
    wake.set()
    async with asyncio.timeout(1):
        await wait(wake, 60)
