"""What operators may wish of a parcel: parse, ask, answer."""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse

from contracts import fulfillment as contract
from contracts.chassis import triage
from contracts.chassis.documents import GRANTED
from contracts.chassis.receipts import request_hash
from contracts.chassis.requests import Caller, answered
from contracts.envelope import CommandId, Wish, WishName, WishPayload, hold_of
from contracts.order import Because, Pause, PlaceHold, RequestAddress, Resolve, Resume
from contracts.values import Hold, Reference
from fulfillment_service.rest.door import (
    SIMULATED,
    ByCaller,
    Door,
    ThroughDoor,
    fulfillment_id_of,
    row_of,
)

router = APIRouter(responses=GRANTED)
OfRequest = Annotated[CommandId, Path(description="The command that asked for the cancel.")]


@router.post("/fulfillments/{fulfillment_id}/pause")
async def pause(
    door: ThroughDoor, caller: ByCaller, fulfillment_id: str, body: Pause | None = None
) -> JSONResponse:
    """The parcel will not begin another step; one that is in flight ends first."""
    hold = hold_of(Wish(), caller.command_id)
    if body and body.until:
        hold = hold.model_copy(update={"until": body.until})
    wish = _because(body, WishPayload(hold=hold))
    return await submit(door, caller, fulfillment_id, "pauseFulfillment", wish)


@router.post("/fulfillments/{fulfillment_id}/resume")
async def resume(
    door: ThroughDoor, caller: ByCaller, fulfillment_id: str, body: Resume | None = None
) -> JSONResponse:
    """Every pause is lifted, or one; without another hold it goes on with the very step it stopped before."""
    asked = body or Resume()
    wish = Wish(reason=asked.reason, note=asked.note, payload=WishPayload(handle=asked.handle))
    return await submit(door, caller, fulfillment_id, "resumeFulfillment", wish)


@router.post("/fulfillments/{fulfillment_id}/cancel")
async def cancel(
    door: ThroughDoor, caller: ByCaller, fulfillment_id: str, body: Because | None = None
) -> JSONResponse:
    """The parcel will be taken apart; CANCELLED means that label and shelf are settled."""
    return await submit(door, caller, fulfillment_id, "cancelFulfillment", _because(body))


@router.post("/fulfillments/{fulfillment_id}/holds")
async def place_hold(
    door: ThroughDoor, caller: ByCaller, fulfillment_id: str, body: PlaceHold
) -> JSONResponse:
    """The parcel has one more reason not to move."""
    plain = hold_of(Wish(), caller.command_id)
    hold = Hold(handle=body.handle or plain.handle, reason=body.reason, until=body.until)
    wish = Wish(note=body.note, payload=WishPayload(hold=hold))
    return await submit(door, caller, fulfillment_id, "applyHold", wish)


@router.delete("/fulfillments/{fulfillment_id}/holds")
async def release_hold(
    door: ThroughDoor, caller: ByCaller, fulfillment_id: str, handle: Reference | None = None
) -> JSONResponse:
    """The hold of that handle is lifted; without a handle all of them are."""
    wish = Wish(payload=WishPayload(handle=handle))
    return await submit(door, caller, fulfillment_id, "releaseHold", wish)


@router.patch("/fulfillments/{fulfillment_id}/shipping-address")
async def change_address(
    door: ThroughDoor, caller: ByCaller, fulfillment_id: str, body: RequestAddress
) -> JSONResponse:
    """The label that is handed over carries this address; a booked one with another is voided."""
    wish = Wish(payload=WishPayload(address=body))
    return await submit(door, caller, fulfillment_id, "updateShippingAddress", wish)


@router.post("/fulfillments/{fulfillment_id}/steps/{step_key}/complete")
async def complete_step(
    door: ThroughDoor, caller: ByCaller, fulfillment_id: str, step_key: Reference, body: Because | None = None
) -> JSONResponse:
    """The step is done; completing `hand-over` calls the carrier."""
    wish = _because(body, WishPayload(step_key=step_key))
    return await submit(door, caller, fulfillment_id, "completeStep", wish)


@router.post("/fulfillments/{fulfillment_id}/steps/{step_key}/fail")
async def fail_step(
    door: ThroughDoor, caller: ByCaller, fulfillment_id: str, step_key: Reference, body: Because | None = None
) -> JSONResponse:
    """The step cannot be done at all: the parcel is taken apart and the fulfillment fails."""
    wish = _because(body, WishPayload(step_key=step_key))
    return await submit(door, caller, fulfillment_id, "failStep", wish)


@router.post("/fulfillments/{fulfillment_id}/cancellation-requests/{command_id:path}/accept")
async def accept_cancellation(
    door: ThroughDoor,
    caller: ByCaller,
    fulfillment_id: str,
    command_id: OfRequest,
    body: Because | None = None,
) -> JSONResponse:
    """The parcel will be taken apart, as all who asked for it wished."""
    wish = _because(body, WishPayload(request=command_id))
    return await submit(door, caller, fulfillment_id, "acceptCancellation", wish)


@router.post("/fulfillments/{fulfillment_id}/cancellation-requests/{command_id:path}/reject")
async def reject_cancellation(
    door: ThroughDoor,
    caller: ByCaller,
    fulfillment_id: str,
    command_id: OfRequest,
    body: Because | None = None,
) -> JSONResponse:
    """The parcel goes on with the very step; whoever asked has a rejected receipt."""
    wish = _because(body, WishPayload(request=command_id))
    return await submit(door, caller, fulfillment_id, "rejectCancellation", wish)


@router.post("/fulfillments/{fulfillment_id}/exceptions/resolve")
async def resolve_exception(
    door: ThroughDoor, caller: ByCaller, fulfillment_id: str, body: Resolve | None = None
) -> JSONResponse:
    """What made the trouble is tried again, or left out where that is safe; /exceptions has each alone."""
    payload = WishPayload(resolution=body.resolution if body else None)
    await triage.expect_free(door.database, await fulfillment_id_of(door, fulfillment_id), caller)
    return await submit(door, caller, fulfillment_id, "resolveException", _because(body, payload))


async def submit(
    door: Door, caller: Caller, name: str, wish_name: WishName, wish: Wish | None = None
) -> JSONResponse:
    """The answer to a wish: its receipt, or why it is refused."""
    fulfillment_id = await fulfillment_id_of(door, name)
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
    granted = await door.watch.answer(granted, None if caller.dry_run else caller.wait)
    about = {
        "fulfillmentId": fulfillment_id,
        "workflowId": contract.workflow_id(fulfillment_id),
        "orderId": contract.order_id_of(fulfillment_id),
    }
    refusal: dict[str, Any] = {}
    if granted.receipt.status == "REJECTED":
        row = await row_of(door, fulfillment_id)
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
