"""Which targets the figures meet, and both as a table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Target:
    """A promise about one figure."""

    what: str
    is_met: Callable[[Figures], bool]
    shown: Callable[[Figures], str]
    wanted: Callable[[Figures], str]


def _at_most(what: str, figure: str, limit: float, unit: str) -> Target:
    return Target(
        what,
        lambda found: found[figure] is not None and found[figure] <= limit,
        lambda found: f"{found[figure]:g} {unit}" if found[figure] is not None else "not measured",
        lambda _: f"≤ {limit:g} {unit}",
    )


TARGETS = {
    "throughput": Target(
        "orders/s, of the floor's",
        lambda found: found["ratio_to_floor"] >= 0.4,
        lambda found: f"{found['ratio_to_floor']:.2f}",
        lambda _: "≥ 0.4, aim 0.6",
    ),
    "post_p50": Target(
        "POST /orders p50, one at a time",
        lambda found: found["post_p50_ms"] <= found["post_p50_budget_ms"],
        lambda found: f"{found['post_p50_ms']:.1f} ms",
        lambda found: f"≤ {found['post_p50_budget_ms']:.1f} ms: 3 bare transactions + 5 ms",
    ),
    "events": _at_most("history of an order", "events_per_order", 60, "events"),
    "history_bytes": _at_most("history of an order", "history_bytes_per_order", 32 * 1024, "bytes"),
    "commit_to_kafka_p99": _at_most("commit → Kafka p99", "commit_to_kafka_p99_ms", 100, "ms"),
    "lone_order": _at_most("lone order → OrderShipped on Kafka", "lone_order_ms", 300, "ms"),
    "idle_cpu": _at_most("idle, our own loops, of a core", "idle_cpu_percent", 3, "%"),
    "up": Target(
        "everything ready, first · second start",
        lambda found: max(found["up_seconds"].values()) <= 10,
        lambda found: f"{found['up_seconds']['first']:.1f} · {found['up_seconds']['second']:.1f} s",
        lambda _: "≤ 10 s",
    ),
    "memory": _at_most("memory of the whole stack", "rss_mb", 1200, "MB"),
}

CONTROL_TARGETS = {
    "wish_answer_p50": _at_most("wish → answer p50", "wish_to_answer_p50_ms", 50, "ms"),
    "wish_answer_p99": _at_most("wish → answer p99", "wish_to_answer_p99_ms", 250, "ms"),
    "wish_effect_p50": _at_most("wish → effect p50", "wish_to_effect_p50_ms", 150, "ms"),
    "wish_effect_p99": _at_most("wish → effect p99", "wish_to_effect_p99_ms", 750, "ms"),
}


def verdicts(figures: Figures) -> dict[str, bool]:
    """Whether each target is met. The share of the floor is promised for the dev server only."""
    return {
        name: target.is_met(figures)
        for name, target in _targets(figures).items()
        if name != "throughput" or figures["engine"] == "devserver"
    }


def _targets(figures: Figures) -> Mapping[str, Target]:
    return {**TARGETS, **CONTROL_TARGETS} if "wish_to_answer_p50_ms" in figures else TARGETS


def table(figures: Figures) -> RenderableType:
    """Ratios and targets first, then the plain numbers."""
    targets = Table("target", "measured", "wanted", "", box=None, pad_edge=False)
    for name, target in _targets(figures).items():
        mark = {True: "[green]met[/]", False: "[red]missed[/]", None: ""}[figures["meets"].get(name)]
        targets.add_row(target.what, target.shown(figures), target.wanted(figures), mark)
    plain = Table("figure", "value", box=None, pad_edge=False)
    for name, value in figures.items():
        if isinstance(value, int | float | str):
            plain.add_row(name, f"{value:g}" if isinstance(value, float) else str(value))
    spent = Table("process", "CPU ms per order", "MB", "idle %", box=None, pad_edge=False)
    for name, milliseconds in figures["processor_ms_per_order"].items():
        megabytes = figures["rss_by_process_mb"].get(name, "-")
        idle = figures["idle_by_process_percent"].get(name, "-")
        spent.add_row(name, str(milliseconds), str(megabytes), str(idle))
    return Group(targets, "", spent, "", plain)
