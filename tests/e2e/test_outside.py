"""What is done to the workflows past REST: native cancel and terminate, bare signals from a shell."""

import subprocess
import sys
from pathlib import Path

import pytest

from contracts import fulfillment
from contracts import order as contract
from deploy.local.stack import Stack
from tests.e2e.people import Engineer, Json, Operator, Shop, eventually

TEMPORAL = Path(sys.executable).with_name("temporal")


def _temporal(stack: Stack, namespace: str, *arguments: str) -> str:
    shown = subprocess.run(
        [TEMPORAL, *arguments, "--namespace", namespace, "--address", stack.temporal_address],
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    return shown.stdout


def _names(order: str) -> dict[str, str]:
    parcel = fulfillment.workflow_id(fulfillment.fulfillment_id(order, 1))
    return {"orders": contract.workflow_id(order), "fulfillments": parcel}


@pytest.mark.parametrize("namespace", ["orders", "fulfillments"])
@pytest.mark.parametrize("how", ["cancel", "terminate"])
def test_a_workflow_that_is_ended_from_outside_goes_on(
    stack: Stack, shop: Shop, operator: Operator, engineer: Engineer, namespace: str, how: str
):
    """Native cancel or terminate of either workflow: it goes on from its stream, and the order ships."""
    order = shop.place("manual")
    operator.works(order, "pick:1")
    _temporal(stack, namespace, "workflow", how, "--workflow-id", _names(order)[namespace])
    operator.works(order, "pick:2", "pick:3", "quality", "pack", "hand-over")
    assert shop.sees_end(order, within_seconds=60)["status"] == "SHIPPED"
    assert engineer.effects("payments", order) == ["authorize", "capture"]
    assert engineer.effects("carrier", order) == ["label", "hand-over"]
    assert engineer.stock_states(order) == {"SHIPPED"}


def test_a_cancel_is_settled_although_its_workflow_was_terminated(
    stack: Stack, shop: Shop, operator: Operator, engineer: Engineer
):
    """Both workflows are gone when the cancel comes: the order still ends, unpaid, nothing held."""
    order = shop.place("manual")
    operator.works(order, "pick:1")
    for namespace, name in _names(order).items():
        _temporal(stack, namespace, "workflow", "terminate", "--workflow-id", name)
    assert shop.cancel(order).status_code == 202
    assert shop.sees_end(order, within_seconds=60)["status"] == "CANCELLED"
    assert engineer.effects("payments", order) == ["authorize", "void"]
    assert engineer.stock_states(order) == {"RELEASED"}


ADDRESS = '{"street": "1 Bare Street", "city": "B", "state": "NC", "zipCode": "54321", "country": "USA"}'

BARE: tuple[tuple[str, str, str | None], ...] = (
    ("orders", "pauseOrderFulfillment", None),
    ("orders", "resumeOrderFulfillmentSignal", None),
    ("orders", "updateOrder", '{"street": 1}'),
    ("orders", "commandOutcome", '"what?"'),
    ("orders", "fulfillmentCompleted", "[1, 2]"),
    ("orders", "makeCoffee", '{"sugar": true}'),
    ("fulfillments", "pauseFulfillment", '"stock count"'),
    ("fulfillments", "pauseFulfillmentSignal", None),
    ("fulfillments", "resumeFulfillment", None),
    ("fulfillments", "updateShippingAddress", ADDRESS),
    ("fulfillments", "updateShippingAddress", '{"street": 7}'),
    ("fulfillments", "startFulfillment", '"again"'),
    ("fulfillments", "completeStep", "17"),
    ("fulfillments", "paintItBlack", None),
)  # fmt: skip


def test_bare_signals_are_answered_or_refused_and_wedge_nothing(
    stack: Stack, shop: Shop, operator: Operator, engineer: Engineer
):
    """No envelope, wrong payload, unknown name, name with suffix: receipts say what became of each."""
    order = shop.place("manual")
    operator.works(order, "pick:1")
    for namespace, signal, payload in BARE:
        given = ("--input", payload) if payload else ()
        workflow = ("--workflow-id", _names(order)[namespace], "--name", signal)
        _temporal(stack, namespace, "workflow", "signal", *workflow, *given)

    def receipts() -> list[Json]:
        named = "select name, status, code from receipts where stream like %s and actor = 'temporal'"
        return [
            row
            for database in ("orders", "fulfillments")
            for row in engineer.rows(database, named, f"%{order}%")
        ]

    seen = eventually(receipts, lambda rows: len(rows) >= 11)
    refused = [row["name"] for row in seen if row["code"] == "NOT_UNDERSTOOD"]
    assert len(refused) >= 5
    for namespace, query in (("orders", "getOrderStatusQuery"), ("fulfillments", "getFulfillmentProgress")):
        workflow = ("--workflow-id", _names(order)[namespace], "--name", query)
        assert "Query result" in _temporal(stack, namespace, "workflow", "query", *workflow)
    operator.resume(order)
    operator.works(order, "pick:2", "pick:3", "quality", "pack", "hand-over")
    assert shop.sees_end(order)["status"] == "SHIPPED"
    labels = [row["zipCode"] for row in engineer.ledger("carrier", order) if row["operation"] == "label"]
    assert labels == ["54321"]
