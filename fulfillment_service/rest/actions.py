"""What one may do with a parcel now, until when, at what cost, and with which call."""

from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Response

from contracts.chassis.requests import action_of, as_of
from fulfillment_service.intake import Action
from fulfillment_service.rest.door import ThroughDoor, look_at, named

router = APIRouter()

_ADDRESS = {"street": "", "city": "", "state": "", "zipCode": "", "country": ""}
_CALLS: dict[str, tuple[str, str, dict[str, str] | None]] = {
    "pause": ("POST", "pause", None),
    "hold": ("POST", "holds", {"reason": "OTHER"}),
    "resume": ("POST", "resume", None),
    "release": ("DELETE", "holds", None),
    "cancel": ("POST", "cancel", None),
    "acceptCancellation": ("POST", "cancellation-requests/{subject}/accept", None),
    "rejectCancellation": ("POST", "cancellation-requests/{subject}/reject", None),
    "updateAddress": ("PATCH", "shipping-address", _ADDRESS),
    "completeStep": ("POST", "steps/{subject}/complete", None),
    "failStep": ("POST", "steps/{subject}/fail", None),
    "resolveException": ("POST", "exceptions/resolve", None),
    "skipException": ("POST", "exceptions/resolve", {"resolution": "skip"}),
}
"""Method, path below the parcel's, and the body that has to be filled in."""


@router.get("/fulfillments/{fulfillment_id}/actions")
async def fulfillment_actions(door: ThroughDoor, response: Response, fulfillment_id: str) -> dict[str, Any]:
    """Each action with allowed or why not, computed by what would decide about it."""
    row, look = await look_at(door, fulfillment_id)
    response.headers["ETag"] = f'"{look.version}"'
    actions = [action_of(action, _call(row["fulfillment_id"], action)) for action in look.actions]
    return {
        **named(row),
        "status": look.status,
        "currentStep": look.document["currentStep"],
        "allowedActions": list(dict.fromkeys(each["name"] for each in actions if each["allowed"])),
        "actions": actions,
        "compensation": [asdict(step) for step in look.compensation],
        **as_of(look.at, "stream"),
    }


def _call(fulfillment_id: str, action: Action) -> tuple[str, str, dict[str, str] | None]:
    method, path, body = _CALLS[action.name]
    subject = quote(action.subject or "", safe="/:")
    return method, f"/fulfillments/{fulfillment_id}/{path.format(subject=subject)}", body
