"""What a person does about what was seen from beside a stream, of which no fact speaks.

The exception is closed in its table, and what it told of begins anew or is left. Where it is about a record,
that is let in, sent or discarded; where it is about a workflow, that looks again.
"""

from dataclasses import dataclass
from typing import Literal, LiteralString

from contracts.chassis import exceptions, knocks, outbox, pii, put_back, told
from contracts.chassis.errors import Invalid, Refused
from contracts.chassis.knocks import Knock
from contracts.chassis.parked import Parked
from contracts.chassis.postgres import Connection, Database, Row
from contracts.chassis.reconciler import Kind
from contracts.values import Code

_HAS_FACTS: LiteralString = "select 1 from events where stream = %(stream)s limit 1"


@dataclass(frozen=True, slots=True)
class Word:
    """What a person says about it."""

    how: Literal["retry", "skip"]
    by: str
    reason: str | None = None
    note: str | None = None


def expect_offered(row: Row, way: str) -> None:
    """Raises Refused for what would do nothing about it."""
    if way not in row["resolutions"]:
        ways = ", ".join(row["resolutions"])
        refused = Refused(f"`{way}` would do nothing about this; what does something: {ways}")
        refused.extensions = {"allowedActions": row["resolutions"]}
        raise refused


async def expect_possible(database: Database, row: Row, way: str) -> None:
    """The same, and for a retry while the store still lacks what this is about."""
    expect_offered(row, way)
    if row["code"] == Code.STORE_BEHIND and way == "retry":
        await put_back.expect_back(database, row)


async def resolve(database: Database, parked: Parked, row: Row, word: Word, workflow_id: str | None) -> None:
    """It is closed, and what follows from that is done or on its way.

    Raises Refused when a record failed again or somebody else was quicker, and Invalid when one is to be
    discarded without a reason."""
    where = row["evidence"].get("where") if row["step"] == Kind.RECORD_BLOCKED else None
    if where and word.how == "skip" and word.reason is None:
        raise Invalid("a record is discarded for good: say why with `reason`, which names no person")
    if where == "inbox":
        await _let_in(parked, row, word)
    async with database.transaction() as connection:
        if await exceptions.resolve_one(connection, row["id"], resolution=word.how, by=word.by):
            await _follow(connection, row, word, where, workflow_id)
            return
    closed = await exceptions.find(database, row["id"])
    by_whom = (closed["resolution"], closed["resolved_by"])
    # The reconciler closes what is about a record as soon as that is in, and it may be quicker than we are.
    if by_whom != (word.how, word.by) and not (where == "inbox" and by_whom == told.MOVED_ON):
        raise exceptions.out_of_reach(closed)


async def _follow(
    connection: Connection, row: Row, word: Word, where: str | None, workflow_id: str | None
) -> None:
    await told.answer(connection, row["id"], word.how, word.by)
    if word.reason or word.note:
        said = {"reason": word.reason, "note": word.note}
        await pii.put(connection, str(row["id"]), "note", 1, said)
    if where == "outbox":
        moved = outbox.unpark if word.how == "retry" else outbox.discard
        await moved(connection, row["evidence"]["id"])
    elif workflow_id and await _has_workflow(connection, row):
        await knocks.add(connection, Knock(workflow_id))


async def _let_in(parked: Parked, row: Row, word: Word) -> None:
    """In transactions of its own: killed in between, the reconciler closes the exception."""
    first = row["evidence"]["id"]
    if word.how == "skip":
        await parked.discard(first, word.by, word.reason or "")
        return
    flow = await parked.replay(first, word.by)
    if flow.stopped_at == first:
        raise Refused(f"it failed again ({flow.reason}); {flow.left} of its order wait")


async def _has_workflow(connection: Connection, row: Row) -> bool:
    """What has no facts has no workflow; but for a store that was put back, which may have lost them."""
    if row["code"] == Code.STORE_BEHIND:
        return True
    found = await connection.execute(_HAS_FACTS, {"stream": row["stream"]})
    return await found.fetchone() is not None
