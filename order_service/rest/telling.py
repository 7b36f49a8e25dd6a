"""What an order has been through, in both services' words."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from contracts import order as contract
from contracts.chassis import timeline
from contracts.chassis.timeline import Teller
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
