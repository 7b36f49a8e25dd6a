"""One round of ours: the whole stack on fresh engines, services as separate processes, orders over REST."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deploy.local.stack import Stack
from tests.bench import database, histories
from tests.bench.door import Placed, place
from tests.bench.engines import Engine, fresh
from tests.bench.histories import Pair
from tests.bench.usage import Memory, Spent, memory, processor_seconds

SETTINGS = {"TANDEM_TELEMETRY_EXPORTER": "file"}
"""As `tandem up` runs the services."""
_SETTLE_SECONDS = 1.0
_QUIET_SECONDS = 5.0
_HISTORIES = 30
_SLOWEST_ORDERS_PER_SECOND = 1.0


@dataclass(frozen=True)
class Idle:
    """What the stack does while it has nothing to do, in percent of one core."""

    ours: float
    engines: float
    by_process: dict[str, float]


@dataclass(frozen=True)
class Round:
    """One round's figures; times are milliseconds."""

    orders_per_second: float
    """From the first request to the last order whose money is captured."""
    posts: Sequence[float]
    until_shipped: Sequence[float]
    until_published: Sequence[float]
    until_heard: Sequence[float]
    """From the commit until the other service shows it."""
    pairs: Sequence[Pair]
    processor_ms_per_order: dict[str, float]
    """Until both services had heard all of it, by process."""
    memory: Memory
    idle: Idle | None


def measure(
    engine: Engine,
    *,
    orders: int,
    warm_up: int,
    clients: int,
    idle_seconds: float = 0,
    say: Callable[[str], None] = lambda _: None,
) -> Round:
    """Places so many orders and waits until all have shipped; the warm-up before them is not counted."""
    others = {"postgres", "kafka", "sandbox"}
    with fresh(engine, others=others, services=True, settings=SETTINGS) as stack:
        url = stack.url("order_service")
        place(url, warm_up, clients)
        database.wait_until_closed(stack, warm_up, within_seconds=60)
        database.wait_until_published(stack)
        time.sleep(_SETTLE_SECONDS)
        before = processor_seconds(_pids(stack))
        placed = place(url, orders, clients)
        patience = 30 + orders / _SLOWEST_ORDERS_PER_SECOND
        database.wait_until_closed(stack, warm_up + orders, within_seconds=patience)
        order_ids = [each.order_id for each in placed]
        database.wait_until_published(stack)
        database.wait_until_heard(stack, order_ids)
        spent = Spent.between(before, processor_seconds(_pids(stack)))
        closed = database.moments(stack, "PaymentCaptured", order_ids)
        held = memory(_pids(stack))
        pairs = histories.read(stack.temporal_address, order_ids[:: max(1, orders // _HISTORIES)])
        if idle_seconds:
            say(f"idle for {_QUIET_SECONDS + idle_seconds:g} s")
        return Round(
            orders_per_second=orders / (max(closed.values()) - min(each.began_at for each in placed)),
            posts=[each.milliseconds for each in placed],
            until_shipped=_until_shipped(stack, placed),
            until_published=database.lags(stack, order_ids),
            until_heard=database.heard_after(stack, order_ids),
            pairs=pairs,
            processor_ms_per_order=spent.milliseconds_per(orders),
            memory=held,
            idle=_idle(stack, idle_seconds) if idle_seconds else None,
        )


def _pids(stack: Stack) -> dict[str, int]:
    return {name: child.pid for name, child in stack.children.items() if child.pid is not None}


def _until_shipped(stack: Stack, placed: Sequence[Placed]) -> list[float]:
    shipped = database.moments(stack, "OrderShipped", [each.order_id for each in placed])
    return [1000 * (shipped[each.order_id] - each.began_at) for each in placed]


def _idle(stack: Stack, seconds: float) -> Idle:
    time.sleep(_QUIET_SECONDS)
    began, before = time.monotonic(), processor_seconds(_pids(stack))
    time.sleep(seconds)
    spent, passed = Spent.between(before, processor_seconds(_pids(stack))), time.monotonic() - began
    by_process = {name: round(100 * used / passed, 2) for name, used in spent.seconds.items()}
    return Idle(100 * spent.ours / passed, 100 * spent.engines / passed, by_process)
