"""What every route of the order service needs: the database, the intake, and the order a path names."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Depends
from fastapi import Request as HttpRequest

from contracts import fulfillment
from contracts import order as contract
from contracts.chassis.errors import Invalid, NotFound
from contracts.chassis.explanation import Inspect
from contracts.chassis.postgres import Database, Row
from contracts.chassis.requests import Caller, caller
from contracts.chassis.watch import Watch
from order_service import projection
from order_service.intake import Intake

ByCaller = Annotated[Caller, Depends(caller)]


class Door:
    """What the routes need; kept on the application by `bootstrap`."""

    def __init__(self, database: Database, intake: Intake, watch: Watch, inspect: Inspect) -> None:
        self.database = database
        self.intake = intake
        self.watch = watch
        self.inspect = inspect

    def about_command(self, receipt: Row, facts: Sequence[Row]) -> dict[str, Any]:
        """Where its order is, and what the fulfillment said to it."""
        links = {"order": f"/orders/{contract.order_id_of(receipt['stream'])}"}
        asked = [fact for fact in facts if fact["type"] in ("FulfillmentInstructed", "FulfillmentAnswered")]
        if not asked:
            return {"links": links}
        said, at = asked[-1]["data"], asked[-1]["recorded_at"]
        answer = {"status": said.get("status", "RECEIVED"), "code": said.get("code")}
        return {"fulfillment": {**answer, "cutOff": said.get("cut_off"), "at": at}, "links": links}


def door(request: HttpRequest) -> Door:
    return request.app.state.door


ThroughDoor = Annotated[Door, Depends(door)]


def order_id_of(name: str) -> str:
    try:
        return contract.order_id_of(name)
    except ValueError as error:
        raise Invalid(str(error)) from error


async def row_of(door: Door, name: str) -> Row:
    order_id = order_id_of(name)
    row = await door.database.fetch_one(projection.FIND, order_id=order_id)
    if row is None:
        raise NotFound(f"no order {order_id}; see GET /orders")
    return row


async def row_of_fulfillment(door: Door, name: str) -> Row:
    """The order's row; an order id in place of the fulfillment's means its newest fulfillment."""
    try:
        order_id = fulfillment.order_id_of(name)
    except ValueError:
        order_id = order_id_of(name)
    return await row_of(door, order_id)
