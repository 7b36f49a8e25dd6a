"""How an order's row is shown."""

from typing import Any

from fastapi import Response

from contracts import fulfillment
from contracts import order as contract
from contracts.chassis.errors import NotFound
from contracts.chassis.postgres import Row
from contracts.chassis.requests import as_of

PARCEL_PROGRESS = (
    "fulfillmentId",
    "workflowId",
    "status",
    "currentStep",
    "itemsPicked",
    "itemsTotal",
    "stepsDone",
    "stepsTotal",
    "percent",
    "asOf",
    "source",
)


def named(row: Row) -> dict[str, Any]:
    return {"orderId": row["order_id"], "workflowId": contract.workflow_id(row["order_id"])}


def summary(row: Row) -> dict[str, Any]:
    return {
        **named(row),
        "status": row["status"],
        "stage": row["stage"],
        "paymentStatus": row["payment_status"],
        "customerId": row["customer_id"],
        "totalMinor": row["document"]["totalMinor"],
        "currency": row["document"]["currency"],
        "placedAt": row["placed_at"],
        "updatedAt": row["updated_at"],
        "version": row["version"],
    }


def status(row: Row, response: Response) -> dict[str, Any]:
    response.headers["ETag"] = f'"{row["version"]}"'
    return {
        **summary(row),
        "currentStep": row["step"],
        **row["document"],
        "fulfillment": parcel(row) if row["fulfillment"] else _not_heard_of(row),
        **as_of(row["updated_at"]),
    }


def _not_heard_of(row: Row) -> dict[str, Any] | None:
    """A fulfillment that was asked for but has not spoken on Kafka yet."""
    fulfillment_id = row["document"]["fulfillmentId"]
    if fulfillment_id is None:
        return None
    return {
        "fulfillmentId": fulfillment_id,
        "workflowId": fulfillment.workflow_id(fulfillment_id),
        "status": "WAITING",
        "stage": "WAITING",
        "percent": 0,
        **as_of(row["updated_at"]),
    }


def parcel(row: Row) -> dict[str, Any]:
    if row["fulfillment"]:
        return {
            **row["fulfillment"],
            "version": row["fulfillment_sequence"],
            **as_of(row["fulfillment_at"], "kafka"),
        }
    shown = _not_heard_of(row)
    if shown is None:
        raise NotFound("the order has no fulfillment yet; its status tells how far it is")
    return shown
