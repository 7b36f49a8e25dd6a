"""The whole benchmark: the house, then rounds of floor and ours in turn, each on fresh servers.

A server's cost for an order drifts by a quarter between minutes, so only ratios within a round count, and the
median of them is the result.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench import control, floor, house, ours
from tests.bench.engines import Engine
from tests.bench.figures import median, percentile
from tests.bench.floor import Floor
from tests.bench.histories import Pair
from tests.bench.house import House
from tests.bench.ours import Round
from tests.bench.report import verdicts
from tests.bench.shape import Shape
from tests.bench.usage import OURS

_WARM_UP_SHARE = 10
_LEAST_WARM_UP = 8


@dataclass(frozen=True)
class Options:
    """What is asked for."""

    orders: int
    rounds: int = 3
    engine: Engine = "devserver"
    concurrency: int = 8
    idle_seconds: float = 20.0
    control: bool = False
    """Also how long wishes take while many orders are open."""


def bench(options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """All figures by name, and which of the targets they meet.

    `post_…` is one request at a time, between bare transactions, which its budget comes from; `post_crowd_…`
    is all clients at once, as fast as they are answered, while the machine works on their orders."""
    say("the stack as a user has it")
    at_home = house.measure(say=say)
    shape = _shape(at_home.pairs)
    warm_up = max(_LEAST_WARM_UP, options.orders // _WARM_UP_SHARE)
    floors: list[Floor] = []
    rounds: list[Round] = []
    for number in range(1, options.rounds + 1):
        bare = floor.measure(
            options.engine, shape, orders=options.orders, warm_up=warm_up, clients=options.concurrency
        )
        say(f"round {number} of {options.rounds}: floor {bare.orders_per_second:.1f} orders/s")
        done = ours.measure(
            options.engine,
            orders=options.orders,
            warm_up=warm_up,
            clients=options.concurrency,
            idle_seconds=options.idle_seconds if number == options.rounds else 0,
            say=say,
        )
        share = done.orders_per_second / bare.orders_per_second
        say(
            f"round {number} of {options.rounds}: ours {done.orders_per_second:.1f}, {share:.2f} of the floor"
        )
        floors.append(bare)
        rounds.append(done)
    figures = _figures(options, shape, at_home, floors, rounds)
    if options.control:
        say("wishes, with many orders open")
        figures |= control.measure(options.engine).figures()
    return {**figures, "meets": verdicts(figures)}


def _shape(pairs: Sequence[Pair]) -> Shape:
    """The shape most of the recorded orders have."""
    scripts = [(pair.order.script, pair.fulfillment.script) for pair in pairs]
    return Shape.recorded(*max(set(scripts), key=scripts.count))


def _figures(
    options: Options, shape: Shape, at_home: House, floors: Sequence[Floor], rounds: Sequence[Round]
) -> dict[str, Any]:
    pairs = [pair for each in rounds for pair in each.pairs]
    posts = [value for each in rounds for value in each.posts]
    shipped = [value for each in rounds for value in each.until_shipped]
    published = [value for each in rounds for value in each.until_published]
    heard = [value for each in rounds for value in each.until_heard]
    bare = median([value for each in at_home.lone for value in each.bare_transactions])
    lone_posts = [each.post for each in at_home.lone]
    ratios = [
        each.orders_per_second / base.orders_per_second for each, base in zip(rounds, floors, strict=True)
    ]
    last = rounds[-1]
    largest = at_home.memory.or_more(last.memory)
    idle = last.idle
    orders_events = median([pair.order.events for pair in pairs])
    fulfillment_events = median([pair.fulfillment.events for pair in pairs])
    orders_bytes = median([pair.order.bytes for pair in pairs])
    fulfillment_bytes = median([pair.fulfillment.bytes for pair in pairs])
    return {
        "orders_per_second": _round(median([each.orders_per_second for each in rounds])),
        "floor_orders_per_second": _round(median([each.orders_per_second for each in floors])),
        "ratio_to_floor": round(median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "events_per_order": orders_events + fulfillment_events,
        "events_order": orders_events,
        "events_fulfillment": fulfillment_events,
        "history_bytes_per_order": orders_bytes + fulfillment_bytes,
        "bytes_order": orders_bytes,
        "bytes_fulfillment": fulfillment_bytes,
        "post_p50_ms": _round(percentile(lone_posts, 50)),
        "post_p99_ms": _round(percentile(lone_posts, 99)),
        "post_p50_budget_ms": _round(3 * bare + 5),
        "bare_transaction_p50_ms": _round(bare),
        "post_crowd_p50_ms": _round(percentile(posts, 50)),
        "post_crowd_p99_ms": _round(percentile(posts, 99)),
        "order_to_shipped_p50_ms": _round(percentile(shipped, 50)),
        "order_to_shipped_p99_ms": _round(percentile(shipped, 99)),
        "lone_order_ms": _round(median([each.until_shipped for each in at_home.lone])),
        "commit_to_kafka_p50_ms": _round(percentile(published, 50)),
        "commit_to_kafka_p99_ms": _round(percentile(published, 99)),
        "commit_to_other_view_p50_ms": _round(percentile(heard, 50)),
        "commit_to_other_view_p99_ms": _round(percentile(heard, 99)),
        "up_seconds": {"first": _round(at_home.up_seconds[0]), "second": _round(at_home.up_seconds[1])},
        "rss_mb": largest.total,
        "rss_measure": largest.measure,
        "rss_by_process_mb": largest.megabytes,
        "idle_cpu_percent": _round(idle.ours) if idle else None,
        "idle_engines_cpu_percent": _round(idle.engines) if idle else None,
        "idle_by_process_percent": idle.by_process if idle else {},
        "services_processor_ms_per_order": _of_services([each.processor_ms_per_order for each in rounds]),
        "total_processor_ms_per_order": _totals([each.processor_ms_per_order for each in rounds]),
        "floor_total_processor_ms_per_order": _totals([each.processor_ms_per_order for each in floors]),
        "processor_ms_per_order": _medians([each.processor_ms_per_order for each in rounds]),
        "floor_processor_ms_per_order": _medians([each.processor_ms_per_order for each in floors]),
        "shape": shape.as_dict(),
        "engine": options.engine,
        "orders": options.orders,
        "rounds": options.rounds,
        "concurrency": options.concurrency,
        "cores": os.cpu_count(),
    }


def _of_services(tables: Sequence[dict[str, float]]) -> float:
    """What our own code costs: on the test server this repeats within a few percent."""
    return _totals(
        [{name: each for name, each in table.items() if name.startswith(OURS)} for table in tables]
    )


def _totals(tables: Sequence[dict[str, float]]) -> float:
    return _round(median([sum(table.values()) for table in tables]))


def _medians(tables: Sequence[dict[str, float]]) -> dict[str, float]:
    names = sorted({name for table in tables for name in table})
    found = {name: median([table.get(name, 0.0) for table in tables]) for name in names}
    return {name: _round(value) for name, value in sorted(found.items(), key=lambda pair: -pair[1])}


def _round(value: float) -> float:
    return round(value, 2)
