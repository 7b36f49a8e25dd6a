"""Knocks: delivered at least once, tried again ever later, taken over from a dead relay."""

import asyncio
from datetime import timedelta
from typing import cast

import pytest
from temporalio.client import Client

from contracts.chassis import knocks
from contracts.chassis.errors import Refused, Unavailable
from contracts.chassis.knocks import DueKnock, Knock, KnockRelay
from contracts.chassis.postgres import Database, Row
from contracts.chassis.settings import RelaySettings
from contracts.chassis.telemetry import attached
from contracts.chassis.temporal.delivery import Delivery
from order_service.bootstrap.relay import HOME

SETTINGS = RelaySettings(backoff_seconds=0.05, max_backoff_seconds=0.2, poll_seconds=0.1, knock_batch_size=10)


class Door:
    """Who is knocked, and how the door answers."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.closed: dict[str, Exception] = {}

    async def deliver(self, knock: DueKnock) -> None:
        if knock.workflow_id in self.closed:
            raise self.closed[knock.workflow_id]
        self.heard.append(knock.workflow_id)


async def put(database: Database, *workflow_ids: str) -> None:
    async with database.transaction() as connection:
        for workflow_id in workflow_ids:
            await knocks.add(connection, Knock(workflow_id, "pauseFulfillment", "c-1"))


async def waiting(database: Database) -> list[Row]:
    return await database.fetch(
        """
        select workflow_id, attempts, last_error, extract(epoch from due_at - now())::float as pause
        from knocks order by id
        """
    )


async def test_a_wish_that_may_be_first_is_in_the_trace_of_the_start(database: Database):
    """A workflow that nobody started yet begins in the trace of the request that asked for it first."""
    start, wish = "1" * 32, "2" * 32
    with attached(f"00-{start}-{'1' * 16}-01"):
        await put(database, "w")
    with attached(f"00-{wish}-{'2' * 16}-01"):
        await put(database, "w", "other")
    traces = "select workflow_id, split_part(traceparent, '-', 2) as trace from knocks order by id"
    assert await database.fetch(traces) == [
        {"workflow_id": "w", "trace": start},
        {"workflow_id": "w", "trace": start},
        {"workflow_id": "other", "trace": wish},
    ]
    await database.execute("delete from knocks")
    with attached(f"00-{wish}-{'2' * 16}-01"):
        await put(database, "w")
    assert await database.fetch(traces) == [{"workflow_id": "w", "trace": wish}]


async def test_a_knock_is_delivered_and_gone(database: Database):
    """The workflow gets signal and command; nothing is left to deliver."""
    delivered: list[DueKnock] = []

    async def deliver(knock: DueKnock) -> None:
        delivered.append(knock)

    await put(database, "w")
    relay = KnockRelay(database, deliver, SETTINGS)
    assert await relay.turn() == 1
    assert await relay.turn() == 0
    assert [(each.workflow_id, each.signal, each.command_id) for each in delivered] == [
        ("w", "pauseFulfillment", "c-1")
    ]
    assert await waiting(database) == []


async def test_a_knock_leaves_only_after_the_commit(database: Database):
    """A transaction that is undone knocks nobody."""
    door = Door()
    with pytest.raises(Refused):  # noqa: PT012  the whole transaction is the statement
        async with database.transaction() as connection:
            await knocks.add(connection, Knock("w"))
            raise Refused
    assert await KnockRelay(database, door.deliver, SETTINGS).turn() == 0


@pytest.mark.parametrize(("failure", "longest"), [(RuntimeError(), 0.2), (Unavailable(), 0.1)])
async def test_a_failed_knock_is_tried_again_ever_later(
    database: Database, failure: Exception, longest: float
):
    """The pause doubles up to its limit, a lower one while Temporal is away; others are delivered."""
    door = Door()
    door.closed["w"] = failure
    relay = KnockRelay(database, door.deliver, SETTINGS)
    await put(database, "w", "other")
    pauses: list[float] = []
    for _ in range(4):
        await relay.turn()
        (row,) = await waiting(database)
        pauses.append(row["pause"])
        assert row["last_error"] == type(failure).__name__
        await database.execute("update knocks set due_at = now()")
    assert pauses == pytest.approx([0.05, 0.1, longest, longest], abs=0.04)
    assert door.heard == ["other"]


async def test_the_relay_looks_again_when_the_pause_is_over(database: Database):
    """A knock that fails at first is delivered without any bell, soon after its pause."""
    door = Door()
    door.closed["w"] = Unavailable()
    await put(database, "w")
    settings = SETTINGS.model_copy(update={"poll_seconds": 60.0})
    running = asyncio.create_task(KnockRelay(database, door.deliver, settings).run(asyncio.Event()))
    await asyncio.sleep(0.2)
    door.closed.clear()
    await asyncio.sleep(0.5)
    running.cancel()
    assert door.heard == ["w"]


async def test_the_claim_of_a_dead_relay_is_taken_over(database: Database, monkeypatch: pytest.MonkeyPatch):
    """While a relay delivers nobody else does; when it died, another one does after the claim."""
    monkeypatch.setattr(knocks, "CLAIM", timedelta(seconds=0.3))
    claimed = asyncio.Event()

    async def hang(knock: DueKnock) -> None:
        claimed.set()
        await asyncio.Event().wait()

    await put(database, "w")
    dying = asyncio.create_task(KnockRelay(database, hang, SETTINGS).turn())
    await claimed.wait()
    dying.cancel()
    await asyncio.wait([dying])

    door = Door()
    relay = KnockRelay(database, door.deliver, SETTINGS)
    assert await relay.turn() == 0
    await asyncio.sleep(0.35)
    assert await relay.turn() == 1
    assert door.heard == ["w"]


async def test_many_relays_share_the_knocks(database: Database):
    """Four relays at once deliver each of a hundred knocks exactly once."""
    door = Door()
    await put(database, *(f"w-{number}" for number in range(100)))
    relays = [KnockRelay(database, door.deliver, SETTINGS) for _ in range(4)]

    async def exhaust(relay: KnockRelay) -> None:
        while await relay.turn():
            pass

    await asyncio.gather(*(exhaust(relay) for relay in relays))
    assert sorted(door.heard) == sorted(f"w-{number}" for number in range(100))
    assert await waiting(database) == []


async def test_a_knock_at_nobody_is_dropped(database: Database):
    """No workflow can ever have that name, so it is not tried for ever."""
    await put(database, "order-workflow-TEAPOT")
    relay = KnockRelay(database, Delivery(cast("Client", None), HOME.target).deliver, SETTINGS)
    assert await relay.turn() == 1
    assert await database.fetch("select 1 from knocks") == []
