"""What anybody may do with Temporal's own tools: end our workflows, and signal them as the seed did."""

import json
import subprocess
from typing import Literal

from temporalio.client import Client, WorkflowExecutionStatus

from contracts import order as contract
from deploy.local.stack import Stack
from deploy.local.temporal import binary
from tests.e2e.people import Engineer, Json, Operator, Shop, eventually, parcel_workflow

Way = Literal["cancel", "terminate"]

PACKED = ("pick:1", "pick:2", "pick:3", "quality", "pack")
REVIVED_WITHIN = 60
"""A relay looks for ended workflows every 15 seconds."""


async def _end(stack: Stack, workflow_id: str, way: Way) -> None:
    """The workflow's run was ended from outside; it is closed."""
    namespace = "fulfillments" if workflow_id.startswith("fulfillment-") else "orders"
    client = await Client.connect(stack.temporal_address, namespace=namespace)
    run_id = (await client.get_workflow_handle(workflow_id).describe()).run_id
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    if way == "cancel":
        await handle.cancel()
    else:
        await handle.terminate(reason="tidying up")
    for _ in range(200):
        if (await handle.describe()).status is not WorkflowExecutionStatus.RUNNING:
            return
    raise AssertionError(f"{workflow_id} still runs")


async def test_workflows_that_were_ended_from_outside_go_on(
    stack: Stack, shop: Shop, operator: Operator, engineer: Engineer
):
    """Cancelled or terminated, the order's or the parcel's, while picking, paused or packed: none is lost."""
    picking_order, picking_parcel = shop.place("manual"), shop.place("manual")
    packed_order, packed_parcel = shop.place("manual"), shop.place("manual")
    both, paused, damaged = shop.place("manual"), shop.place(), shop.place("manual")
    shop.pause(paused)
    for order in (packed_order, packed_parcel, damaged):
        operator.works(order, *PACKED)
        operator.comes_to(order, "hand-over")
    for order in (picking_order, picking_parcel, both):
        operator.works(order, "pick:1")
        operator.comes_to(order, "pick:2")
    operator.sees(paused, status="PAUSED")

    await _end(stack, contract.workflow_id(picking_order), "cancel")
    await _end(stack, parcel_workflow(picking_parcel), "cancel")
    await _end(stack, contract.workflow_id(packed_order), "terminate")
    await _end(stack, parcel_workflow(packed_parcel), "terminate")
    await _end(stack, contract.workflow_id(both), "terminate")
    await _end(stack, parcel_workflow(both), "cancel")
    await _end(stack, contract.workflow_id(paused), "terminate")
    await _end(stack, parcel_workflow(paused), "terminate")
    await _end(stack, contract.workflow_id(damaged), "cancel")
    assert operator.cancel(damaged).status_code == 200

    for order in (picking_order, picking_parcel, both):
        operator.works(order, *PACKED[1:], "hand-over")
    for order in (packed_order, packed_parcel):
        operator.works(order, "hand-over")
    assert operator.parcel(paused)["status"] == "PAUSED"
    shop.resume(paused)

    for order in (picking_order, picking_parcel, packed_order, packed_parcel, both, paused):
        assert shop.sees_end(order, within_seconds=REVIVED_WITHIN)["status"] == "SHIPPED"
        assert engineer.effects("payments", order) == ["authorize", "capture"]
        assert engineer.effects("carrier", order) == ["label", "hand-over"]
        assert engineer.stock_states(order) == {"SHIPPED"}
        facts = engineer.parcel_facts(order)
        assert facts.count("StepStarted") == facts.count("StepCompleted") == len(PACKED)
    assert shop.sees_end(damaged, within_seconds=REVIVED_WITHIN)["status"] == "CANCELLED"
    _nothing_is_left(engineer, damaged)


async def test_an_order_whose_workflows_were_ended_can_still_be_cancelled(
    stack: Stack, shop: Shop, operator: Operator, engineer: Engineer
):
    """The wish is granted by the stream and starts at once what was ended; nothing is left behind."""
    of_order, of_parcel, of_both = (shop.place("manual") for _ in range(3))
    for order in (of_order, of_parcel, of_both):
        operator.works(order, *PACKED)
        operator.comes_to(order, "hand-over")
    await _end(stack, contract.workflow_id(of_order), "terminate")
    await _end(stack, parcel_workflow(of_parcel), "terminate")
    await _end(stack, parcel_workflow(of_both), "cancel")
    await _end(stack, contract.workflow_id(of_both), "terminate")

    for order in (of_order, of_parcel, of_both):
        answer = shop.cancel(order)
        assert shop.sees_end(order, within_seconds=10)["status"] == "CANCELLED"
        assert shop.receipt(answer.json()["commandId"])["status"] == "EFFECTIVE"
        _nothing_is_left(engineer, order)


def _nothing_is_left(engineer: Engineer, order: str) -> None:
    assert engineer.effects("payments", order) == ["authorize", "void"]
    assert engineer.effects("carrier", order) == ["label", "void-label"]
    assert engineer.stock_states(order) == {"RELEASED"}


async def test_an_order_that_is_ended_again_and_again_ships(stack: Stack, shop: Shop, engineer: Engineer):
    """Ended at whatever it did just then, it goes on from its stream; nothing is charged or booked twice."""
    order = shop.place(speed="fast")
    endings: tuple[tuple[str, Way], ...] = (
        (parcel_workflow(order), "terminate"),
        (contract.workflow_id(order), "cancel"),
    )
    shop.sees_parcel(order, stage="PICKING")
    for workflow_id, way in endings:
        await _end(stack, workflow_id, way)
        shop.pause(order)
        shop.resume(order)
    seen = shop.sees_end(order, within_seconds=REVIVED_WITHIN)
    assert (seen["status"], seen["paymentStatus"]) == ("SHIPPED", "CAPTURED")
    assert engineer.effects("payments", order) == ["authorize", "capture"]
    assert engineer.effects("carrier", order) == ["label", "hand-over"]


