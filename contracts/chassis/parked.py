"""What a person may do with parked records: look at them, let them in again, or discard them with a reason.

Each record is let in by the inbox in a transaction of its own, the order's first one first. So a crash in the
middle, the same command again, two people at once and a record that arrives meanwhile all end the same way:
each has its effect once, in the order of its stream, or is still parked.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, LiteralString

import structlog
from fastapi import APIRouter, Depends, Query
from fastapi import Path as InPath
from fastapi import Request as HttpRequest
from prometheus_client import Counter
from pydantic import ConfigDict, Field

from contracts.chassis import parking
from contracts.chassis.errors import Conflict, NotFound, Refused, Unavailable
from contracts.chassis.inbox import TELLING, Inbox, reason_of
from contracts.chassis.postgres import Connection, Database, Row
from contracts.chassis.requests import actor_without_rehearsal
from contracts.values import Message, Text200

log = structlog.get_logger()

REPLAYED = Counter("tandem_inbox_replayed", "Parked records that had their effect after all")
DISCARDED = Counter("tandem_inbox_discarded", "Parked records that a person gave up, with a reason")

MOST_AT_ONCE = 1_000
"""Records let in by one request: seconds, and more than an order ever has."""

_FIND: LiteralString = "select * from parked where id = %(id)s and consumer = %(consumer)s"

_AHEAD: LiteralString = """
    select min(id) as id
    from parked
    where consumer = %(consumer)s and order_id = %(order_id)s and outcome is null and id < %(id)s
    """

_LEFT: LiteralString = """
    select count(*) as records
    from parked
    where consumer = %(consumer)s and order_id = %(order_id)s and outcome is null
    """

_SETTLE: LiteralString = """
    update parked
    set outcome = %(outcome)s,
        settled_at = clock_timestamp(),
        settled_by = %(actor)s,
        settled_because = %(because)s
    where id = %(id)s
    """

_FAILED_AGAIN: LiteralString = """
    update parked
    set reason = %(reason)s,
        tries = tries + 1
    where id = %(id)s and outcome is null
    """

_PAGE: LiteralString = """
    select
        parked.*,
        not exists (
            select 1
            from parked as ahead
            where ahead.consumer = parked.consumer
              and ahead.order_id = parked.order_id
              and ahead.outcome is null
              and ahead.id < parked.id
        ) as is_first
    from parked
    where consumer = %(consumer)s
      and id > %(after)s
      and (%(order_id)s::text is null or order_id = %(order_id)s)
      and case when %(outcome)s = 'OPEN' then outcome is null else outcome = %(outcome)s end
    order by id
    limit %(limit)s
    """


@dataclass
class Flow:
    """What moved when an order's parked records were let in, and where it stopped."""

    applied: list[int] = field(default_factory=list[int])
    stopped_at: int | None = None
    reason: str | None = None
    """Why the record at which it stopped could not be applied again."""
    left: int = 0


class Parked:
    """The records that one consumer has parked."""

    def __init__(self, database: Database, inbox: Inbox) -> None:
        self._database = database
        self._inbox = inbox
        self._consumer = inbox.consumer

    async def page(self, *, order_id: str | None, outcome: str, after: int, limit: int) -> list[Row]:
        """Oldest first."""
        asked = {"order_id": order_id, "outcome": outcome, "after": after, "limit": limit}
        return await self._database.fetch(_PAGE, consumer=self._consumer, **asked)

    async def find(self, parked_id: int) -> Row:
        """Raises NotFound."""
        row = await self._database.fetch_one(_FIND, id=parked_id, consumer=self._consumer)
        return _required(row)

    async def replay(self, parked_id: int, actor: str) -> Flow:
        """It is applied, and then what is parked behind it, until one fails again.

        Of a settled record, what is behind it. Raises Refused when another one comes first."""
        row = await self.find(parked_id)
        async with self._database.transaction() as connection:
            if (ahead := await self._ahead(connection, row)) is not None:
                raise Refused(f"record {ahead} of this order comes first: replay or discard that one")
        return await self._flow(row["order_id"], actor)

    async def discard(self, parked_id: int, actor: str, because: str) -> Flow:
        """It never has an effect; what is parked behind it is applied, unless another one comes first.

        Raises Refused when it was applied already."""
        row = await self.find(parked_id)
        async with self._database.transaction() as connection:
            # The lock that a replay of it takes, too.
            locked = await connection.execute(
                f"{_FIND} for update", {"id": parked_id, "consumer": self._consumer}
            )
            row = _required(await locked.fetchone())
            if row["outcome"] == "REPLAYED":
                raise Refused(
                    f"it had its effect at {row['settled_at'].isoformat()}, so nothing is left to discard"
                )
            if row["outcome"] is None:
                await self._give_up(connection, row, actor, because)
            is_behind = await self._ahead(connection, row) is not None
        if is_behind:
            return Flow(left=await self._left(row["order_id"]))
        return await self._flow(row["order_id"], actor)

    async def _give_up(self, connection: Connection, row: Row, actor: str, because: str) -> None:
        await _settle(connection, row, "DISCARDED", actor, because)
        event = parking.event_of(parking.record_of(row))
        if event is not None:
            await self._inbox.pass_over(connection, event)
        DISCARDED.inc()
        log.warning(
            "parked record discarded",
            order_id=row["order_id"],
            topic=row["topic"],
            offset=row["record_offset"],
        )

    async def _flow(self, order_id: str, actor: str) -> Flow:
        flow = Flow()
        while len(flow.applied) < MOST_AT_ONCE:
            tried: Row | None = None
            try:
                async with self._database.transaction() as connection:
                    tried = await parking.first_parked(connection, self._consumer, order_id)
                    if tried is None:
                        return flow
                    await self._inbox.apply_within(connection, [parking.record_of(tried)])
                    await _settle(connection, tried, "REPLAYED", actor)
            except (Unavailable, Conflict):
                raise
            except Exception as error:
                if tried is None:
                    raise
                return await self._stopped(flow, tried, reason_of(error))
            flow.applied.append(tried["id"])
            REPLAYED.inc()
        flow.left = await self._left(order_id)
        return flow

    async def _stopped(self, flow: Flow, row: Row, reason: str) -> Flow:
        await self._database.execute(_FAILED_AGAIN, id=row["id"], reason=reason)
        flow.stopped_at, flow.reason = row["id"], reason
        flow.left = await self._left(row["order_id"])
        return flow

    async def _ahead(self, connection: Connection, row: Row) -> int | None:
        asked = {"consumer": self._consumer, "order_id": row["order_id"], "id": row["id"]}
        found = await (await connection.execute(_AHEAD, asked)).fetchone()
        return found["id"] if found else None

    async def _left(self, order_id: str) -> int:
        found = await self._database.fetch_one(_LEFT, consumer=self._consumer, order_id=order_id)
        return found["records"] if found else 0


