"""`python -m tests.bench.histories ADDRESS`: the histories of the orders named on standard input.

A process of its own, since one that opened a Temporal client sometimes aborts when it ends.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from temporalio.client import Client

from contracts import fulfillment, order
from deploy.local.state import ROOT
from tests.bench.shape import script_of


@dataclass(frozen=True)
class History:
    """One workflow's history."""

    events: int
    bytes: int
    """As Temporal counts them for its limit; where the server does not say, the events' own size."""
    script: str


@dataclass(frozen=True)
class Pair:
    """One order's two histories."""

    order: History
    fulfillment: History


def read(address: str, order_ids: Sequence[str]) -> list[Pair]:
    """The histories of these orders and their first parcels."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, address],
        input=json.dumps(list(order_ids)), capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"the histories could not be read:\n{done.stderr[-2000:]}")
    return [Pair(History(**found[0]), History(**found[1])) for found in json.loads(done.stdout)]


async def _read(address: str, order_ids: Sequence[str]) -> list[list[dict[str, Any]]]:
    orders, fulfillments = [
        await Client.connect(address, namespace=namespace)
        for namespace in (order.NAMESPACE, fulfillment.NAMESPACE)
    ]
    return [
        [
            await _history(orders, order.workflow_id(order_id)),
            await _history(fulfillments, fulfillment.workflow_id(fulfillment.fulfillment_id(order_id, 1))),
        ]
        for order_id in order_ids
    ]


async def _history(client: Client, workflow_id: str) -> dict[str, Any]:
    handle = client.get_workflow_handle(workflow_id)
    events = [event async for event in handle.fetch_history_events()]
    info = (await handle.describe()).raw_description.workflow_execution_info
    size = info.history_size_bytes or sum(event.ByteSize() for event in events)
    return {"events": len(events), "bytes": size, "script": script_of(events)}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_read(sys.argv[1], json.load(sys.stdin)))), flush=True)
    os._exit(0)
