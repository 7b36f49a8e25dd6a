"""What a parcel has been through, in both services' words, and why it does not move."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query

from contracts import fulfillment as contract
from contracts.chassis import explanation, timeline
from contracts.chassis.timeline import Teller
from fulfillment_service import standing_holds
from fulfillment_service.explain import explain
from fulfillment_service.rest.door import ThroughDoor, named, row_of

router = APIRouter()


@router.get("/fulfillments/{fulfillment_id}/timeline")
async def fulfillment_timeline(
    door: ThroughDoor, fulfillment_id: str, page: Annotated[timeline.Page, Query()]
) -> dict[str, Any]:
    """Its own facts and those of its order that were heard of, oldest first, with the time in between."""
    row = await row_of(door, fulfillment_id)
    teller = Teller("fulfillment", "order", contract.stream(row["fulfillment_id"]), row["order_id"])
    return {**named(row), **await timeline.read(door.database, teller, page)}


@router.get("/fulfillments/{fulfillment_id}/explain")
async def explain_fulfillment(door: ThroughDoor, fulfillment_id: str) -> dict[str, Any]:
    """What it waits for, since when, what happens next, and who can change it with which call."""
    row = await row_of(door, fulfillment_id)
    names = named(row)
    handles = [hold["handle"] for hold in row["document"]["holds"]]
    evidence, inspection, notes = await asyncio.gather(
        explanation.gather(
            door.database,
            stream=contract.stream(row["fulfillment_id"]),
            order_id=row["order_id"],
            workflow_id=names["workflowId"],
        ),
        door.inspect(names["workflowId"]),
        door.database.fetch(standing_holds.NOTES, handles=handles),
    )
    told = explain(row, evidence, inspection, {note["handle"]: note["note"] for note in notes})
    return {**names, "status": row["status"], **told.model_dump(exclude_none=True)}
