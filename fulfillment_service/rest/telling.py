"""What a parcel has been through, in both services' words."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from contracts import fulfillment as contract
from contracts.chassis import timeline
from contracts.chassis.timeline import Teller
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
