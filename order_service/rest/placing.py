"""Placing orders: the one wish that needs no order yet."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from contracts.chassis.documents import Rehearsal
from contracts.chassis.receipts import request_hash
from contracts.chassis.requests import Caller, rehearsed
from contracts.order import PlaceOrder, Request
from contracts.values import Message, WarehouseMode
from order_service.demo import PACE_SECONDS, Scenario, Speed, demo_order, mode_of
from order_service.rest.door import ByCaller, Door, ThroughDoor
from order_service.rest.inflow import TakesOneMore

router = APIRouter()


class PlacedOrder(Message):
    """The order is accepted; everything else is told at its address."""

    order_id: str
    workflow_id: str
    message: str
    command_id: str
    status: str


PLACED: dict[int | str, dict[str, Any]] = {
    200: {"model": Rehearsal, "description": "With `dryRun`: what would happen."},
    201: {"model": PlacedOrder, "description": "Accepted for good."},
}


class Demo(Request):
    """Which demo order to place; an unknown parameter is an error."""

    scenario: Scenario = "happy"
    speed: Speed = "normal"
    dry_run: bool = False


@router.post("/orders/demo", status_code=201, responses=PLACED, dependencies=[TakesOneMore])
async def place_demo_order(
    door: ThroughDoor, caller: ByCaller, demo: Annotated[Demo, Query()]
) -> JSONResponse:
    """A demo order exists; the providers and the warehouse that serve it are simulated."""
    mode, pace = mode_of(demo.scenario), PACE_SECONDS[demo.speed]
    return await _place(door, caller, demo_order(demo.scenario), mode, pace)


@router.post("/orders", status_code=201, responses=PLACED, dependencies=[TakesOneMore])
async def place_order(door: ThroughDoor, caller: ByCaller, body: PlaceOrder) -> JSONResponse:
    """The order is accepted for good; it is carried out also when Temporal or Kafka come back only later."""
    return await _place(door, caller, body)


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
