"""The stack as a user has it: `tandem up` from nothing and again, and lone orders while all is quiet."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.local.ports import Ports
from deploy.local.state import ROOT, State
from tests.bench import histories
from tests.bench.broker import ShippedOrders
from tests.bench.database import BareTransactions
from tests.bench.door import Customer
from tests.bench.histories import Pair
from tests.bench.usage import Memory, memory

_WARM_UP = 5
_PAUSE_SECONDS = 0.25
"""Between two lone orders, so that the first has also left Temporal and Kafka."""
_BARE_EACH = 10
"""Bare transactions before each lone order, so that both see the same machine."""


@dataclass(frozen=True)
class Lone:
    """An order that came alone."""

    order_id: str
    until_shipped: float
    """Milliseconds from its request to its OrderShipped read from Kafka."""
    post: float
    """Milliseconds until it was answered."""
    bare_transactions: Sequence[float]


@dataclass(frozen=True)
class House:
    """Figures of a stack that nothing else is asked of."""

    up_seconds: tuple[float, float]
    """First start, with an empty state folder, and second."""
    lone: Sequence[Lone]
    pairs: Sequence[Pair]
    memory: Memory
    """Everything, the supervisor and Temporal's UI included."""


def measure(*, orders: int = 30, say: Callable[[str], None] = lambda _: None) -> House:
    """Starts the stack twice; after the second start single orders are placed, one after the other."""
    with TemporaryDirectory(prefix="tandem-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        ports = str(min(Ports.anywhere().taken.values()))
        state = State(folder / "state")
        try:
            first = _up(state, ports)
            say(f"first start: {first:.1f} s")
            _tandem(state, "down")
            second = _up(state, ports)
            say(f"second start: {second:.1f} s")
            lone = _lone_orders(state, _WARM_UP + orders)[_WARM_UP:]
            say(f"lone orders: {', '.join(f'{each.until_shipped:.0f}' for each in lone)} ms")
            described = state.described()
            pids = {each: process["pid"] for each, process in described["processes"].items()}
            held = memory(pids, {"supervisor": described["pid"]})
            pairs = histories.read(described["env"]["TEMPORAL_ADDRESS"], [each.order_id for each in lone])
            return House((first, second), lone, pairs, held)
        finally:
            _tandem(state, "down")


def _up(state: State, ports: str) -> float:
    began = time.monotonic()
    _tandem(state, "up", "--detach", "--ports-from", ports)
    return time.monotonic() - began


def _tandem(state: State, command: str, *options: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.cli", command, "--state", str(state.folder), *options],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"tandem {command} failed:\n{done.stdout[-1500:]}{done.stderr[-1500:]}")


def _lone_orders(state: State, count: int) -> list[Lone]:
    env: dict[str, str] = state.described()["env"]
    found: list[Lone] = []
    with (
        ShippedOrders(env["TANDEM_KAFKA_SERVERS"]) as topic,
        Customer(env["TANDEM_ORDER_URL"]) as customer,
        BareTransactions(env["TANDEM_ORDERS_POSTGRES_URL"]) as bare,
    ):
        for _ in range(count):
            transactions = bare.take(_BARE_EACH)
            placed = customer.place()
            seen_at = topic.wait_for(placed.order_id)
            if seen_at is None:
                raise TimeoutError(f"no OrderShipped of {placed.order_id} came over Kafka")
            taken = 1000 * (seen_at - placed.began_at)
            found.append(Lone(placed.order_id, taken, placed.milliseconds, transactions))
            time.sleep(_PAUSE_SECONDS)
    return found
