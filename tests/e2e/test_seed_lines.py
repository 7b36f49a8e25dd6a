"""The request lines of seed 003 work as they are written there, ids substituted."""

import json
import re
import shlex
import subprocess
from pathlib import Path

from deploy.local.stack import Stack
from tests.e2e.people import Engineer, Json, Shop

LINES = Path(__file__).with_name("seed_003.curl")


def _commands() -> dict[str, list[str]]:
    """The file's curl commands by the comment above each."""
    text = LINES.read_text().partition("\n\n")[2]
    found = re.findall(r"^# (.+)\n(curl(?:.+\\\n)*(?:[^#])+)", text, flags=re.MULTILINE)
    return {name: shlex.split(command.replace("\\\n", " ")) for name, command in found}


def _run(stack: Stack, name: str, **ids: str) -> tuple[int, Json]:
    """The HTTP status and the body that one of the lines gives."""
    command = [
        part.replace("http://localhost:3232", stack.url("order_service")) for part in _commands()[name]
    ]
    for key, value in ids.items():
        command = [part.replace("{" + key + "}", value) for part in command]
    shown = subprocess.run(
        [*command, "-s", "-w", "\n%{http_code}"], capture_output=True, text=True, check=True, timeout=30
    )
    body, _, status = shown.stdout.rpartition("\n")
    return int(status), json.loads(body)


def test_the_seeds_request_lines_run_as_written(stack: Stack, shop: Shop, engineer: Engineer):
    """Every line of the seed answers, and the order it made ends cancelled and unpaid."""
    status, created = _run(stack, "create")
    assert status == 201
    assert created["message"] == "Order created successfully"
    order, workflow = created["orderId"], created["workflowId"]
    assert workflow == f"order-workflow-{order}"

    assert _run(stack, "status", workflowId=workflow)[1]["orderId"] == order
    assert 0 <= _run(stack, "progress", workflowId=workflow)[1]["percent"] <= 100

    shop.sees_parcel(order, stage="PICKING")
    assert _run(stack, "pause", workflowId=workflow)[0] in (200, 202)
    parcel = shop.sees_parcel(order, status="PAUSED")
    fulfillment = parcel["workflowId"]
    assert fulfillment == f"fulfillment-{order}-1"

    assert _run(stack, "fulfillment status", fulfillmentWorkflowId=fulfillment)[1]["status"] == "PAUSED"
    shown = _run(stack, "fulfillment progress", fulfillmentWorkflowId=fulfillment)[1]
    assert shown["itemsTotal"] == 7
    assert 0 <= shown["percent"] < 100

    status, receipt = _run(stack, "address", fulfillmentWorkflowId=fulfillment)
    assert status in (200, 202)
    shop.sees_parcel(order, addressVersion=2)
    assert shop.receipt(receipt["commandId"])["status"] in ("ACCEPTED", "EFFECTIVE")

    assert _run(stack, "resume", workflowId=workflow)[0] in (200, 202)
    shop.sees_parcel(order, status="PICKING")

    status, receipt = _run(stack, "cancel", workflowId=workflow)
    assert status in (200, 202)
    shop.sees_end(order)
    assert shop.status(order)["status"] == "CANCELLED"
    assert engineer.effects("payments", order) == ["authorize", "void"]
