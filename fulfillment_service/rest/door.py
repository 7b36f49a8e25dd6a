"""What every route of the operators' door needs: the door itself, the caller, and the names of parcels."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

from fastapi import Depends, Response
from fastapi import Request as HttpRequest

from contracts import fulfillment as contract
from contracts import order
from contracts.chassis.errors import Invalid
from contracts.chassis.explanation import Inspect
from contracts.chassis.postgres import Database, Row
from contracts.chassis.requests import Caller, caller
from contracts.chassis.watch import Watch
from fulfillment_service import projection
from fulfillment_service.intake import Intake, Look, unknown


class Door:
    """What the routes need; kept on the application by `bootstrap`."""

    def __init__(self, database: Database, intake: Intake, watch: Watch, inspect: Inspect) -> None:
        self.database = database
        self.intake = intake
        self.watch = watch
        self.inspect = inspect

    def about_command(self, receipt: Row, facts: Sequence[Row]) -> dict[str, Any]:
        """Where its parcel is, if it is about one."""
        with suppress(ValueError):
            name = contract.fulfillment_id_of(receipt["stream"])
            return {"links": {"fulfillment": f"/fulfillments/{name}"}}
        return {}


def door(request: HttpRequest) -> Door:
    return request.app.state.door


def simulated(response: Response) -> None:
    """Warehouse and carrier of this version are simulated, and every answer about them says so."""
    response.headers.update(SIMULATED)


SIMULATED = {"Tandem-Simulated": "true"}


ByCaller = Annotated[Caller, Depends(caller)]
ThroughDoor = Annotated[Door, Depends(door)]


async def fulfillment_id_of(door: Door, name: str) -> str:
    """The fulfillment a path names; that of an order is its newest."""
    try:
        return contract.fulfillment_id_of(name)
    except ValueError:
        return (await row_of(door, name))["fulfillment_id"]


async def row_of(door: Door, name: str) -> Row:
    """The row that a fulfillment id, a workflow id or an order id names."""
    try:
        row = await door.database.fetch_one(projection.FIND, fulfillment_id=contract.fulfillment_id_of(name))
    except ValueError:
        row = await door.database.fetch_one(projection.NEWEST_OF_ORDER, order_id=_order_id(name))
    if row is None:
        raise unknown(name)
    return row


async def look_at(door: Door, name: str) -> tuple[Row, Look]:
    """The row of the parcel that is named, and a look at its stream."""
    row = await row_of(door, name)
    look = await door.intake.look(row["fulfillment_id"], now=row["now"])
    if look is None:
        raise unknown(name)
    return row, look


def _order_id(name: str) -> str:
    try:
        return order.order_id_of(name)
    except ValueError as error:
        raise Invalid("not a fulfillment id: expected <orderId>-<n>, or an order id") from error


def named(row: Row) -> dict[str, Any]:
    """The three names of a parcel."""
    return {
        "fulfillmentId": row["fulfillment_id"],
        "workflowId": contract.workflow_id(row["fulfillment_id"]),
        "orderId": row["order_id"],
    }
