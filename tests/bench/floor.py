"""The floor: a bare pair of workflows that does as much on Temporal as ours, and nothing else.

`python -m tests.bench.floor worker|start` are its processes, split as ours are: a worker for each namespace
and one that starts the orders. No codec, no tracing, no database; the same worker settings.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import IO, Any, cast

import uvloop
from temporalio import activity, workflow
from temporalio.client import Client, GrpcCompression
from temporalio.plugin import SimplePlugin
from temporalio.worker import UnsandboxedWorkflowRunner

from contracts.chassis import temporal
from contracts.chassis.settings import TemporalSettings
from deploy.local.state import ROOT
from tests.bench.engines import Engine, fresh
from tests.bench.shape import LOCAL, NORMAL, REPORT, START_PEER, TIMER, Shape
from tests.bench.usage import Spent, processor_seconds

_SHORT = timedelta(seconds=10)
_PATIENCE = timedelta(minutes=10)
_QUEUES = {"orders": "floor-orders", "fulfillments": "floor-fulfillments"}
_shape = Shape()
"""What the workflows do; set once, before the worker starts."""


class Nothing:
    """Activities that only are."""

    def __init__(self, peer: Client, letters: str) -> None:
        self._peer = peer
        self._outside = sum(letters.count(letter) for letter in (NORMAL, START_PEER, REPORT))
        self._calls: Counter[str] = Counter()
        self.ended = asyncio.Event()
        self.ended_at: list[float] = []
        """When the last activity of each workflow had run."""

    @activity.defn(name="local")
    async def local(self, order_id: str) -> None: ...

    @activity.defn(name="normal")
    async def normal(self, order_id: str) -> None:
        self._count(order_id)

    @activity.defn(name="startPeer")
    async def start_peer(self, order_id: str) -> None:
        await self._peer.start_workflow(
            "floorFulfillment", order_id,
            id=f"floor-fulfillment-{order_id}", task_queue=_QUEUES["fulfillments"], start_signal="start",
        )  # fmt: skip
        self._count(order_id)

    @activity.defn(name="report")
    async def report(self, order_id: str) -> None:
        await self._peer.get_workflow_handle(f"floor-order-{order_id}").signal("completed")
        self._count(order_id)

    def _count(self, order_id: str) -> None:
        self._calls[order_id] += 1
        if self._calls[order_id] == self._outside:
            self.ended_at.append(time.time())
            self.ended.set()


_ACTIVITIES = {NORMAL: Nothing.normal, START_PEER: Nothing.start_peer, REPORT: Nothing.report}


@workflow.defn(name="floorOrder")
class FloorOrder:
    """As many steps as an order has."""

    def __init__(self) -> None:
        self._is_completed = False

    @workflow.run
    async def run(self, order_id: str) -> str:
        for letter in _shape.orders:
            if letter != TIMER:
                await _step(letter, order_id)
            if letter == START_PEER:
                timeout = _PATIENCE if TIMER in _shape.orders else None
                await workflow.wait_condition(lambda: self._is_completed, timeout=timeout)
        return "SHIPPED"

    @workflow.signal
    def start(self) -> None: ...

    @workflow.signal
    def completed(self) -> None:
        self._is_completed = True


@workflow.defn(name="floorFulfillment")
class FloorFulfillment:
    """As many steps as a parcel has."""

    @workflow.run
    async def run(self, order_id: str) -> str:
        for letter in _shape.fulfillments:
            await _step(letter, order_id)
        return "SHIPPED"

    @workflow.signal
    def start(self) -> None: ...


async def _step(letter: str, order_id: str) -> None:
    if letter == LOCAL:
        await workflow.execute_local_activity_method(
            Nothing.local, args=[order_id], start_to_close_timeout=_SHORT
        )
    else:
        await workflow.execute_activity_method(
            _ACTIVITIES[letter], args=[order_id], start_to_close_timeout=_SHORT
        )


# The processes.


async def _connect(address: str, namespace: str) -> Client:
    bare = SimplePlugin("bare", workflow_runner=UnsandboxedWorkflowRunner())
    return await Client.connect(
        address, namespace=namespace, plugins=[bare], grpc_compression=GrpcCompression.NONE
    )


async def _work(address: str, namespace: str) -> None:
    """Works until standard input ends; each line is a number of orders, answered when so many have ended."""
    peer = "fulfillments" if namespace == "orders" else "orders"
    nothing = Nothing(await _connect(address, peer), _shape.of(namespace))
    worker = temporal.worker(
        await _connect(address, namespace),
        task_queue=_QUEUES[namespace],
        workflows=[FloorOrder if namespace == "orders" else FloorFulfillment],
        activities=[nothing.local, nothing.normal, nothing.start_peer, nothing.report],
        settings=TemporalSettings(),
    )
    async with worker:
        _say({"ready": True})
        while line := await asyncio.to_thread(sys.stdin.readline):
            while len(nothing.ended_at) < int(line):
                nothing.ended.clear()
                await nothing.ended.wait()
            _say({"ended_at": nothing.ended_at[int(line) - 1]})


async def _start(address: str) -> None:
    """Each line on standard input is `FIRST COUNT CLIENTS`: so many orders are started side by side."""
    client = await _connect(address, "orders")
    _say({"ready": True})
    while line := await asyncio.to_thread(sys.stdin.readline):
        first, count, clients = map(int, line.split())
        numbers = iter(range(first, first + count))
        began_at = time.time()
        await asyncio.gather(*(_start_some(client, numbers) for _ in range(clients)))
        _say({"began_at": began_at})


async def _start_some(client: Client, numbers: Iterator[int]) -> None:
    for number in numbers:
        await client.start_workflow(
            "floorOrder", str(number),
            id=f"floor-order-{number}", task_queue=_QUEUES["orders"], start_signal="start",
        )  # fmt: skip


def _say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


# The round.


@dataclass(frozen=True)
class Floor:
    """One round of it."""

    orders_per_second: float
    processor_ms_per_order: dict[str, float]


def measure(engine: Engine, shape: Shape, *, orders: int, warm_up: int, clients: int) -> Floor:
    """How many bare pairs a second the machine finishes, on a server that is fresh but for the warm-up."""
    with fresh(engine) as stack, ExitStack() as later:
        told = [
            "--address",
            stack.temporal_address,
            "--shape",
            json.dumps([shape.orders, shape.fulfillments]),
        ]
        workers = [later.enter_context(_process("worker", "--namespace", name, *told)) for name in _QUEUES]
        starter = later.enter_context(_process("start", *told))
        for process in (*workers, starter):
            _heard(process)
        _ask(starter, f"0 {warm_up} {clients}")
        _ask(workers[0], str(warm_up))
        pids = {"temporal": stack["temporal"].pid or 0, "starter": starter.pid}
        pids |= {f"{name}-worker": worker.pid for name, worker in zip(_QUEUES, workers, strict=True)}
        before = processor_seconds(pids)
        began_at = _ask(starter, f"{warm_up} {orders} {clients}")["began_at"]
        ended_at = _ask(workers[0], str(warm_up + orders))["ended_at"]
        spent = Spent.between(before, processor_seconds(pids))
        return Floor(orders / (ended_at - began_at), spent.milliseconds_per(orders))


@contextmanager
def _process(role: str, *arguments: str) -> Generator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, role, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _ask(process: "subprocess.Popen[str]", line: str) -> dict[str, Any]:
    given = cast("IO[str]", process.stdin)
    given.write(f"{line}\n")
    given.flush()
    return _heard(process)


def _heard(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """What the process says next; the SDK's core writes warnings between the lines."""
    for line in cast("IO[str]", process.stdout):
        if line.startswith("{"):
            return json.loads(line)
        print(line, end="", file=sys.stderr)
    raise RuntimeError(f"a process of the floor ended: {process.args}")


def main() -> None:
    """Run one process of the floor until its standard input ends."""
    global _shape  # noqa: PLW0603  the workflows read it, and a workflow takes nothing but its arguments
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["worker", "start"])
    parser.add_argument("--address", required=True)
    parser.add_argument("--shape", required=True)
    parser.add_argument("--namespace", choices=list(_QUEUES), default="orders")
    options = parser.parse_args()
    _shape = Shape(*json.loads(options.shape))
    uvloop.run(
        _work(options.address, options.namespace) if options.role == "worker" else _start(options.address)
    )
    os._exit(0)


if __name__ == "__main__":
    main()
