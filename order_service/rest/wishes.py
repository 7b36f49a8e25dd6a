"""What may be wished of an order: each is decided at once, or passed on and answered later."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from contracts import order as contract
from contracts.chassis import triage
from contracts.chassis.documents import GRANTED
from contracts.chassis.receipts import request_hash
from contracts.chassis.requests import Caller, answered
from contracts.envelope import Wish, WishName, WishPayload, hold_of
from contracts.order import (
    Because,
    CancelOrder,
    Pause,
    PlaceHold,
    RequestAddress,
    Resolve,
    Resume,
    UpdateOrder,
)
from contracts.values import Hold, Reference
from order_service.rest.door import ByCaller, Door, ThroughDoor, order_id_of, row_of, row_of_fulfillment

router = APIRouter(responses=GRANTED)


@router.patch("/orders/fulfillment/{fulfillment_workflow_id}/shipping-address")
async def change_parcel_address(
    door: ThroughDoor, caller: ByCaller, fulfillment_workflow_id: str, body: RequestAddress
) -> JSONResponse:
    """The fulfillment is asked for another address; its answer is the receipt, at `/commands/{commandId}`."""
    row = await row_of_fulfillment(door, fulfillment_workflow_id)
    return await submit(
        door, caller, row["order_id"], "updateOrder", changes=UpdateOrder(shipping_address=body)
    )


@router.patch("/orders/{workflow_id}")
async def update_order(
    door: ThroughDoor, caller: ByCaller, workflow_id: str, body: UpdateOrder
) -> JSONResponse:
    """Contact, address or instructions have a new version; id, lines and total never change."""
    return await submit(door, caller, order_id_of(workflow_id), "updateOrder", changes=body)


@router.delete("/orders/{workflow_id}")
async def cancel_order(
    door: ThroughDoor, caller: ByCaller, workflow_id: str, body: CancelOrder
) -> JSONResponse:
    """The order will be cancelled, or the answer says why not; CANCELLED means settled in full."""
    return await submit(door, caller, order_id_of(workflow_id), "cancelOrder", wish=Wish(reason=body.reason))


@router.post("/orders/{workflow_id}/fulfillment/pause")
async def pause_fulfillment(
    door: ThroughDoor, caller: ByCaller, workflow_id: str, body: Pause | None = None
) -> JSONResponse:
    """The parcel will not begin another step; before it exists, the pause waits for it."""
    asked = body or Pause()
    plain = hold_of(Wish(), caller.command_id)
    wish = _because(asked, WishPayload(hold=plain.model_copy(update={"until": asked.until})))
    return await submit(door, caller, order_id_of(workflow_id), "pauseOrderFulfillment", wish=wish)


@router.post("/orders/{workflow_id}/fulfillment/resume")
async def resume_fulfillment(
    door: ThroughDoor, caller: ByCaller, workflow_id: str, body: Resume | None = None
) -> JSONResponse:
    """The parcel goes on with the very step it stopped before, unless another hold stands."""
    asked = body or Resume()
    wish = _because(asked, WishPayload(handle=asked.handle))
    return await submit(door, caller, order_id_of(workflow_id), "resumeOrderFulfillment", wish=wish)


@router.post("/orders/{workflow_id}/holds")
async def place_hold(door: ThroughDoor, caller: ByCaller, workflow_id: str, body: PlaceHold) -> JSONResponse:
    """Nothing further begins, of the order or, once it was asked for, of its parcel."""
    handle = body.handle or hold_of(Wish(), caller.command_id).handle
    hold = Hold(handle=handle, reason=body.reason, until=body.until)
    wish = Wish(note=body.note, payload=WishPayload(hold=hold))
    return await submit(door, caller, order_id_of(workflow_id), "applyHold", wish=wish)


@router.delete("/orders/{workflow_id}/holds")
async def release_hold(
    door: ThroughDoor, caller: ByCaller, workflow_id: str, handle: Reference | None = None
) -> JSONResponse:
    """The hold of that handle is lifted; without a handle all of them are."""
    wish = Wish(payload=WishPayload(handle=handle))
    return await submit(door, caller, order_id_of(workflow_id), "releaseHold", wish=wish)


def _because(asked: Because, payload: WishPayload) -> Wish:
    return Wish(reason=asked.reason, note=asked.note, payload=payload)


@router.post("/orders/{workflow_id}/exceptions/resolve")
async def resolve_exception(
    door: ThroughDoor, caller: ByCaller, workflow_id: str, body: Resolve | None = None
) -> JSONResponse:
    """What made the trouble is tried again, or left out where that is safe; /exceptions has each alone."""
    asked = body or Resolve()
    wish = _because(asked, WishPayload(resolution=asked.resolution))
    await triage.expect_free(door.database, order_id_of(workflow_id), caller)
    return await submit(door, caller, order_id_of(workflow_id), "resolveException", wish=wish)


async def submit(
    door: Door,
    caller: Caller,
    order_id: str,
    name: WishName,
    *,
    wish: Wish | None = None,
    changes: UpdateOrder | None = None,
) -> JSONResponse:
    """The answer to a wish: its receipt, or why it is refused."""
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
        row = await row_of(door, order_id)
        actions = row["document"]["allowedActions"]
        refusal = {"currentStatus": row["status"], "currentStep": row["step"], "allowedActions": actions}
    return answered(granted, caller, about, refusal)
