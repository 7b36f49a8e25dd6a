"""The outbox's promise under a storm: writers race, relays are killed, stall and steal, the broker fails.

Nothing is lost, and of each order the first occurrences are in order. The same check must fail for relays
that are wrong on purpose: a bare cursor, rows claimed with SKIP LOCKED, marks without an acknowledgement.
"""

import asyncio
from collections.abc import Sequence
from itertools import takewhile
from random import Random
from typing import ClassVar

import pytest

from contracts.chassis.errors import Unavailable
from contracts.chassis.outbox import OutboxRelay, OutboxRow
from contracts.chassis.postgres import Connection, Database
from contracts.chassis.settings import PostgresSettings, RelaySettings
from tests.integration.store.tally import CAUSE, TallyChange, adding, publish, tally
from tests.proof import checks
from tests.proof.checks import Violation
from tests.proof.record import Fact, Published, Record

WRITERS, ORDERS, CHANGES, RELAYS = 16, 12, 12, 4
LEASE_SECONDS = 0.3
SETTINGS = RelaySettings(
    lease_seconds=LEASE_SECONDS, poll_seconds=0.02, backoff_seconds=0.01, max_backoff_seconds=0.05,
    outbox_batch_size=20,
)  # fmt: skip


class Storm:
    """One run: what was written, and what the broker holds."""

    def __init__(self, database: Database, seed: int, relay: type[OutboxRelay] = OutboxRelay) -> None:
        self.database = database
        self.random = Random(seed)
        self.relay = relay
        self.held: dict[str, list[int]] = {}
        """Key → versions as the broker took them, repeats included."""
        self.calm = False

    async def send(self, rows: Sequence[OutboxRow]) -> list[BaseException | None]:
        """A broker that is slow, refuses, forgets to acknowledge, and a caller that stalls past its lease."""
        if self._happens(0.03):
            await asyncio.sleep(LEASE_SECONDS * 1.5)
        outcomes: list[BaseException | None] = []
        failed: set[str] = set()
        for row in rows:
            if row.key in failed or self._happens(0.01):
                failed.add(row.key)
                outcomes.append(Unavailable())
                continue
            if self._happens(0.1):
                await asyncio.sleep(self.random.random() * 0.01)
            self.held.setdefault(row.key, []).append(int(row.body))
            if self._happens(0.01):
                failed.add(row.key)
                outcomes.append(Unavailable())
            else:
                outcomes.append(None)
        return outcomes

    def _happens(self, likelihood: float) -> bool:
        return not self.calm and self.random.random() < likelihood

    async def run(self) -> None:
        """Writers write while relays come and go; then one relay has all the time it needs."""
        self.calm = False
        troubles = [asyncio.create_task(self._kill_relays()), asyncio.create_task(self._steal_leases())]
        await asyncio.gather(*(self._write() for _ in range(WRITERS)))
        for trouble in troubles:
            trouble.cancel()
        await asyncio.gather(*troubles, return_exceptions=True)
        self.calm = True
        await self._drain()

    async def _write(self) -> None:
        async def slowly(connection: Connection, change: TallyChange) -> None:
            await publish(connection, change)
            if self.random.random() < 0.3:
                await connection.execute("select pg_sleep(%s)", (self.random.random() * 0.1,))

        journal = tally(self.database, slowly)
        for _ in range(CHANGES):
            stream = f"order-{self.random.randrange(ORDERS)}"
            await journal.change(stream, CAUSE, adding(*[1] * self.random.randint(1, 3)))

    async def _kill_relays(self) -> None:
        running = [self._start() for _ in range(RELAYS)]
        try:
            while True:
                await asyncio.sleep(self.random.random() * 0.1)
                victim = self.random.randrange(RELAYS)
                await _end(running[victim])
                running[victim] = self._start()
        finally:
            for relay in running:
                await _end(relay)

    def _start(self) -> asyncio.Task[None]:
        return asyncio.create_task(self.relay(self.database, self.send, SETTINGS).run(asyncio.Event()))

    async def _steal_leases(self) -> None:
        while True:
            await asyncio.sleep(self.random.random() * 0.2)
            await self.database.execute(
                "update outbox_leases set owner = null, expires_at = '-infinity' where random() < 0.3"
            )

    async def _drain(self) -> None:
        """Ends when the outbox is empty, or nothing has left it for a while."""
        relay = self._start()
        left, idle = -1, 0
        while left != 0 and idle < 10:
            await asyncio.sleep(0.1)
            rows = await self.database.fetch("select 1 from outbox where published_at is null")
            idle = idle + 1 if len(rows) == left else 0
            left = len(rows)
        await _end(relay)

    async def damage(self, orders: int = ORDERS) -> list[Violation]:
        """What is wrong with the topic, by the check that judges every recorded run."""
        rows = await self.database.fetch("select stream, version, type, recorded_at from events")
        assert len({row["stream"] for row in rows}) == orders
        record = Record()
        for row in rows:
            told = (row["stream"], row["version"], row["type"])
            record.facts.append(Fact("orders", *told, data={}, command_id=None, at=row["recorded_at"]))
        for stream, versions in self.held.items():
            record.published += [
                Published("tally", stream, each, f"{stream}/{each}", b"") for each in versions
            ]
        return list(checks.every_fact_is_on_its_topic(record))


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


