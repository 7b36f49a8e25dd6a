"""The door of the order service: parse, ask, answer. Needs PostgreSQL and nothing else."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse
from pydantic import Field

from contracts import fulfillment
from contracts import order as contract
from contracts.chassis.errors import Invalid, NotFound
from contracts.chassis.postgres import Database, Row
from contracts.chassis.receipts import request_hash
from contracts.chassis.requests import Caller, after, answered, as_of, caller, cursor_of, rehearsed
from contracts.chassis.watch import Watch
from contracts.envelope import Wish, WishName
from contracts.order import CancelOrder, PlaceOrder, Request, RequestAddress, UpdateOrder
from contracts.values import WarehouseMode
from order_service import inventory, projection
from order_service.demo import PACE_SECONDS, Scenario, Speed, demo_order, mode_of
from order_service.intake import Intake

router = APIRouter()
ByCaller = Annotated[Caller, Depends(caller)]


class Door:
    """What the routes need; kept on the application by `bootstrap`."""

    def __init__(self, database: Database, intake: Intake, watch: Watch) -> None:
        self.database = database
        self.intake = intake
        self.watch = watch

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


class Demo(Request):
    """Which demo order to place; an unknown parameter is an error."""

    scenario: Scenario = "happy"
    speed: Speed = "normal"
    dry_run: bool = False


@router.post("/orders/demo", status_code=201)
async def place_demo_order(
    door: ThroughDoor, caller: ByCaller, demo: Annotated[Demo, Query()]
) -> JSONResponse:
    """A demo order exists; the providers and the warehouse that serve it are simulated."""
    mode, pace = mode_of(demo.scenario), PACE_SECONDS[demo.speed]
    return await _place(door, caller, demo_order(demo.scenario), mode, pace)


@router.post("/orders", status_code=201)
async def place_order(door: ThroughDoor, caller: ByCaller, body: PlaceOrder) -> JSONResponse:
    """The order is accepted for good; it is carried out also when Temporal or Kafka come back only later."""
    return await _place(door, caller, body)


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
    shown = {"orders": [_summary(row) for row in rows[: page.limit]]}
    return {**shown, "next": cursor_of(last["placed_at"], last["order_id"])} if last else shown


@router.get("/orders/fulfillment/{fulfillment_workflow_id}/status")
async def fulfillment_status(door: ThroughDoor, fulfillment_workflow_id: str) -> dict[str, Any]:
    """The parcel as Kafka last told it."""
    return _fulfillment(await _row_of_fulfillment(door, fulfillment_workflow_id))


@router.get("/orders/fulfillment/{fulfillment_workflow_id}/progress")
async def fulfillment_progress(door: ThroughDoor, fulfillment_workflow_id: str) -> dict[str, Any]:
    """Items, steps and percent of the parcel as Kafka last told them."""
    shown = _fulfillment(await _row_of_fulfillment(door, fulfillment_workflow_id))
    return {name: shown.get(name) for name in _PROGRESS if name in shown}


@router.patch("/orders/fulfillment/{fulfillment_workflow_id}/shipping-address")
async def change_parcel_address(
    door: ThroughDoor, caller: ByCaller, fulfillment_workflow_id: str, body: RequestAddress
) -> JSONResponse:
    """The fulfillment is asked for another address; its answer is the receipt, at `/commands/{commandId}`."""
    row = await _row_of_fulfillment(door, fulfillment_workflow_id)
    return await _wish(
        door, caller, row["order_id"], "updateOrder", changes=UpdateOrder(shipping_address=body)
    )


@router.get("/orders/{workflow_id}")
async def order(door: ThroughDoor, response: Response, workflow_id: str) -> dict[str, Any]:
    """Everything the order's view shows."""
    return _status(await _row(door, workflow_id), response)


@router.get("/orders/{workflow_id}/status")
async def order_status(door: ThroughDoor, response: Response, workflow_id: str) -> dict[str, Any]:
    """Where the order stands, its fulfillment included."""
    return _status(await _row(door, workflow_id), response)


@router.get("/orders/{workflow_id}/progress")
async def order_progress(door: ThroughDoor, response: Response, workflow_id: str) -> dict[str, Any]:
    """How far the order is; steps count from the stock to the money."""
    row = await _row(door, workflow_id)
    document = row["document"]
    response.headers["ETag"] = f'"{row["version"]}"'
    return {
        **_named(row),
        "status": row["status"],
        "currentStep": row["step"],
        "stepsDone": document["stepsDone"],
        "stepsTotal": document["stepsTotal"],
        "percent": document["percent"],
        "fulfillment": {key: row["fulfillment"][key] for key in _PROGRESS if key in row["fulfillment"]}
        if row["fulfillment"]
        else None,
        **as_of(row["updated_at"]),
    }


