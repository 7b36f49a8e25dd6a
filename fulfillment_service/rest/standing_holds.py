"""The routes of standing holds: freeze everything that matches, and let it go again drop by drop."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse

from contracts.chassis.documents import GRANTED
from contracts.chassis.postgres import Row
from contracts.chassis.receipts import Granted, request_hash
from contracts.chassis.requests import Caller, answered
from contracts.values import Reference
from fulfillment_service import standing_holds
from fulfillment_service.rest.door import SIMULATED, ByCaller, ThroughDoor
from fulfillment_service.standing_holds import PlaceStandingHold

router = APIRouter()
Drain = Annotated[
    float | None,
    Query(alias="drainPerSecond", gt=0, le=1000, description="So many parcels go on each second."),
]


@router.post("/standing-holds", responses=GRANTED)
async def place(door: ThroughDoor, caller: ByCaller, body: PlaceStandingHold) -> JSONResponse:
    """Nothing that matches can begin a step any more, parcels that arrive later included."""
    granted = await door.intake.standing.place(
        body,
        command_id=caller.command_id,
        actor=caller.actor,
        request_hash=request_hash("placeStandingHold", body),
        rehearse=caller.dry_run,
    )
    handle = standing_holds.handle_of(body, caller.command_id)
    about = {"handle": handle, "kind": body.kind, "value": body.value}
    return _answer(granted, caller, about)


@router.delete("/standing-holds/{handle}", responses=GRANTED)
async def lift(
    door: ThroughDoor,
    caller: ByCaller,
    handle: Annotated[Reference, Path()],
    drain_per_second: Drain = None,
) -> JSONResponse:
    """It stands no more; the parcels that wait for it go on, so many a second."""
    granted = await door.intake.standing.lift(
        handle,
        drain_per_second=drain_per_second,
        command_id=caller.command_id,
        actor=caller.actor,
        request_hash=request_hash("releaseStandingHold", str(drain_per_second)),
        rehearse=caller.dry_run,
    )
    return _answer(granted, caller, {"handle": handle, **(granted.answer or {})})


@router.get("/standing-holds")
async def standing(
    door: ThroughDoor,
    everything: Annotated[bool, Query(alias="all", description="Also those that ended.")] = False,
) -> dict[str, Any]:
    """The standing holds in force, newest first, and how many parcels wait for each."""
    rows = await door.database.fetch(standing_holds.LISTED, all=everything)
    return {"standingHolds": [_shown(row) for row in rows]}


def _answer(granted: Granted[Any], caller: Caller, about: dict[str, Any]) -> JSONResponse:
    answer = answered(granted, caller, about)
    answer.headers.update(SIMULATED)
    return answer


def _shown(row: Row) -> dict[str, Any]:
    ended = "ENDED" if row["has_ended"] else "STANDING"
    return {
        "handle": row["handle"],
        "status": "LIFTED" if row["lifted_at"] else ended,
        "kind": row["kind"],
        "value": row["value"],
        "reason": row["reason"],
        "holder": row["holder"],
        "until": row["until"],
        "placedAt": row["placed_at"],
        "commandId": row["command_id"],
        "liftedAt": row["lifted_at"],
        "liftedBy": row["lifted_by"],
        "parcels": row["parcels"],
    }
