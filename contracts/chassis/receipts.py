"""Receipts: what became of each wish, stored once and answered for ever.

A receipt's row is claimed in the transaction that grants the wish, so a concurrent twin of the same command
waits on the row's unique key and then finds the answer.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Generic, LiteralString, TypeVar

from psycopg.types.json import Jsonb
from pydantic import BaseModel

from contracts.chassis import caps
from contracts.chassis.errors import Invalid, Refused
from contracts.chassis.event_store import Asked, Cause, Change, Decision, Fact, Journal
from contracts.chassis.postgres import Connection, Row
from contracts.envelope import FINAL, Receipt, ReceiptStatus
from contracts.values import Code

CHANNEL: LiteralString = "receipts"
"""Its bell is rung whenever a receipt moves; whoever waits for one listens."""

S = TypeVar("S")
F = TypeVar("F", bound=Fact)


@dataclass(frozen=True, slots=True)
class Command:
    """A wish on its way to a decision."""

    command_id: str
    name: str
    stream: str
    actor: str
    request_hash: str

    @property
    def cause(self) -> Cause:
        return Cause(self.actor, self.command_id)


@dataclass(frozen=True, slots=True)
class Granted(Generic[S]):
    """The receipt, and the state it was given on; `replayed` when the command had been answered before."""

    receipt: Receipt
    answer: dict[str, Any] | None
    replayed: bool
    state: S | None
    version: int
    facts: Sequence[Fact] = ()
    """What was recorded, or in a rehearsal what would have been."""


@dataclass(frozen=True, slots=True)
class Advance:
    """A later step of a receipt: the other side answered, or the wish took effect."""

    command_id: str
    status: ReceiptStatus
    code: Code | None = None
    detail: str | None = None
    cut_off: str | None = None


def request_hash(*parts: BaseModel | str | None) -> str:
    """The same for two requests that ask for the same, whatever the order of their fields."""
    plain = [part.model_dump(mode="json") if isinstance(part, BaseModel) else part for part in parts]
    return sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


async def grant(
    journal: Journal[S, F],
    command: Command,
    decide: Decision[S, F],
    *,
    status_of: Callable[[Change[S, F]], ReceiptStatus],
    answer_of: Callable[[Change[S, F]], dict[str, Any]] | None = None,
    granted: Callable[[Connection, Change[S, F]], Awaitable[None]] | None = None,
    rehearse: bool = False,
) -> Granted[S]:
    """The wish is decided and its receipt stored in one transaction; a known command gets its stored answer.

    `granted` writes what else must follow, such as a knock. A rehearsal is the same transaction, and nothing
    of it stays. Raises Invalid(KEY_REUSED) when the same key came with another request, and TooMany."""

    async def decided(connection: Connection, asked: Asked) -> Granted[S]:
        try:
            change = await journal.change_in(connection, command.stream, command.cause, decide, asked)
        except Refused as refusal:
            await connection.queue("rollback to savepoint decision")
            receipt = _refusal(command, refusal)
            await _answer(connection, receipt, None)
            return Granted(receipt, None, False, None, 0)
        if granted is not None:
            await granted(connection, change)
        receipt = Receipt(
            command_id=command.command_id,
            status=status_of(change),
            first_version=change.recorded[0].version if change.recorded else None,
            last_version=change.recorded[-1].version if change.recorded else None,
        )
        answer = answer_of(change) if answer_of else None
        await _answer(connection, receipt, answer)
        facts = [recorded.fact for recorded in change.recorded]
        return Granted(receipt, answer, False, change.state, change.version, facts)

    async def work(connection: Connection) -> Granted[S]:
        # All five travel together. What a refused decision wrote is undone, back to the savepoint.
        await journal.lock(connection, command.stream)
        counted = await caps.count(connection, command.stream)
        claimed = await _claimed(connection, command)
        await connection.queue("savepoint decision")
        asked = await journal.asked(connection, command.stream)
        known = await _known(connection, command, claimed)
        if known is not None:
            return _replayed(known, command)
        caps.check(command.name, **(await counted.fetchone() or {}))
        return await decided(connection, asked)

    async def rehearsal(connection: Connection) -> Granted[S]:
        await connection.queue("savepoint rehearsal")
        rehearsed = await work(connection)
        await connection.queue("rollback to savepoint rehearsal")
        connection.bells.clear()
        return rehearsed

    return await journal.retrying(rehearsal if rehearse else work)


async def receive(connection: Connection, command: Command) -> None:
    """A wish of the service's own has its receipt too, RECEIVED until the other side answers."""
    await _claim(connection, command)