class BareCursorRelay(OutboxRelay):
    """Wrong: remembers the last id it moved, so a row that commits later with a lower id is never seen."""

    position: ClassVar[int] = 0

    async def turn(self) -> int:
        found = await self._database.fetch(
            """
            select id, bucket, key, topic, headers, body, attempts
            from outbox where id > %(position)s order by id limit 20
            """,
            position=BareCursorRelay.position,
        )
        sending = [OutboxRow(**row) for row in found]
        outcomes = await self._send(sending)
        sent = list(takewhile(lambda row: outcomes[sending.index(row)] is None, sending))
        if sent:
            BareCursorRelay.position = max(BareCursorRelay.position, sent[-1].id)
        await self._database.execute(
            "update outbox set published_at = now() where id = any(%(ids)s)", ids=[row.id for row in sent]
        )
        return len(sent)


class SkipLockedRelay(OutboxRelay):
    """Wrong: each relay takes the next free rows, so two of one order travel side by side."""

    async def turn(self) -> int:
        async with self._database.transaction() as connection:
            found = await connection.execute(
                """
                select id, bucket, key, topic, headers, body, attempts
                from outbox where published_at is null order by id limit 5 for update skip locked
                """
            )
            sending = [OutboxRow(**row) for row in await found.fetchall()]
            outcomes = await self._send(sending)
            sent = [row.id for row, outcome in zip(sending, outcomes, strict=True) if outcome is None]
            await connection.execute("update outbox set published_at = now() where id = any(%s)", (sent,))
        return len(sent)


class ForgetfulRelay(OutboxRelay):
    """Wrong: marks what it handed over, acknowledged or not."""

    async def turn(self) -> int:
        async def send(rows: Sequence[OutboxRow]) -> list[BaseException | None]:
            await honest(rows)
            return [None] * len(rows)

        honest, self._send = self._send, send
        try:
            return await super().turn()
        finally:
            self._send = honest


@pytest.fixture
def storm_settings(settings: PostgresSettings) -> PostgresSettings:
    return settings.model_copy(update={"pool_size": WRITERS + 2 * RELAYS})


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_is_lost_and_each_order_stays_in_order(storm_settings: PostgresSettings, seed: int):
    """Whatever happens to relays and broker, every record arrives, its first time in its turn."""
    async with Database(storm_settings) as database:
        storm = Storm(database, seed)
        await storm.run()
        assert await storm.damage() == []


@pytest.mark.parametrize("wrong", [SkipLockedRelay, ForgetfulRelay])
async def test_the_check_finds_a_wrong_relay(storm_settings: PostgresSettings, wrong: type[OutboxRelay]):
    """The same storm and the same check find relays that are known to be wrong, at once or soon."""
    async with Database(storm_settings) as database:
        storm = Storm(database, 1, wrong)
        for _ in range(6):
            await storm.run()
            if {each.invariant for each in await storm.damage()} == {checks.TOPICS}:
                return
    pytest.fail("no storm showed the damage")


@pytest.mark.parametrize(("relay", "held"), [(OutboxRelay, ["quick", "slow"]), (BareCursorRelay, ["quick"])])
async def test_a_row_that_commits_late_is_not_passed_over(
    storm_settings: PostgresSettings, relay: type[OutboxRelay], held: list[str]
):
    """A transaction that took its ids first and commits last: ours moves its row, a bare cursor not."""
    BareCursorRelay.position = 0
    async with Database(storm_settings) as database:
        storm = Storm(database, 1, relay)
        storm.calm = True
        moving = relay(database, storm.send, SETTINGS)
        journal = tally(database, publish)
        async with database.transaction() as late:
            await journal.change_in(late, "slow", CAUSE, adding(1))
            await late.execute("select 1")
            await journal.change("quick", CAUSE, adding(1))
            await moving.turn()
        await moving.turn()
        assert sorted(storm.held) == held
        lost = {each.invariant for each in await storm.damage(orders=2)}
        assert lost == (set() if "slow" in held else {checks.TOPICS})
