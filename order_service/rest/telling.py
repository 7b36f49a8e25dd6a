"""What an order has been through, in both services' words, and why it does not move."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query

from contracts import order as contract
from contracts.chassis import explanation, timeline
from contracts.chassis.timeline import Teller
from order_service.explain import explain
from order_service.rest.door import ThroughDoor, row_of
from order_service.rest.shown import named

router = APIRouter()


@router.get("/orders/{workflow_id}/timeline")
async def order_timeline(
    door: ThroughDoor, workflow_id: str, page: Annotated[timeline.Page, Query()]
) -> dict[str, Any]:
    """Its own facts and those of its parcel that were heard of, oldest first, with the time in between."""
    row = await row_of(door, workflow_id)
    teller = Teller("order", "fulfillment", contract.stream(row["order_id"]), row["order_id"])
    return {**named(row), **await timeline.read(door.database, teller, page)}


@router.get("/orders/{workflow_id}/explain")
async def explain_order(door: ThroughDoor, workflow_id: str) -> dict[str, Any]:
    """What it waits for, since when, what happens next, and who can change it with which call."""
    row = await row_of(door, workflow_id)
    names = named(row)
    evidence, inspection = await asyncio.gather(
        explanation.gather(
            door.database,
            stream=contract.stream(row["order_id"]),
            order_id=row["order_id"],
            workflow_id=names["workflowId"],
        ),
        door.inspect(names["workflowId"]),
    )
    told = explain(row, evidence, inspection)
    return {**names, "status": row["status"], **told.model_dump(exclude_none=True)}
