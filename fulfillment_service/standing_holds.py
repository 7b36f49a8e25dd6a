"""Standing holds: placed once, and nothing that matches can begin a step any more, without any fan-out.

Placing and lifting take an advisory lock alone; a transaction that may begin a step takes it together with
others like it, and reads the table only then. So whatever began did so before the hold was there, and whoever
comes later finds it (decision 4). Parcels learn of it lazily, when they meet it."""

from collections.abc import Sequence
from typing import Annotated, Any, LiteralString

from pydantic import StringConstraints

from contracts import fulfillment as contract
from contracts.chassis import knocks, pii
from contracts.chassis.errors import Invalid, NotFound
from contracts.chassis.event_store import Change, Journal
from contracts.chassis.postgres import Connection
from contracts.chassis.receipts import Command, Granted, grant
from contracts.envelope import Wish, hold_of
from contracts.order import Request
from contracts.values import Hold, HoldReason, Moment, Reference, Text100, Text500
from fulfillment_service.events import StandingHoldEvent, StandingHoldLifted, StandingHoldPlaced
from fulfillment_service.fulfillment import Fulfillment, standing
from fulfillment_service.fulfillment.standing import StandingHold
from fulfillment_service.fulfillment.wishes import STANDING

HANDLE_LENGTH = 64 - len(STANDING)
"""A parcel shows it behind a prefix."""
StandingJournal = Journal[StandingHold, StandingHoldEvent]

_ALONE: LiteralString = "select pg_advisory_xact_lock(7236002)"
_TOGETHER: LiteralString = "select pg_advisory_xact_lock_shared(7236002)"

_AGAINST: LiteralString = """
    select
        handle,
        reason,
        holder,
        until
    from standing_holds
    where lifted_at is null
      and (until is null or until > now())
      and (kind, value) in (select * from unnest(%(kinds)s::text[], %(values)s::text[]))
    order by placed_at, handle
    """

WAITING: LiteralString = """
    select fulfillment_id
    from fulfillment_view
    where document -> 'holds' <> '[]'::jsonb
      and document -> 'holds' @> jsonb_build_array(jsonb_build_object('handle', %(handle)s::text))
      and step <> 'end'
    order by accepted_at, fulfillment_id
    """

NOTES: LiteralString = """
    select
        handle,
        content ->> 'note' as note
    from standing_holds
    join pii on pii.ref = standing_holds.command_id and pii.kind = 'note' and pii.version = 1
    where 'standing:' || handle = any(%(handles)s)
    """

LISTED: LiteralString = """
    select
        standing_holds.*,
        coalesce(until <= now(), false) as has_ended,
        (
            select count(*)
            from fulfillment_view
            where document -> 'holds' <> '[]'::jsonb
              and document -> 'holds' @> jsonb_build_array(
                jsonb_build_object('handle', 'standing:' || standing_holds.handle)
            )
              and step <> 'end'
        ) as parcels
    from standing_holds
    where %(all)s or (lifted_at is null and (until is null or until > now()))
    order by placed_at desc, handle
    limit 1000
    """


class PlaceStandingHold(Request):
    """What shall be frozen, and why."""

    kind: contract.StandingKind
    value: Text100
    """As parcels show it: an article, a warehouse's or carrier's name, a country, a customer's reference."""
    reason: HoldReason
    handle: Annotated[Reference, StringConstraints(max_length=HANDLE_LENGTH)] | None = None
    """The name to lift it by, never used before; without one the command's id."""
    note: Text500 | None = None
    until: Moment | None = None
    """It ends by itself at this time."""


def handle_of(asked: PlaceStandingHold, command_id: str) -> str:
    """The name it is lifted by."""
    return asked.handle or hold_of(Wish(), command_id).handle[:HANDLE_LENGTH]