@router.patch("/orders/{workflow_id}")
async def update_order(
    door: ThroughDoor, caller: ByCaller, workflow_id: str, body: UpdateOrder
) -> JSONResponse:
    """Contact, address or instructions have a new version; id, lines and total never change."""
    return await _wish(door, caller, _order_id(workflow_id), "updateOrder", changes=body)


@router.delete("/orders/{workflow_id}")
async def cancel_order(
    door: ThroughDoor, caller: ByCaller, workflow_id: str, body: CancelOrder
) -> JSONResponse:
    """The order will be cancelled, or the answer says why not; CANCELLED means settled in full."""
    return await _wish(door, caller, _order_id(workflow_id), "cancelOrder", wish=Wish(reason=body.reason))


@router.post("/orders/{workflow_id}/fulfillment/pause")
async def pause_fulfillment(door: ThroughDoor, caller: ByCaller, workflow_id: str) -> JSONResponse:
    """The parcel will not begin another step; before it exists, the pause waits for it."""
    return await _wish(door, caller, _order_id(workflow_id), "pauseOrderFulfillment")


@router.post("/orders/{workflow_id}/fulfillment/resume")
async def resume_fulfillment(door: ThroughDoor, caller: ByCaller, workflow_id: str) -> JSONResponse:
    """The parcel goes on with the very step it stopped before."""
    return await _wish(door, caller, _order_id(workflow_id), "resumeOrderFulfillment")


@router.get("/stock")
async def stock(door: ThroughDoor) -> dict[str, Any]:
    """The catalogue with what is available, held and shipped of each article."""
    async with door.database.connection() as connection:
        return {"stock": await inventory.levels(connection)}


async def _place(
    door: Door,
    caller: Caller,
    body: PlaceOrder,
    mode: WarehouseMode | None = None,
    pace_seconds: float | None = None,
) -> JSONResponse:
    granted = await door.intake.place(
        body,
        command_id=caller.command_id,
        actor=caller.actor,
        request_hash=request_hash(body, mode, str(pace_seconds)),
        mode=mode,
        pace_seconds=pace_seconds,
        rehearse=caller.dry_run,
    )
    if caller.dry_run:
        return rehearsed(granted, {})
    answer = {**(granted.answer or {}), "commandId": caller.command_id, "status": "PENDING"}
    headers = {"Location": f"/orders/{answer['orderId']}", "ETag": '"1"'}
    if granted.replayed:
        headers["Idempotent-Replayed"] = "true"
    return JSONResponse(answer, status_code=201, headers=headers)


async def _wish(
    door: Door,
    caller: Caller,
    order_id: str,
    name: WishName,
    *,
    wish: Wish | None = None,
    changes: UpdateOrder | None = None,
) -> JSONResponse:
    granted = await door.intake.submit(
        name,
        order_id,
        wish or Wish(),
        command_id=caller.command_id,
        actor=caller.actor,
        request_hash=request_hash(name, wish, changes),
        changes=changes,
        expected_version=caller.expected_version,
        knock=True,
        rehearse=caller.dry_run,
    )
    granted = await door.watch.answer(granted, None if caller.dry_run else caller.wait)
    about = {"orderId": order_id, "workflowId": contract.workflow_id(order_id)}
    refusal: dict[str, Any] = {}
    if granted.receipt.status == "REJECTED":
        row = await _row(door, order_id)
        actions = row["document"]["allowedActions"]
        refusal = {"currentStatus": row["status"], "currentStep": row["step"], "allowedActions": actions}
    return answered(granted, caller, about, refusal)


def _order_id(name: str) -> str:
    try:
        return contract.order_id_of(name)
    except ValueError as error:
        raise Invalid(str(error)) from error


async def _row(door: Door, name: str) -> Row:
    order_id = _order_id(name)
    row = await door.database.fetch_one(projection.FIND, order_id=order_id)
    if row is None:
        raise NotFound(f"no order {order_id}")
    return row


async def _row_of_fulfillment(door: Door, name: str) -> Row:
    """The order's row; an order id in place of the fulfillment's means its newest fulfillment."""
    try:
        order_id = fulfillment.order_id_of(name)
    except ValueError:
        order_id = _order_id(name)
    return await _row(door, order_id)


_PROGRESS = (
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


def _named(row: Row) -> dict[str, Any]:
    return {"orderId": row["order_id"], "workflowId": contract.workflow_id(row["order_id"])}


def _summary(row: Row) -> dict[str, Any]:
    return {
        **_named(row),
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


def _status(row: Row, response: Response) -> dict[str, Any]:
    response.headers["ETag"] = f'"{row["version"]}"'
    return {
        **_summary(row),
        "currentStep": row["step"],
        **row["document"],
        "fulfillment": _fulfillment(row) if row["fulfillment"] else _not_heard_of(row),
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


def _fulfillment(row: Row) -> dict[str, Any]:
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
