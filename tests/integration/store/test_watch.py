"""Waiting for a receipt: one look for everybody at each bell, and no asking again and again."""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any, LiteralString

import pytest

from contracts.chassis import receipts, watch
from contracts.chassis.postgres import Database, Row
from contracts.chassis.receipts import Advance, Command, Granted, grant
from contracts.chassis.watch import ANSWERED, Watch
from contracts.envelope import FINAL, ReceiptStatus
from tests.integration.store.tally import TallyChange, adding, tally


def received(change: TallyChange) -> ReceiptStatus:
    return "RECEIVED"


@pytest.fixture
def looks(database: Database, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """For which commands it was looked, each time."""
    fetch, found = database.fetch, list[list[str]]()

    async def counted(query: LiteralString, **parameters: Any) -> list[Row]:
        found.append(parameters["ids"])
        return await fetch(query, **parameters)

    monkeypatch.setattr(database, "fetch", counted)
    return found


@pytest.fixture
async def watching(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Watch]:
    """A watch whose loops run, and which looks without a bell only every half minute."""
    monkeypatch.setattr(watch, "LOOK_SECONDS", 30)
    watching = Watch(database)
    loops = [asyncio.create_task(loop()) for loop in watching.loops().values()]
    yield watching
    for loop in loops:
        loop.cancel()
    await asyncio.gather(*loops, return_exceptions=True)


async def ask(database: Database, command_id: str) -> Granted[int]:
    wish = Command(command_id, "add", f"s-{command_id}", "ada", "")
    return await grant(tally(database), wish, adding(1), status_of=received)


async def answer(database: Database, command_id: str, status: ReceiptStatus) -> None:
    async with database.transaction() as connection:
        await receipts.advance(connection, [Advance(command_id, status)], 2)


async def test_whoever_waits_is_woken_by_the_answer(database: Database, watching: Watch):
    """Of all who wait only the one whose receipt moved far enough, with the receipt as it is then."""
    granted = [await ask(database, name) for name in ("a", "b")]
    patient = [asyncio.create_task(watching.answer(each, 20)) for each in granted]
    final = asyncio.create_task(watching.until("a", FINAL, 20))
    await asyncio.sleep(0.2)
    assert not any(task.done() for task in (*patient, final))
    await answer(database, "a", "ACCEPTED")
    assert (await patient[0]).receipt.status == "ACCEPTED"
    await asyncio.sleep(0.1)
    assert not patient[1].done()
    assert not final.done()
    await answer(database, "a", "EFFECTIVE")
    row = await final
    assert row is not None
    assert (row["status"], row["settled_version"]) == ("EFFECTIVE", 2)
    await answer(database, "b", "REJECTED")
    assert (await patient[1]).receipt.status == "REJECTED"


async def test_a_receipt_that_moved_before_anybody_waited_is_found_at_once(
    database: Database, watching: Watch
):
    """Nobody rings for it any more, so the first look is taken without a bell."""
    granted = await ask(database, "a")
    await answer(database, "a", "EFFECTIVE")
    await asyncio.sleep(0.1)
    assert (await asyncio.wait_for(watching.answer(granted, 20), 5)).receipt.status == "EFFECTIVE"


async def test_waiting_ends_after_the_time_that_was_asked_for(database: Database, watching: Watch):
    """The receipt is told as it is; one of another service's question is not waited for at all."""
    granted = await ask(database, "a")
    began = time.monotonic()
    assert (await watching.answer(granted, 0.3)).receipt.status == "RECEIVED"
    assert time.monotonic() - began >= 0.3
    assert await watching.answer(granted, None) is granted


async def test_nobody_asks_again_and_again(database: Database, watching: Watch, looks: list[list[str]]):
    """A hundred who wait share their looks, and without a bell none is taken."""
    granted = [await ask(database, f"c-{n}") for n in range(100)]
    patient = [asyncio.create_task(watching.answer(each, 20)) for each in granted]
    await asyncio.sleep(1.5)
    assert len(looks) <= 5
    for n in range(100):
        await answer(database, f"c-{n}", "ACCEPTED")
    assert {(await each).receipt.status for each in patient} == {"ACCEPTED"}
    assert len(looks) < 110


async def test_a_lost_bell_costs_one_pause(
    database: Database, watching: Watch, monkeypatch: pytest.MonkeyPatch
):
    """A receipt that moved without a bell is found by the look that comes anyway."""
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.2)
    granted = await ask(database, "a")
    patient = asyncio.create_task(watching.answer(granted, 20))
    await asyncio.sleep(0.1)
    await database.execute("update receipts set status = 'EFFECTIVE'")
    assert (await asyncio.wait_for(patient, 10)).receipt.status == "EFFECTIVE"


async def test_who_stops_keeps_nobody_waiting(database: Database):
    """When the loop ends everybody is answered as things are, and nobody begins to wait."""
    watching = Watch(database)
    loop = asyncio.create_task(watching.run())
    await ask(database, "a")
    patient = asyncio.create_task(watching.until("a", ANSWERED, 60))
    await asyncio.sleep(0.1)
    loop.cancel()
    for row in (await asyncio.wait_for(patient, 5), await watching.until("a", ANSWERED, 60)):
        assert row is not None
        assert row["status"] == "RECEIVED"
