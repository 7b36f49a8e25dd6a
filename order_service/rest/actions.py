"""What one may do with an order now, until when, at what cost, who answers, and with which call."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Response

from contracts import order as contract
from contracts.chassis.requests import action_of, as_of
from order_service.rest.door import ThroughDoor, order_id_of

router = APIRouter()

_ADDRESS = {"street": "", "city": "", "state": "", "zipCode": "", "country": ""}
_CALLS: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "cancel": ("DELETE", "", {"reason": ""}),
    "pause": ("POST", "/fulfillment/pause", None),
    "resume": ("POST", "/fulfillment/resume", None),
    "hold": ("POST", "/holds", {"reason": "OTHER"}),
    "release": ("DELETE", "/holds", None),
    "updateAddress": ("PATCH", "", {"shippingAddress": _ADDRESS}),
    "updateContact": ("PATCH", "", {"contact": {"name": "", "email": ""}}),
    "updateInstructions": ("PATCH", "", {"instructions": ""}),
    "resolveException": ("POST", "/exceptions/resolve", None),
    "skipException": ("POST", "/exceptions/resolve", {"resolution": "skip"}),
}
"""Method, path below the order's, and the body that has to be filled in."""


@router.get("/orders/{workflow_id}/actions")
async def order_actions(door: ThroughDoor, response: Response, workflow_id: str) -> dict[str, Any]:
    """Each action with allowed or why not, computed by what would decide about it."""
    order_id = order_id_of(workflow_id)
    look = await door.intake.look(order_id)
    response.headers["ETag"] = f'"{look.version}"'
    actions = [action_of(action, _call(order_id, action.name)) for action in look.actions]
    return {
        "orderId": order_id,
        "workflowId": contract.workflow_id(order_id),
        "status": look.status,
        "currentStep": look.step,
        "allowedActions": [each["name"] for each in actions if each["allowed"]],
        "actions": actions,
        "compensation": [asdict(step) for step in look.compensation],
        **as_of(look.at, "stream"),
    }


def _call(order_id: str, name: str) -> tuple[str, str, dict[str, Any] | None]:
    method, path, body = _CALLS[name]
    return method, f"/orders/{order_id}{path}", body
