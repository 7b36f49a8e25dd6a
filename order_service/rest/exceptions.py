"""What of the orders waits for a person, and what a person may do about it."""

from typing import Any

from fastapi.responses import JSONResponse

from contracts import order as contract
from contracts.chassis.documents import GRANTED
from contracts.chassis.requests import Caller
from contracts.chassis.triage import Subjects, routes
from contracts.envelope import Wish, WishName
from order_service.rest.door import Door
from order_service.rest.wishes import submit


def _named(order_id: str) -> dict[str, Any]:
    return {"orderId": order_id, "workflowId": contract.workflow_id(order_id)}


async def _submit(door: Door, caller: Caller, order_id: str, name: WishName, wish: Wish) -> JSONResponse:
    return await submit(door, caller, order_id, name, wish=wish)


router = routes(Subjects(named=_named, submit=_submit, cancel="cancelOrder"), GRANTED)
