"""What operators see of their parcels."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field

from contracts import fulfillment as contract
from contracts import order
from contracts.chassis.postgres import Row
from contracts.chassis.requests import after, as_of, cursor_of
from contracts.order import Request
from fulfillment_service import projection
from fulfillment_service.rest.door import ThroughDoor, look_at, named, row_of

router = APIRouter()


class Page(Request):
    """Which fulfillments to list; an unknown parameter is an error."""

    status: Annotated[str, Field(max_length=40)] | None = None
    stage: contract.Stage | None = None
    order_id: Annotated[str, Field(max_length=64)] | None = None
    cursor: Annotated[str, Field(max_length=200)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


@router.get("/fulfillments")
async def list_fulfillments(door: ThroughDoor, page: Annotated[Page, Query()]) -> dict[str, Any]:
    """Fulfillments, newest first. `next` is the cursor of the following page, absent on the last one."""
    after_at, after_id = after(page.cursor, contract.fulfillment_id_of)
    rows = await door.database.fetch(
        projection.PAGE,
        status=page.status,
        stage=page.stage,
        order_id=page.order_id,
        after_at=after_at,
        after_id=after_id,
        limit=page.limit + 1,
    )
    last = rows[page.limit - 1] if len(rows) > page.limit else None
    shown = {"fulfillments": [_summary(row) for row in rows[: page.limit]]}
    return {**shown, "next": cursor_of(last["accepted_at"], last["fulfillment_id"])} if last else shown


@router.get("/fulfillments/{fulfillment_id}")
async def fulfillment(door: ThroughDoor, response: Response, fulfillment_id: str) -> dict[str, Any]:
    """Everything the view shows; an order id means the order's newest fulfillment."""
    return _status(await row_of(door, fulfillment_id), response)


@router.get("/fulfillments/{fulfillment_id}/status")
async def fulfillment_status(door: ThroughDoor, response: Response, fulfillment_id: str) -> dict[str, Any]:
    """Where the parcel stands, its order included."""
    return _status(await row_of(door, fulfillment_id), response)


@router.get("/fulfillments/{fulfillment_id}/progress")
async def fulfillment_progress(door: ThroughDoor, response: Response, fulfillment_id: str) -> dict[str, Any]:
    """Items, steps, and when the parcel should leave. Percent never falls; `setback` is why steps did."""
    row, look = await look_at(door, fulfillment_id)
    response.headers["ETag"] = f'"{look.version}"'
    return {
        **named(row),
        "status": look.status,
        **{name: look.document[name] for name in _PROGRESS},
        "stepStartedAt": look.step_started_at,
        "stepBudgetSeconds": look.outlook.step_budget_seconds,
        "estimatedAt": look.outlook.estimated_at,
        **as_of(look.at, "stream"),
    }


_PROGRESS = ("currentStep", "itemsPicked", "itemsTotal", "stepsDone", "stepsTotal", "percent", "setback")


def _summary(row: Row) -> dict[str, Any]:
    document = row["document"]
    return {
        **named(row),
        "status": row["status"],
        "stage": row["stage"],
        "currentStep": document["currentStep"],
        "percent": document["percent"],
        "mode": document["mode"],
        "acceptedAt": row["accepted_at"],
        "updatedAt": row["updated_at"],
        "version": row["version"],
        "simulated": True,
    }


def _status(row: Row, response: Response) -> dict[str, Any]:
    response.headers["ETag"] = f'"{row["version"]}"'
    return {**_summary(row), **row["document"], "order": _order(row), **as_of(row["updated_at"])}


def _order(row: Row) -> dict[str, Any] | None:
    """The order as Kafka last told it; None before it did."""
    if row["order_status"] is None:
        return None
    return {
        "orderId": row["order_id"],
        "workflowId": order.workflow_id(row["order_id"]),
        "status": row["order_status"],
        "paymentStatus": row["order_payment_status"],
        "version": row["order_sequence"],
        **as_of(row["order_at"], "kafka"),
    }
