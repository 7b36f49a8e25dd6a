"""Waits until an order or a parcel has ended or needs a person, and shows the way there."""

import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from deploy.commands.rest import (
    TIMED_OUT,
    Door,
    Json,
    NoAnswer,
    complain,
    print_json,
    problem_of,
    refused,
    say,
    unreachable,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

SETTLING_SECONDS = 5.0
"""An order that shipped says so at once; its money and what Kafka tells of its parcel follow in milliseconds,
or as soon as provider and broker are there."""
SILENCE_SECONDS = 30.0
"""A service may be restarted while somebody waits; after so long without an answer nobody will come back."""
_QUICK_SECONDS, _SLOW_SECONDS, _QUICK_FOR_SECONDS = 0.1, 0.5, 10.0

_STAGES = {
    "INVENTORY_RESERVED": "stock",
    "PAYMENT_CONFIRMED": "payment",
    "CONFIRMED": "confirmed",
    "FULFILLMENT_STARTED": "parcel asked for",
    "FULFILLMENT_IN_PROGRESS": "parcel under way",
    "SHIPPED": "shipped",
}
_ENDS = ("SHIPPED", "CANCELLED", "FAILED")

Show = Callable[[Json], None]


def wait_for_order(door: Door, order_id: str, *, timeout: float | None) -> Json:
    """The order once it ended, money and stock settled, or once it needs a person.

    Ends the process when the time is over."""
    ended_since: list[float] = []

    def settled(seen: Json) -> bool:
        if needs_person(seen):
            return True
        if seen["stage"] not in _ENDS:
            return False
        ended_since.append(time.monotonic())
        parcel: Mapping[str, Any] = seen.get("fulfillment") or {}
        complete = seen.get("currentStep") == "end" and parcel.get("stage", "SHIPPED") in _ENDS
        return complete or ended_since[-1] - ended_since[0] > SETTLING_SECONDS

    return _wait(door, f"/orders/{order_id}/status", settled, timeout=timeout)


def wait_for_fulfillment(door: Door, fulfillment_id: str, *, timeout: float | None) -> Json:
    """The parcel once it ended or needs a person. Ends the process when the time is over."""
    return _wait(
        door,
        f"/fulfillments/{fulfillment_id}",
        lambda seen: seen.get("stage") in _ENDS or seen["status"] == "EXCEPTION",
        timeout=timeout,
    )


def needs_person(seen: Mapping[str, Any]) -> bool:
    """Nothing more happens before somebody looks at the order or at its parcel."""
    parcel: Mapping[str, Any] = seen.get("fulfillment") or {}
    return seen["status"] == "NEEDS_ATTENTION" or parcel.get("status") == "EXCEPTION"


def _wait(door: Door, path: str, settled: Callable[[Json], bool], *, timeout: float | None) -> Json:
    began = heard = time.monotonic()
    with _progress(door.as_json) as show:
        while True:
            seen, now = _read(door, path), time.monotonic()
            if seen is not None:
                heard = now
                show(seen)
                if settled(seen):
                    return seen
            if timeout is not None and now - began > timeout:
                _timed_out(door, path, seen, timeout)
            if now - heard > SILENCE_SECONDS:
                unreachable(door.name, door.url, door.as_json)
            time.sleep(_QUICK_SECONDS if now - began < _QUICK_FOR_SECONDS else _SLOW_SECONDS)


def _read(door: Door, path: str) -> Json | None:
    """What is there now; None while the service does not answer."""
    try:
        answer = door.send("GET", path)
    except NoAnswer:
        return None
    if answer.status_code >= 500:
        return None
    if answer.status_code >= 400:
        refused(problem_of(answer), door.as_json)
    return answer.json()


def _timed_out(door: Door, path: str, seen: Json | None, timeout: float) -> None:
    if door.as_json:
        print_json({**(seen or {}), "code": "TIMED_OUT", "detail": f"not settled after {timeout:g} s"})
    else:
        group, name = path.strip("/").split("/")[:2]
        last = f"it was {seen['status']}" if seen else "no answer"
        complain(f"Not settled after {timeout:g} s; {last}.")
        complain(f"Next:    tandem {group.removesuffix('s')} watch {name}")
    raise typer.Exit(TIMED_OUT)


@contextmanager
def _progress(as_json: bool) -> Generator[Show]:
    """Draws in a terminal, prints a line for each change elsewhere, and keeps quiet for a program."""
    if as_json:
        yield lambda _: None
    elif not sys.stdout.isatty():
        yield _lines()
    else:
        from rich.live import Live  # noqa: PLC0415  90 ms that only a terminal needs

        with Live(refresh_per_second=8, transient=False) as live:
            yield lambda seen: live.update(drawing(seen))


def _lines() -> Show:
    shown: list[str] = []

    def show(seen: Json) -> None:
        line = line_of(seen)
        if shown[-1:] != [line]:
            shown.append(line)
            say(f"{time.strftime('%H:%M:%S')} {line}")

    return show


def line_of(seen: Mapping[str, Any]) -> str:
    """An order or a parcel in one line."""
    parcel: Mapping[str, Any] = seen.get("fulfillment") or {}
    name = seen.get("orderId") if "paymentStatus" in seen else seen.get("fulfillmentId")
    parts = [f"{name} {seen['status']}", _how_far(seen)]
    if parcel:
        parts.append(f"parcel {parcel['status']} {_how_far(parcel)}")
    return " · ".join(part for part in parts if part)


def _how_far(seen: Mapping[str, Any]) -> str:
    items = f"{seen['itemsPicked']}/{seen['itemsTotal']} items " if seen.get("itemsTotal") else ""
    return f"{items}{seen.get('percent', 0)} %"


def drawing(seen: Json) -> "RenderableType":
    from rich.console import Group  # noqa: PLC0415
    from rich.progress_bar import ProgressBar  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    bars = Table.grid(padding=(0, 2))
    order = "paymentStatus" in seen
    parcel = seen.get("fulfillment") if order else seen
    for name, each in (("order", seen if order else None), ("parcel", parcel)):
        if each:
            bar = ProgressBar(total=100, completed=float(each.get("percent", 0)), width=30)
            bars.add_row(name, Text(str(each["status"]), style=_style(each["status"])), bar, _how_far(each))
    title = Text(str(seen["orderId"] if order else seen.get("fulfillmentId")), style="bold")
    return Group(title, _stages(seen), bars) if order else Group(title, bars)


def _stages(seen: Json) -> "RenderableType":
    from rich.text import Text  # noqa: PLC0415

    done = int(seen.get("stepsDone", 0))
    if seen["stage"] in ("CANCELLED", "FAILED"):
        return Text(f"ended: {seen.get('failure') or seen['stage']}", style="yellow")
    marks = [
        (f"✓ {name}  ", "green") if number <= done else (f"· {name}  ", "dim")
        for number, name in enumerate((*_STAGES.values(), "paid"), start=1)
    ]
    return Text.assemble(*marks)


def _style(status: str) -> str:
    if status in ("SHIPPED",):
        return "green"
    return "red" if status in ("FAILED", "EXCEPTION", "NEEDS_ATTENTION") else "cyan"
