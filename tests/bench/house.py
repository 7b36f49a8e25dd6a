"""The stack as a user has it: `tandem up` from nothing and again, and lone orders while all is quiet."""

import json
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
from tests.bench.door import Customer
from tests.bench.histories import Pair
from tests.bench.usage import Memory, memory

_WARM_UP = 3
_PAUSE_SECONDS = 0.3
"""Between two lone orders, so that the first has also left Temporal and Kafka."""


@dataclass(frozen=True)
class House:
    """Figures of a stack that nothing else is asked of."""

    up_seconds: tuple[float, float]
    """First start, with an empty state folder, and second."""
    lone_ms: Sequence[float]
    """From each order's request to its OrderShipped read from Kafka."""
    lone_posts: Sequence[float]
    """Milliseconds until each was answered."""
    pairs: Sequence[Pair]
    memory: Memory
    """Everything, the supervisor and Temporal's UI included."""


def measure(*, orders: int = 9, say: Callable[[str], None] = lambda _: None) -> House:
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
            lone, posts, order_ids = _lone_orders(state, _WARM_UP + orders)
            say(f"lone orders: {', '.join(f'{each:.0f}' for each in lone)} ms")
            described = state.described()
            pids = {each: process["pid"] for each, process in described["processes"].items()}
            held = memory(pids, {"supervisor": described["pid"]})
            pairs = histories.read(described["env"]["TEMPORAL_ADDRESS"], order_ids[_WARM_UP:])
            return House((first, second), lone[_WARM_UP:], posts[_WARM_UP:], pairs, held)
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


def _lone_orders(state: State, count: int) -> tuple[list[float], list[float], list[str]]:
    env: dict[str, str] = state.described()["env"]
    taken: list[float] = []
    posts: list[float] = []
    order_ids: list[str] = []
    with ShippedOrders(env["TANDEM_KAFKA_SERVERS"]) as topic, Customer(env["TANDEM_ORDER_URL"]) as customer:
        for _ in range(count):
            placed = customer.place()
            seen_at = topic.wait_for(placed.order_id)
            if seen_at is None:
                raise TimeoutError(
                    f"no OrderShipped of {placed.order_id}: {json.dumps(state.described())[:2000]}"
                )
            taken.append(1000 * (seen_at - placed.began_at))
            posts.append(placed.milliseconds)
            order_ids.append(placed.order_id)
            time.sleep(_PAUSE_SECONDS)
    return taken, posts, order_ids