async def refuse(connection: Connection, command: Command, code: Code, detail: str) -> Receipt:
    """The wish has a rejected receipt without any decision; a known command keeps the one it has."""
    known = await _claim(connection, command)
    if known is not None:
        return receipt_of(known)
    receipt = Receipt(command_id=command.command_id, status="REJECTED", code=code, detail=detail)
    await _answer(connection, receipt, None)
    return receipt


async def advance(connection: Connection, steps: Sequence[Advance], version: int) -> None:
    """Each receipt moves forward because of the fact of that version; a final one stays as it is."""
    for step in steps:
        connection.bells.add(CHANNEL)
        await connection.queue(
            """
            update receipts
            set status = %(status)s,
                code = coalesce(%(code)s, code),
                detail = coalesce(%(detail)s, detail),
                cut_off = coalesce(%(cut_off)s, cut_off),
                answered_at = coalesce(answered_at, now()),
                settled_at = case when %(is_final)s then now() end,
                settled_version = case when %(is_final)s then %(version)s::integer end
            where command_id = %(command_id)s
              and status in ('RECEIVED', 'ACCEPTED')
            """,
            {
                "status": step.status,
                "code": step.code,
                "detail": step.detail,
                "cut_off": step.cut_off,
                "is_final": step.status in FINAL,
                "version": version,
                "command_id": step.command_id,
            },
        )


FIND: LiteralString = "select * from receipts where command_id = %(command_id)s"


def receipt_of(row: Row) -> Receipt:
    return Receipt(
        command_id=row["command_id"],
        status=row["status"],
        code=row["code"],
        detail=row["detail"],
        cut_off=row["cut_off"],
        first_version=row["first_version"],
        last_version=row["last_version"],
    )


def _replayed(known: Row, command: Command) -> Granted[Any]:
    if command.request_hash and known["request_hash"] != command.request_hash:
        raise Invalid(
            "this Idempotency-Key was used for a different request; send a new key", code=Code.KEY_REUSED
        )
    return Granted(receipt_of(known), known["answer"], True, None, 0)


def _refusal(command: Command, refusal: Refused) -> Receipt:
    return Receipt(
        command_id=command.command_id,
        status="REJECTED",
        code=refusal.code,
        detail=refusal.detail,
        cut_off=refusal.cut_off,
    )


async def _claim(connection: Connection, command: Command) -> Row | None:
    """None when the command is new and now ours; otherwise its row. Waits for a twin being decided."""
    return await _known(connection, command, await _claimed(connection, command))


async def _claimed(connection: Connection, command: Command) -> Asked:
    return await connection.queue(
        """
        insert into receipts (command_id, name, stream, actor, request_hash)
        values (%s, %s, %s, %s, %s)
        on conflict (command_id) do nothing
        returning command_id
        """,
        (command.command_id, command.name, command.stream, command.actor, command.request_hash),
    )


async def _known(connection: Connection, command: Command, claimed: Asked) -> Row | None:
    if await claimed.fetchone() is not None:
        return None
    return await (await connection.queue(FIND, {"command_id": command.command_id})).fetchone()


async def _answer(connection: Connection, receipt: Receipt, answer: dict[str, Any] | None) -> None:
    await connection.queue(
        """
        update receipts
        set status = %(status)s,
            code = %(code)s,
            detail = %(detail)s,
            cut_off = %(cut_off)s,
            first_version = %(first)s,
            last_version = %(last)s,
            answer = %(answer)s,
            answered_at = case when %(status)s <> 'RECEIVED' then now() end,
            settled_at = case when %(is_final)s then now() end
        where command_id = %(command_id)s
        """,
        {
            "status": receipt.status,
            "is_final": receipt.is_final,
            "code": receipt.code,
            "detail": receipt.detail,
            "cut_off": receipt.cut_off,
            "first": receipt.first_version,
            "last": receipt.last_version,
            "answer": Jsonb(answer) if answer is not None else None,
            "command_id": receipt.command_id,
        },
    )
