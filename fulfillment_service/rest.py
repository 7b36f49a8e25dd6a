"""The operators' door of the fulfillment service: parse, ask, answer. Needs PostgreSQL and nothing else."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse
from pydantic import Field

from contracts import fulfillment as contract
from contracts import order
from contracts.chassis.errors import Invalid, NotFound
from contracts.chassis.postgres import Database, Row
from contracts.chassis.receipts import request_hash
from contracts.chassis.requests import Caller, after, answered, as_of, caller, cursor_of
from contracts.envelope import Wish, WishName, WishPayload, hold_of
from contracts.order import Request, RequestAddress
from contracts.values import Hold, HoldReason, Reference, Text500
from fulfillment_service import projection
from fulfillment_service.intake import Intake


class Door:
    """What the routes need; kept on the application by `bootstrap`."""

    def __init__(self, database: Database, intake: Intake) -> None:
        self.database = database
        self.intake = intake


def door(request: HttpRequest) -> Door:
    return request.app.state.door


def simulated(response: Response) -> None:
    """Warehouse and carrier of this version are simulated, and every answer about them says so."""
    response.headers.update(SIMULATED)


SIMULATED = {"Tandem-Simulated": "true"}
router = APIRouter(dependencies=[Depends(simulated)])
ByCaller = Annotated[Caller, Depends(caller)]
ThroughDoor = Annotated[Door, Depends(door)]


class Because(Request):
    """Why an operator asks for something; kept apart from everything else, since it may name a person."""

    reason: Text500 | None = None
    note: Text500 | None = None


class PlaceHold(Request):
    """One more reason not to move."""

    reason: HoldReason
    handle: Reference | None = None
    """The name to lift it by; without one the command's id."""
    note: Text500 | None = None


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