def _required(row: Row | None) -> Row:
    if row is None:
        raise NotFound("no such parked record here; the other service may know it")
    return row


async def _settle(
    connection: Connection, row: Row, outcome: str, actor: str, because: str | None = None
) -> None:
    await connection.queue(_SETTLE, {"id": row["id"], "outcome": outcome, "actor": actor, "because": because})


router = APIRouter()
ParkedId = Annotated[int, InPath(ge=1, le=2**63 - 1)]
Actor = Annotated[str, Depends(actor_without_rehearsal)]


class Page(Message):
    """Which of them; an unknown parameter is an error."""

    model_config = ConfigDict(extra="forbid")

    order: Annotated[str, Field(max_length=parking.KEY_LENGTH)] | None = None
    outcome: Literal["OPEN", "REPLAYED", "DISCARDED"] = "OPEN"
    after: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    """The `next` of the page before."""
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class Discard(Message):
    """A record is given up for good."""

    reason: Text200
    """Kept with the record; names no person."""


@router.get("/ops/parked")
async def list_parked(request: HttpRequest, page: Annotated[Page, Query()]) -> dict[str, Any]:
    """Records that could not be applied, oldest first; only the first one of an order can be replayed."""
    rows = await _parked(request).page(
        order_id=page.order, outcome=page.outcome, after=page.after, limit=page.limit + 1
    )
    shown = rows[: page.limit]
    listed: dict[str, Any] = {"parked": [_shown(row) | {"isFirst": row["is_first"]} for row in shown]}
    return listed | ({"next": shown[-1]["id"]} if len(rows) > page.limit else {})


@router.get("/ops/parked/{parked_id}")
async def show_parked(request: HttpRequest, parked_id: ParkedId) -> dict[str, Any]:
    """One of them, with what its event tells; of a record that is no event of ours nothing is quoted."""
    row = await _parked(request).find(parked_id)
    return {**_shown(row), "bytes": len(row["body"]), "event": _told(row)}


@router.post("/ops/parked/{parked_id}/replay")
async def replay_parked(request: HttpRequest, parked_id: ParkedId, actor: Actor) -> dict[str, Any]:
    """It and everything behind it of that order is applied, in order, until one fails again."""
    return await _answer(request, parked_id, await _parked(request).replay(parked_id, actor))


@router.post("/ops/parked/{parked_id}/discard")
async def discard_parked(
    request: HttpRequest, parked_id: ParkedId, body: Discard, actor: Actor
) -> dict[str, Any]:
    """It never has an effect, which is recorded; everything behind it of that order is applied."""
    flow = await _parked(request).discard(parked_id, actor, body.reason)
    return await _answer(request, parked_id, flow)


def _parked(request: HttpRequest) -> Parked:
    return request.app.state.parked


async def _answer(request: HttpRequest, parked_id: int, flow: Flow) -> dict[str, Any]:
    row = await _parked(request).find(parked_id)
    stopped = {"id": flow.stopped_at, "reason": flow.reason} if flow.stopped_at is not None else None
    return {**_shown(row), "applied": flow.applied, "stoppedAt": stopped, "left": flow.left}


def _shown(row: Row) -> dict[str, Any]:
    """Words and numbers of ours only: a stranger may have sent anything, also as headers and key."""
    event = parking.event_of(parking.record_of(row))
    settled = {"at": row["settled_at"], "by": row["settled_by"], "because": row["settled_because"]}
    return {
        "id": row["id"],
        "orderId": event.correlation_id if event else None,
        "type": event.type if event else None,
        "consumer": row["consumer"],
        "topic": row["topic"],
        "partition": row["partition"],
        "offset": row["record_offset"],
        "reason": row["reason"],
        "firstFailedAt": row["first_failed_at"],
        "parkedAt": row["parked_at"],
        "tries": row["tries"],
        "outcome": row["outcome"] or "OPEN",
        "settled": settled if row["outcome"] else None,
    }


def _told(row: Row) -> Mapping[str, Any] | None:
    event = parking.event_of(parking.record_of(row))
    if event is None:
        return None
    told = event.model_dump(mode="json", by_alias=True, exclude={"data", "traceparent"}, exclude_none=True)
    return {**told, "data": {name: event.data[name] for name in TELLING if name in event.data}}