class Temporal:
    """The `temporal` command line, as anybody at a shell would use it."""

    def __init__(self, stack: Stack) -> None:
        self._address = stack.temporal_address

    def signals(self, workflow_id: str, name: str, *more: str) -> None:
        """The server took the signal."""
        done = self._run("signal", workflow_id, "--name", name, *more)
        assert done.returncode == 0, done.stderr

    def asks(self, workflow_id: str, query: str) -> None:
        """The workflow answers; it is not wedged."""
        done = self._run("query", workflow_id, "--type", query)
        assert done.returncode == 0, done.stderr

    def _run(self, what: str, workflow_id: str, *more: str) -> subprocess.CompletedProcess[str]:
        namespace = "fulfillments" if workflow_id.startswith("fulfillment-") else "orders"
        command = [str(binary()), "workflow", what, "--address", self._address, "-n", namespace]
        return subprocess.run(
            [*command, "-w", workflow_id, *more], capture_output=True, text=True, check=False, timeout=30
        )


def test_bare_signals_of_the_seed_are_obeyed(stack: Stack, shop: Shop, operator: Operator):
    """No envelope, a string for a reason, a bare address, a name with the suffix: each means what it says."""
    order = shop.place("manual")
    parcel = parcel_workflow(order)
    operator.comes_to(order, "pick:1")
    temporal = Temporal(stack)

    temporal.signals(parcel, "pauseFulfillment")
    operator.sees(order, status="PAUSED")
    temporal.signals(parcel, "resumeFulfillmentSignal")
    operator.sees(order, status="PICKING")
    temporal.signals(parcel, "pauseFulfillmentSignal", "--input", '"the customer called"')
    operator.sees(order, status="PAUSED")
    temporal.signals(parcel, "resumeFulfillment", "--input", "null")
    operator.sees(order, status="PICKING")
    temporal.signals(parcel, "updateShippingAddress", "--input", json.dumps(_SOMEWHERE))
    operator.sees(order, addressVersion=2)

    temporal.signals(contract.workflow_id(order), "pauseOrderFulfillment")
    operator.sees(order, status="PAUSED")
    temporal.signals(contract.workflow_id(order), "resumeOrderFulfillmentSignal")
    operator.sees(order, status="PICKING")
    temporal.asks(parcel, "getFulfillmentStatusQuery")
    temporal.asks(parcel, "getFulfillmentProgress")
    temporal.asks(contract.workflow_id(order), "getOrderStatus")
    temporal.asks(contract.workflow_id(order), "getOrderProgressQuery")

    temporal.signals(contract.workflow_id(order), "cancelOrder", "--input", '"changed my mind"')
    assert shop.sees_end(order)["status"] == "CANCELLED"


def test_signals_that_mean_nothing_are_refused_and_wedge_nothing(
    stack: Stack, shop: Shop, operator: Operator, engineer: Engineer
):
    """Unknown names, wrong shapes, hostile sizes: a refused receipt each, and the order ships."""
    order = shop.place("manual")
    parcel, own = parcel_workflow(order), contract.workflow_id(order)
    operator.comes_to(order, "pick:1")
    temporal = Temporal(stack)
    nonsense: list[tuple[str, tuple[str, ...]]] = [
        ("noSuchSignal", ()),
        ("noSuchSignal", ("--input", '{"commandId": "mine"}')),
        ("updateShippingAddress", ("--input", '{"street": 1}')),
        ("updateShippingAddress", ()),
        ("cancelFulfillment", ("--input", "12345")),
        ("cancelFulfillmentSignal", ("--input", '["stop", "now"]')),
        ("pauseFulfillment", ("--input", "true", "--input", "2", "--input", "3")),
        ("completeStep", ("--input", json.dumps({"payload": {"stepKey": "x" * 5000}}))),
        ("cancelFulfillment", ("--input", "not json", "--input-meta", "encoding=binary/plain")),
    ]
    for name, more in nonsense:
        temporal.signals(parcel, name, *more)
    for name, more in (
        ("noSuchSignal", ()),
        ("cancelOrder", ("--input", "[1]")),
        ("updateOrder", ("--input", "{}")),
        ("fulfillmentCompleted", ("--input", '{"outcome": "LOST"}')),
        ("fulfillmentCompletedSignal", ("--input", '{"n": 1, "outcome": "SHIPPED", "version": 9}')),
        ("commandOutcome", ("--input", '"fine"')),
    ):
        temporal.signals(own, name, *more)

    def refused(database: str, stream: str) -> list[Json]:
        return engineer.rows(
            database, "select * from receipts where stream = %s and status = 'REJECTED'", stream
        )

    eventually(lambda: refused("fulfillments", f"fulfillment-{order}-1"), lambda rows: len(rows) == 9)
    eventually(lambda: refused("orders", contract.stream(order)), lambda rows: len(rows) >= 3)
    temporal.asks(parcel, "getFulfillmentStatus")
    temporal.asks(own, "getOrderStatus")
    assert operator.parcel(order)["status"] == "PICKING"
    operator.works(order, *PACKED, "hand-over")
    assert shop.sees_end(order)["status"] == "SHIPPED"
    assert engineer.effects("payments", order) == ["authorize", "capture"]


_SOMEWHERE = {"street": "1 Shell Row", "city": "Prompt", "state": "NC", "zipCode": "54321", "country": "USA"}
