"""The routes every service has for those who run it: what became of a wish, and what has not moved yet."""

from typing import Any, LiteralString

from fastapi import APIRouter
from fastapi import Request as HttpRequest

from contracts.chassis import receipts
from contracts.chassis.errors import NotFound
from contracts.chassis.postgres import Database

router = APIRouter()

_TIMES = {"receivedAt": "received_at", "answeredAt": "answered_at", "effectiveAt": "effective_at"}

_WAITING: LiteralString = """
    select
        (select count(*) from outbox where published_at is null and parked_at is null) as unpublished,
        (select count(*) from outbox where parked_at is not null and published_at is null) as parked,
        (select count(*) from knocks) as knocks,
        (select count(*) from parked) as "parkedIncoming",
        (
            select coalesce(extract(epoch from now() - min(created_at)), 0)::float
            from outbox
            where published_at is null
        ) as "oldestSeconds"
    """


def _database(request: HttpRequest) -> Database:
    return request.app.state.door.database


@router.get("/commands/{command_id:path}")
async def command(request: HttpRequest, command_id: str) -> dict[str, Any]:
    """What became of a wish."""
    row = await _database(request).fetch_one(receipts.FIND, command_id=command_id)
    if row is None:
        raise NotFound("no such command here; the other service may know it")
    return {
        **receipts.receipt_of(row).model_dump(mode="json", exclude_none=True),
        "name": row["name"],
        "actor": row["actor"],
        "stream": row["stream"],
        **{name: row[column] for name, column in _TIMES.items() if row[column]},
    }


@router.get("/ops/outbox")
async def outbox(request: HttpRequest) -> dict[str, Any]:
    """What has not left the database yet, or could not come in; all zero when nothing waits."""
    row = await _database(request).fetch_one(_WAITING)
    return dict(row or {})
