"""Looking at orders, their parcels and the stock."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field

from contracts import order as contract
from contracts.chassis.requests import after, as_of, cursor_of
from contracts.order import Request
from order_service import inventory, projection
from order_service.rest.door import ThroughDoor, row_of, row_of_fulfillment
from order_service.rest.shown import PARCEL_PROGRESS, named, parcel, status, summary

router = APIRouter()


class Page(Request):
    """Which orders to list; an unknown parameter is an error."""

    status: Annotated[str, Field(max_length=40)] | None = None
    stage: contract.Stage | None = None
    customer_id: Annotated[str, Field(max_length=64)] | None = None
    cursor: Annotated[str, Field(max_length=200)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


@router.get("/orders")
async def list_orders(door: ThroughDoor, page: Annotated[Page, Query()]) -> dict[str, Any]:
    """Orders, newest first. `next` is the cursor of the following page, absent on the last one."""
    after_at, after_id = after(page.cursor, contract.order_id_of)
    rows = await door.database.fetch(
        projection.PAGE,
        status=page.status,
        stage=page.stage,
        customer_id=page.customer_id,
        after_at=after_at,
        after_id=after_id,
        limit=page.limit + 1,
    )
    last = rows[page.limit - 1] if len(rows) > page.limit else None
    shown = {"orders": [summary(row) for row in rows[: page.limit]]}
    return {**shown, "next": cursor_of(last["placed_at"], last["order_id"])} if last else shown


@router.get("/orders/fulfillment/{fulfillment_workflow_id}/status")
async def fulfillment_status(door: ThroughDoor, fulfillment_workflow_id: str) -> dict[str, Any]:
    """The parcel as Kafka last told it."""
    return parcel(await row_of_fulfillment(door, fulfillment_workflow_id))


@router.get("/orders/fulfillment/{fulfillment_workflow_id}/progress")
async def fulfillment_progress(door: ThroughDoor, fulfillment_workflow_id: str) -> dict[str, Any]:
    """Items, steps and percent of the parcel as Kafka last told them."""
    shown = parcel(await row_of_fulfillment(door, fulfillment_workflow_id))
    return {name: shown.get(name) for name in PARCEL_PROGRESS if name in shown}


@router.get("/orders/{workflow_id}")
async def order(door: ThroughDoor, response: Response, workflow_id: str) -> dict[str, Any]:
    """Everything the order's view shows."""
    return status(await row_of(door, workflow_id), response)


@router.get("/orders/{workflow_id}/status")
async def order_status(door: ThroughDoor, response: Response, workflow_id: str) -> dict[str, Any]:
    """Where the order stands, its fulfillment included."""
    return status(await row_of(door, workflow_id), response)


@router.get("/orders/{workflow_id}/progress")
async def order_progress(door: ThroughDoor, response: Response, workflow_id: str) -> dict[str, Any]:
    """How far the order is; steps count from the stock to the money."""
    row = await row_of(door, workflow_id)
    document = row["document"]
    response.headers["ETag"] = f'"{row["version"]}"'
    return {
        **named(row),
        "status": row["status"],
        "currentStep": row["step"],
        "stepsDone": document["stepsDone"],
        "stepsTotal": document["stepsTotal"],
        "percent": document["percent"],
        "fulfillment": {key: row["fulfillment"][key] for key in PARCEL_PROGRESS if key in row["fulfillment"]}
        if row["fulfillment"]
        else None,
        **as_of(row["updated_at"]),
    }


@router.get("/stock")
async def stock(door: ThroughDoor) -> dict[str, Any]:
    """The catalogue with what is available, held and shipped of each article."""
    async with door.database.connection() as connection:
        return {"stock": await inventory.levels(connection)}
