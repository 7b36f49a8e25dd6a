"""What of the orders waits for a person, and what a person may do about it."""

from contextlib import suppress

from fastapi.responses import JSONResponse

from contracts import order as contract
from contracts.chassis.documents import GRANTED
from contracts.chassis.requests import Caller
from contracts.chassis.triage import Subjects, routes
from contracts.envelope import Wish, WishName
from order_service.rest.door import Door
from order_service.rest.wishes import submit


def _named(subject: str) -> dict[str, str]:
    """An article is no order, and neither is what a stranger called a record."""
    with suppress(ValueError):
        order_id = contract.order_id_of(subject)
        return {"orderId": order_id, "workflowId": contract.workflow_id(order_id)}
    return {}


async def _submit(door: Door, caller: Caller, order_id: str, name: WishName, wish: Wish) -> JSONResponse:
    return await submit(door, caller, order_id, name, wish=wish)


router = routes(Subjects(named=_named, submit=_submit, cancel="cancelOrder"), GRANTED)