class StandingHolds:
    """Places and lifts standing holds, and says which ones a parcel meets."""

    def __init__(self, journal: StandingJournal, *, drain_per_second: float) -> None:
        self._journal = journal
        self._drain_per_second = drain_per_second

    async def against(self, connection: Connection, f: Fulfillment) -> tuple[Hold, ...]:
        """The standing holds that match this parcel; none is placed or lifted before the transaction ends."""
        marks = standing.marks(f)
        # Two statements: the second one's snapshot is taken when the lock is held.
        await connection.queue(_TOGETHER)
        found = await connection.queue(
            _AGAINST, {"kinds": [kind for kind, _ in marks], "values": [value for _, value in marks]}
        )
        return tuple(standing.shown_as(**row) for row in await found.fetchall())

    async def place(
        self,
        asked: PlaceStandingHold,
        *,
        command_id: str,
        actor: str,
        request_hash: str = "",
        rehearse: bool = False,
    ) -> Granted[StandingHold]:
        """Nothing that matches can begin a step any more. Rejected when the handle was ever used.

        Raises Invalid for one that would be over already."""
        handle = handle_of(asked, command_id)
        hold = StandingHold(handle, asked.kind, asked.value, asked.reason, actor, asked.until)

        async def decide(connection: Connection, known: StandingHold | None) -> Sequence[StandingHoldEvent]:
            if asked.until and asked.until <= connection.now:
                raise Invalid("until must be in the future")
            await connection.queue(_ALONE)
            if asked.note:
                await pii.put(connection, command_id, "note", 1, {"note": asked.note})
            return standing.place(known, hold)

        command = Command(command_id, "placeStandingHold", _stream(handle), actor, request_hash)
        return await grant(self._journal, command, decide, status_of=lambda _: "EFFECTIVE", rehearse=rehearse)

    async def lift(
        self,
        handle: str,
        *,
        drain_per_second: float | None = None,
        command_id: str,
        actor: str,
        request_hash: str = "",
        rehearse: bool = False,
    ) -> Granted[StandingHold]:
        """It stands no more, and each parcel that waits for it is knocked once, so many a second.

        Raises NotFound when no hold of that handle was ever placed."""
        rate, knocked = drain_per_second or self._drain_per_second, list[str]()

        async def decide(connection: Connection, known: StandingHold | None) -> Sequence[StandingHoldEvent]:
            await connection.queue(_ALONE)
            if known is None:
                raise NotFound(f"no standing hold {handle}")
            return standing.lift(known)

        async def knock(connection: Connection, change: Change[StandingHold, StandingHoldEvent]) -> None:
            if change.recorded:
                found = await connection.queue(WAITING, {"handle": STANDING + handle})
                knocked[:] = [contract.workflow_id(row["fulfillment_id"]) for row in await found.fetchall()]
                await knocks.add_one_by_one(connection, knocked, per_second=rate)

        def answer(_: Change[StandingHold, StandingHoldEvent]) -> dict[str, Any]:
            return {"knocked": len(knocked), "drainSeconds": round(len(knocked) / rate, 1)}

        command = Command(command_id, "releaseStandingHold", _stream(handle), actor, request_hash)
        return await grant(
            self._journal,
            command,
            decide,
            status_of=lambda _: "EFFECTIVE",
            answer_of=answer,
            granted=knock,
            rehearse=rehearse,
        )


async def follow(connection: Connection, change: Change[StandingHold, StandingHoldEvent]) -> None:
    """The table that begins look at agrees with the new facts when this transaction commits."""
    for recorded in change.recorded:
        match recorded.fact:
            case StandingHoldPlaced() as placed:
                values = {
                    **placed.model_dump(),
                    "placed_at": recorded.recorded_at,
                    "command_id": recorded.command_id,
                }
                await connection.queue(_PLACED, values)
            case StandingHoldLifted():
                lifted = {
                    "handle": change.state.handle,
                    "lifted_at": recorded.recorded_at,
                    "lifted_by": recorded.actor,
                }
                await connection.queue(_LIFTED, lifted)


_PLACED: LiteralString = """
    insert into standing_holds (handle, kind, value, reason, holder, until, placed_at, command_id)
    values (
        %(handle)s, %(kind)s, %(value)s, %(reason)s, %(holder)s, %(until)s, %(placed_at)s, %(command_id)s
    )
    """

_LIFTED: LiteralString = """
    update standing_holds
    set lifted_at = %(lifted_at)s,
        lifted_by = %(lifted_by)s
    where handle = %(handle)s
    """


def _stream(handle: str) -> str:
    return f"standing-hold-{handle}"
