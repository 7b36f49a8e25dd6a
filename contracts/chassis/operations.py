"""The routes every service has for those who run it: what became of a wish, and what has not moved yet."""

from collections.abc import Sequence
from typing import Annotated, Any, LiteralString, Protocol

from fastapi import APIRouter, Depends, Query, Response
from fastapi import Request as HttpRequest

from contracts.chassis import pii, receipts
from contracts.chassis.errors import NotFound
from contracts.chassis.postgres import Connection, Database, Row
from contracts.chassis.reconciler import Kind
from contracts.chassis.requests import patience, preference_applied
from contracts.chassis.watch import Watch
from contracts.envelope import FINAL
from contracts.values import Reference

router = APIRouter()


class Door(Protocol):
    """What these routes need of a service."""

    @property
    def database(self) -> Database: ...

    @property
    def watch(self) -> Watch: ...

    def about_command(self, receipt: Row, facts: Sequence[Row]) -> dict[str, Any]:
        """What only this service can tell of the command, such as where its order is."""
        ...


# The facts it was granted with, those that speak of it later, and the one that settled it.
_FACTS: LiteralString = """
    select version, type, data, recorded_at
    from events
    where stream = %(stream)s
      and (
        version between %(first)s and %(last)s
        or version = %(settled)s
        or data ->> 'command_id' = %(command_id)s
      )
    order by version
    """

_WAITING: LiteralString = """
    select
        (select count(*) from outbox where published_at is null and parked_at is null) as unpublished,
        (select count(*) from outbox where parked_at is not null and published_at is null) as parked,
        (select count(*) from knocks) as knocks,
        (select count(*) from parked where outcome is null) as "parkedIncoming",
        (
            select coalesce(extract(epoch from now() - min(created_at)), 0)::float
            from outbox
            where published_at is null
        ) as "oldestSeconds"
    """


def _door(request: HttpRequest) -> Door:
    return request.app.state.door


@router.get("/commands/{command_id:path}")
async def command(
    request: HttpRequest,
    response: Response,
    command_id: str,
    wait: Annotated[int | None, Depends(patience)] = None,
) -> dict[str, Any]:
    """What became of a wish, when, and by which facts; with `Prefer: wait=N` once that is final."""
    door = _door(request)
    response.headers.update(preference_applied(wait))
    row = await door.database.fetch_one(receipts.FIND, command_id=command_id)
    if row is not None and row["status"] not in FINAL and wait is not None:
        row = await door.watch.until(command_id, FINAL, wait)
    if row is None:
        raise NotFound("no such command here; the other service may know it")
    async with door.database.connection() as connection:
        facts = await _facts_of(connection, row)
        note = await pii.get(connection, command_id, "note", 1)
    return {
        **receipts.receipt_of(row).model_dump(mode="json", exclude_none=True),
        "name": row["name"],
        "actor": row["actor"],
        "stream": row["stream"],
        **{name: text for name, text in (note or {}).items() if text},
        "walk": _walk(row),
        "facts": [
            {"version": fact["version"], "type": fact["type"], "at": fact["recorded_at"]} for fact in facts
        ],
        **door.about_command(row, facts),
    }


def _walk(receipt: Row) -> list[dict[str, Any]]:
    """The statuses it has had, each with its time; one that was final at once was nothing in between."""
    walk = [{"status": "RECEIVED", "at": receipt["received_at"]}]
    answered, settled = receipt["answered_at"], receipt["settled_at"]
    if answered is not None and answered != settled:
        walk.append({"status": "ACCEPTED", "at": answered})
    if settled is not None:
        walk.append({"status": receipt["status"], "at": settled})
    return walk


async def _facts_of(connection: Connection, receipt: Row) -> list[Row]:
    asked = {
        "stream": receipt["stream"],
        "first": receipt["first_version"],
        "last": receipt["last_version"],
        "settled": receipt["settled_version"],
        "command_id": receipt["command_id"],
    }
    return await (await connection.execute(_FACTS, asked)).fetchall()


@router.get("/ops/outbox")
async def outbox(request: HttpRequest) -> dict[str, Any]:
    """What has not left the database yet, or could not come in; all zero when nothing waits."""
    row = await _door(request).database.fetch_one(_WAITING)
    return dict(row or {})


_RECONCILIATIONS: LiteralString = """
    select
        id,
        at,
        kind,
        subject,
        action,
        found,
        exception_id as "exceptionId"
    from reconciliations
    where (%(kind)s::text is null or kind = %(kind)s)
      and (%(subject)s::text is null or subject = %(subject)s)
      and (%(before)s::bigint is null or id < %(before)s)
    order by id desc
    limit %(limit)s
    """


@router.get("/ops/reconciliations")
async def reconciliations(
    request: HttpRequest,
    kind: Kind | None = None,
    subject: Reference | None = None,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> dict[str, Any]:
    """What the reconciler found and did about it, newest first, and when it last looked at everything."""
    database = _door(request).database
    looked = await database.fetch_one("select looked_at from reconciler_rules where rule = 'all'")
    rows = await database.fetch(_RECONCILIATIONS, kind=kind, subject=subject, before=before, limit=limit)
    return {
        "lookedAt": looked["looked_at"] if looked else None,
        "reconciliations": rows,
        **({"next": str(rows[-1]["id"])} if len(rows) == limit else {}),
    }