@router.get("/exceptions")
async def list_exceptions(
    door: ThroughDoor, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> dict[str, Any]:
    """Parcels that wait for a person to look at them, longest waiting first."""
    rows = await door.database.fetch(projection.EXCEPTIONS, limit=limit)
    return {"exceptions": [{**_summary(row), "exception": row["document"]["exception"]} for row in rows]}


@router.get("/fulfillments/{fulfillment_id}")
async def fulfillment(door: ThroughDoor, response: Response, fulfillment_id: str) -> dict[str, Any]:
    """Everything the view shows; an order id means the order's newest fulfillment."""
    return _status(await _row(door, fulfillment_id), response)


@router.get("/fulfillments/{fulfillment_id}/status")
async def fulfillment_status(door: ThroughDoor, response: Response, fulfillment_id: str) -> dict[str, Any]:
    """Where the parcel stands, its order included."""
    return _status(await _row(door, fulfillment_id), response)


@router.get("/fulfillments/{fulfillment_id}/progress")
async def fulfillment_progress(door: ThroughDoor, response: Response, fulfillment_id: str) -> dict[str, Any]:
    """Items, steps and percent, which never fall."""
    row = await _row(door, fulfillment_id)
    response.headers["ETag"] = f'"{row["version"]}"'
    document = row["document"]
    return {
        **_named(row),
        "status": row["status"],
        **{name: document[name] for name in _PROGRESS},
        **as_of(row["updated_at"]),
    }


@router.get("/fulfillments/{fulfillment_id}/actions")
async def fulfillment_actions(door: ThroughDoor, fulfillment_id: str) -> dict[str, Any]:
    """The wishes that would not be refused now."""
    row = await _row(door, fulfillment_id)
    return {
        **_named(row),
        "status": row["status"],
        "currentStep": row["document"]["currentStep"],
        "allowedActions": row["document"]["allowedActions"],
        **as_of(row["updated_at"]),
    }


@router.post("/fulfillments/{fulfillment_id}/pause")
async def pause(
    door: ThroughDoor, caller: ByCaller, fulfillment_id: str, body: Because | None = None
) -> JSONResponse:
    """The parcel will not begin another step; one that is in flight ends first."""
    return await _wish(door, caller, fulfillment_id, "pauseFulfillment", _because(body))


@router.post("/fulfillments/{fulfillment_id}/resume")
async def resume(
    door: ThroughDoor, caller: ByCaller, fulfillment_id: str, body: Because | None = None
) -> JSONResponse:
    """Every pause is lifted; without another hold the parcel goes on with the very step it stopped before."""
    return await _wish(door, caller, fulfillment_id, "resumeFulfillment", _because(body))


@router.post("/fulfillments/{fulfillment_id}/cancel")
async def cancel(
    door: ThroughDoor, caller: ByCaller, fulfillment_id: str, body: Because | None = None
) -> JSONResponse:
    """The parcel will be taken apart; CANCELLED means that label and shelf are settled."""
    return await _wish(door, caller, fulfillment_id, "cancelFulfillment", _because(body))


@router.post("/fulfillments/{fulfillment_id}/holds")
async def place_hold(
    door: ThroughDoor, caller: ByCaller, fulfillment_id: str, body: PlaceHold
) -> JSONResponse:
    """The parcel has one more reason not to move."""
    plain = hold_of(Wish(), caller.command_id)
    hold = Hold(handle=body.handle or plain.handle, reason=body.reason)
    wish = Wish(note=body.note, payload=WishPayload(hold=hold))
    return await _wish(door, caller, fulfillment_id, "applyHold", wish)


@router.delete("/fulfillments/{fulfillment_id}/holds")
async def release_hold(
    door: ThroughDoor, caller: ByCaller, fulfillment_id: str, handle: Reference | None = None
) -> JSONResponse:
    """The hold of that handle is lifted; without a handle all of them are."""
    wish = Wish(payload=WishPayload(handle=handle))
    return await _wish(door, caller, fulfillment_id, "releaseHold", wish)


@router.patch("/fulfillments/{fulfillment_id}/shipping-address")
async def change_address(
    door: ThroughDoor, caller: ByCaller, fulfillment_id: str, body: RequestAddress
) -> JSONResponse:
    """The label that is handed over carries this address; a booked one with another is voided."""
    wish = Wish(payload=WishPayload(address=body))
    return await _wish(door, caller, fulfillment_id, "updateShippingAddress", wish)


@router.post("/fulfillments/{fulfillment_id}/steps/{step_key}/complete")
async def complete_step(
    door: ThroughDoor, caller: ByCaller, fulfillment_id: str, step_key: Reference, body: Because | None = None
) -> JSONResponse:
    """The step is done; completing `hand-over` calls the carrier."""
    wish = _because(body, WishPayload(step_key=step_key))
    return await _wish(door, caller, fulfillment_id, "completeStep", wish)


@router.post("/fulfillments/{fulfillment_id}/steps/{step_key}/fail")
async def fail_step(
    door: ThroughDoor, caller: ByCaller, fulfillment_id: str, step_key: Reference, body: Because | None = None
) -> JSONResponse:
    """The step cannot be done at all: the parcel is taken apart and the fulfillment fails."""
    wish = _because(body, WishPayload(step_key=step_key))
    return await _wish(door, caller, fulfillment_id, "failStep", wish)


@router.post("/fulfillments/{fulfillment_id}/exceptions/resolve")
async def resolve_exception(
    door: ThroughDoor, caller: ByCaller, fulfillment_id: str, body: Because | None = None
) -> JSONResponse:
    """The step that made the trouble is tried again."""
    return await _wish(door, caller, fulfillment_id, "resolveException", _because(body))


async def _wish(
    door: Door, caller: Caller, name: str, wish_name: WishName, wish: Wish | None = None
) -> JSONResponse:
    fulfillment_id = await _fulfillment_id(door, name)
    granted = await door.intake.submit(
        wish_name,
        fulfillment_id,
        wish or Wish(),
        command_id=caller.command_id,
        actor=caller.actor,
        request_hash=request_hash(wish_name, wish),
        expected_version=caller.expected_version,
        knock=True,
        rehearse=caller.dry_run,
    )
    about = {
        "fulfillmentId": fulfillment_id,
        "workflowId": contract.workflow_id(fulfillment_id),
        "orderId": contract.order_id_of(fulfillment_id),
    }
    refusal: dict[str, Any] = {}
    if granted.receipt.status == "REJECTED":
        row = await _row(door, fulfillment_id)
        document = row["document"]
        refusal = {
            "currentStatus": row["status"],
            "currentStep": document["currentStep"],
            "allowedActions": document["allowedActions"],
        }
    answer = answered(granted, caller, about, refusal)
    answer.headers.update(SIMULATED)
    return answer


def _because(body: Because | None, payload: WishPayload | None = None) -> Wish:
    reason, note = (body.reason, body.note) if body else (None, None)
    return Wish(reason=reason, note=note, payload=payload or WishPayload())


async def _fulfillment_id(door: Door, name: str) -> str:
    """The fulfillment a path names; that of an order is its newest."""
    try:
        return contract.fulfillment_id_of(name)
    except ValueError:
        return (await _row(door, name))["fulfillment_id"]


async def _row(door: Door, name: str) -> Row:
    """The row that a fulfillment id, a workflow id or an order id names."""
    try:
        row = await door.database.fetch_one(projection.FIND, fulfillment_id=contract.fulfillment_id_of(name))
    except ValueError:
        row = await door.database.fetch_one(projection.NEWEST_OF_ORDER, order_id=_order_id(name))
    if row is None:
        raise NotFound("no such fulfillment here")
    return row


def _order_id(name: str) -> str:
    try:
        return order.order_id_of(name)
    except ValueError as error:
        raise Invalid("not a fulfillment id: expected <orderId>-<n>, or an order id") from error


_PROGRESS = ("currentStep", "itemsPicked", "itemsTotal", "stepsDone", "stepsTotal", "percent")


def _named(row: Row) -> dict[str, Any]:
    return {
        "fulfillmentId": row["fulfillment_id"],
        "workflowId": contract.workflow_id(row["fulfillment_id"]),
        "orderId": row["order_id"],
    }


def _summary(row: Row) -> dict[str, Any]:
    document = row["document"]
    return {
        **_named(row),
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
