"""Receipts: a command is decided once and answered for ever."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from contracts.chassis import knocks, receipts
from contracts.chassis.errors import Invalid, Refused
from contracts.chassis.event_store import Cause
from contracts.chassis.knocks import Knock
from contracts.chassis.postgres import Connection, Database, Listener, Row
from contracts.chassis.receipts import Advance, Command, Granted, grant
from contracts.chassis.settings import PostgresSettings
from contracts.envelope import ReceiptStatus
from contracts.values import Code
from tests.integration.store.tally import Added, TallyChange, adding, publish, tally


def command(command_id: str = "c-1", request: str = "add one") -> Command:
    return Command(command_id, "add", "s", "ada", receipts.request_hash(request))


def accepted(change: TallyChange) -> ReceiptStatus:
    return "ACCEPTED"


def total_of(change: TallyChange) -> dict[str, Any]:
    return {"total": change.state}


async def add(database: Database, wish: Command, *amounts: int) -> Granted[int]:
    return await grant(
        tally(database, publish), wish, adding(*amounts), status_of=accepted, answer_of=total_of
    )


async def stored(database: Database, command_id: str = "c-1") -> Row:
    row = await database.fetch_one(receipts.FIND, command_id=command_id)
    assert row is not None
    return row


async def test_an_accepted_wish_names_the_facts_it_led_to(database: Database):
    """The receipt holds the versions of its facts, both included, and the answer."""
    granted = await add(database, command(), 1, 1)
    receipt = granted.receipt
    assert (receipt.status, receipt.first_version, receipt.last_version) == ("ACCEPTED", 1, 2)
    assert (granted.answer, granted.replayed, granted.state, granted.version) == ({"total": 2}, False, 2, 2)


async def test_the_same_command_again_gets_the_stored_answer(database: Database):
    """Asking twice has one effect, and the second answer is the first one."""
    first = await add(database, command(), 1)
    second = await add(database, command(), 1)
    assert (second.replayed, second.receipt, second.answer) == (True, first.receipt, first.answer)
    assert len(await database.fetch("select 1 from events")) == 1


async def test_concurrent_twins_have_one_effect(database: Database):
    """Ten callers with the same command at once: one decides, nine wait and get its answer."""
    decided = 0

    async def slowly(connection: Connection, total: int | None) -> Sequence[Added]:
        nonlocal decided
        decided += 1
        await asyncio.sleep(0.05)
        return [Added()]

    async def ask() -> Granted[int]:
        return await grant(
            tally(database, publish), command(), slowly, status_of=accepted, answer_of=total_of
        )

    answers = await asyncio.gather(*(ask() for _ in range(10)))
    assert decided == 1
    assert sorted(answer.replayed for answer in answers) == [False] + [True] * 9
    assert [answer.answer for answer in answers] == [{"total": 1}] * 10
    assert len(await database.fetch("select 1 from events")) == 1
    assert len(await database.fetch("select 1 from outbox")) == 1


async def test_a_twin_decides_when_the_first_one_failed(database: Database):
    """A command whose transaction broke off was never given; its waiting twin takes it over."""
    entered = asyncio.Event()

    async def break_off(connection: Connection, total: int | None) -> Sequence[Added]:
        entered.set()
        await asyncio.sleep(0.05)
        raise ZeroDivisionError

    failing = asyncio.create_task(grant(tally(database), command(), break_off, status_of=accepted))
    await entered.wait()
    granted = await add(database, command(), 1)
    with pytest.raises(ZeroDivisionError):
        await failing
    assert (granted.replayed, granted.answer) == (False, {"total": 1})


async def test_a_key_cannot_carry_another_request(database: Database):
    """The same command with another body is an error, and the first one stays."""
    await add(database, command(), 1)
    with pytest.raises(Invalid) as caught:
        await add(database, command(request="add two"), 2)
    assert caught.value.code is Code.KEY_REUSED
    assert len(await database.fetch("select 1 from events")) == 1


async def test_a_refusal_is_a_receipt_and_not_a_fact(database: Database):
    """The refusal is kept with its reason; what the decision wrote before it is undone."""

    async def refuse(connection: Connection, total: int | None) -> Sequence[Added]:
        await connection.execute("insert into knocks (workflow_id, signal) values ('w', 'x')")
        raise Refused("too late", code=Code.HAND_OVER_IN_PROGRESS, cut_off="HandOverStarted")

    for replayed in (False, True):
        granted = await grant(tally(database, publish), command(), refuse, status_of=accepted)
        receipt = granted.receipt
        assert granted.replayed is replayed
        assert (receipt.status, receipt.code, receipt.detail, receipt.cut_off) == (
            "REJECTED", Code.HAND_OVER_IN_PROGRESS, "too late", "HandOverStarted",
        )  # fmt: skip
    for table in ("events", "outbox", "knocks"):
        assert await database.fetch(f"select 1 from {table}") == []  # type: ignore[arg-type]


async def test_commands_of_one_stream_are_decided_one_after_the_other(database: Database):
    """The second one waits, and is decided on what the first one left."""
    seen: list[int] = []

    async def slowly(connection: Connection, total: int | None) -> Sequence[Added]:
        seen.append(total or 0)
        await asyncio.sleep(0.05)
        return [Added()]

    async def ask(command_id: str) -> Granted[int]:
        return await grant(
            tally(database), command(command_id), slowly, status_of=accepted, answer_of=total_of
        )

    answers = await asyncio.gather(ask("c-1"), ask("c-2"))
    assert seen == [0, 1]
    assert sorted(answer.version for answer in answers) == [1, 2]


async def step(database: Database, amount: int) -> None:
    """What a workflow does by itself asks nobody and waits for nobody."""
    await tally(database, publish).change("s", Cause("workflow"), adding(amount))


async def test_a_command_in_conflict_with_a_step_is_decided_again(database: Database):
    """Decided on a state that is no more: the loser is decided again on the winner's."""
    seen: list[int] = []

    async def decide(connection: Connection, total: int | None) -> Sequence[Added]:
        seen.append(total or 0)
        if len(seen) == 1:
            await step(database, 7)
        return [Added()]

    granted = await grant(tally(database), command(), decide, status_of=accepted, answer_of=total_of)
    assert (seen, granted.version, granted.answer) == ([0, 7], 2, {"total": 8})


async def test_a_rehearsal_says_what_would_happen_and_leaves_nothing(
    database: Database, settings: PostgresSettings
):
    """Neither rows nor a used command nor a bell; afterwards the same command is new."""
    listener = Listener(settings.url, knocks.CHANNEL)
    listening = asyncio.create_task(listener.run())
    await listener.heard[knocks.CHANNEL].wait()
    listener.heard[knocks.CHANNEL].clear()

    async def knock(connection: Connection, change: TallyChange) -> None:
        await knocks.add(connection, Knock("w"))

    rehearsed = await grant(
        tally(database, publish),
        command(),
        adding(2, 3),
        status_of=accepted,
        answer_of=total_of,
        granted=knock,
        rehearse=True,
    )
    assert (rehearsed.receipt.status, rehearsed.answer, rehearsed.version) == ("ACCEPTED", {"total": 5}, 2)
    assert rehearsed.facts == [Added(amount=2), Added(amount=3)]
    for table in ("events", "outbox", "knocks", "receipts"):
        assert await database.fetch(f"select 1 from {table}") == []  # type: ignore[arg-type]
    await asyncio.sleep(0.1)
    assert not listener.heard[knocks.CHANNEL].is_set()
    listening.cancel()
    assert not (await add(database, command(), 1)).replayed


async def test_a_rehearsal_that_meets_a_writer_is_rehearsed_again(database: Database):
    """What it says is true of the state after the writer."""
    tried: list[int] = []

    async def decide(connection: Connection, total: int | None) -> Sequence[Added]:
        tried.append(total or 0)
        if len(tried) == 1:
            await step(database, 7)
        return [Added()]

    rehearsed = await grant(
        tally(database), command(), decide, status_of=accepted, answer_of=total_of, rehearse=True
    )
    assert (tried, rehearsed.answer) == ([0, 7], {"total": 8})
    assert len(await database.fetch("select 1 from events")) == 1


async def test_what_is_granted_writes_what_must_follow(database: Database):
    """The extra work of a grant is part of its transaction, and happens only when granted."""

    async def knock(connection: Connection, change: TallyChange) -> None:
        await connection.queue("insert into knocks (workflow_id, signal) values ('w', 'x')")

    for _ in range(2):
        await grant(tally(database), command(), adding(1), status_of=accepted, granted=knock)
    assert len(await database.fetch("select 1 from knocks")) == 1


async def test_a_wish_that_cannot_be_understood_is_refused_once(database: Database):
    """A refusal without a decision is final; asking again gives the same receipt."""
    for _ in range(2):
        async with database.transaction() as connection:
            receipt = await receipts.refuse(connection, command(), Code.NOT_UNDERSTOOD, "no such wish")
        assert (receipt.status, receipt.code) == ("REJECTED", Code.NOT_UNDERSTOOD)


async def test_a_receipt_only_moves_forward(database: Database):
    """ACCEPTED becomes EFFECTIVE with its moment; what is final stays as it is."""
    await add(database, command(), 1)
    async with database.transaction() as connection:
        await receipts.advance(connection, [Advance("c-1", "EFFECTIVE")], 4)
        await receipts.advance(connection, [Advance("c-1", "REJECTED", Code.NOT_ALLOWED_NOW, "late")], 5)
        await receipts.advance(connection, [Advance("unknown", "EFFECTIVE")], 6)
    row = await stored(database)
    assert (row["status"], row["code"], row["settled_version"]) == ("EFFECTIVE", None, 4)
    assert row["settled_at"] is not None
    assert receipts.receipt_of(row).is_final


async def test_a_receipt_waits_for_the_other_service(database: Database):
    """RECEIVED has no answer yet; the other side's refusal closes it."""

    def received(change: TallyChange) -> ReceiptStatus:
        return "RECEIVED"

    await grant(tally(database), command(), adding(1), status_of=received)
    assert (await stored(database))["answered_at"] is None
    async with database.transaction() as connection:
        await receipts.advance(connection, [Advance("c-1", "REJECTED", Code.STEP_NOT_OPEN, "gone")], 2)
    row = await stored(database)
    assert (row["status"], row["code"], row["detail"]) == ("REJECTED", "STEP_NOT_OPEN", "gone")
    assert row["answered_at"] is not None
