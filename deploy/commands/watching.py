"""Waits until an order or a parcel has ended or needs a person, or a receipt is final, and shows the way."""

import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from deploy.commands.rest import (
    OTHERWISE,
    TIMED_OUT,
    Door,
    Json,
    NoAnswer,
    complain,
    in_path,
    print_json,
    problem_of,
    refused,
    say,
    unreachable,
)
from deploy.commands.shown import Step, receipt_steps, receipt_title, step_line

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
FINAL = ("EFFECTIVE", "REJECTED", "SUPERSEDED")

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

    with _progress(door.as_json) as show:
        watch = Watch(f"/orders/{order_id}/status", settled, show, f"tandem order watch {order_id}")
        return _wait(door, watch, timeout=timeout)


def wait_for_fulfillment(door: Door, fulfillment_id: str, *, timeout: float | None) -> Json:
    """The parcel once it ended or needs a person. Ends the process when the time is over."""

    def settled(seen: Json) -> bool:
        return seen.get("stage") in _ENDS or seen["status"] == "EXCEPTION"

    with _progress(door.as_json) as show:
        again = f"tandem fulfillment watch {fulfillment_id}"
        return _wait(door, Watch(f"/fulfillments/{fulfillment_id}", settled, show, again), timeout=timeout)


def wait_for_receipt(door: Door, command_id: str, *, timeout: float | None) -> Json:
    """The receipt once nothing can change it any more. Ends the process when the time is over."""
    command_id = in_path(command_id)
    show: Show = _silence if door.as_json else _steps()
    again = f"tandem command show {command_id} --watch"

    def settled(seen: Json) -> bool:
        return seen["status"] in FINAL

    # The end is told at once, and what comes before it after a second at the latest.
    watch = Watch(f"/commands/{command_id}", settled, show, again, patience="wait=1")
    return _wait(door, watch, timeout=timeout)


def end_with(seen: Mapping[str, Any]) -> None:
    """Ends the process with a code of its own when an order or a parcel did not ship."""
    if seen["stage"] != "SHIPPED" or needs_person(seen):
        raise typer.Exit(OTHERWISE)


def needs_person(seen: Mapping[str, Any]) -> bool:
    """Nothing more happens before somebody looks at the order or at its parcel."""
    parcel: Mapping[str, Any] = seen.get("fulfillment") or {}
    return seen["status"] == "NEEDS_ATTENTION" or parcel.get("status") == "EXCEPTION"


@dataclass(frozen=True)
class Watch:
    """What is looked at, until when, and how it is shown."""

    path: str
    settled: Callable[[Json], bool]
    show: Show
    again: str
    """The command that goes on watching."""
    patience: str | None = None
    """How long the service may take to answer, while it has nothing new to tell."""


def _wait(door: Door, watch: Watch, *, timeout: float | None) -> Json:
    began = heard = time.monotonic()
    while True:
        seen, now = _read(door, watch), time.monotonic()
        if seen is not None:
            heard = now
            watch.show(seen)
            if watch.settled(seen):
                return seen
        if timeout is not None and now - began > timeout:
            _timed_out(door, watch, seen, timeout)
        if now - heard > SILENCE_SECONDS:
            unreachable(door.name, door.url, door.as_json)
        time.sleep(_QUICK_SECONDS if now - began < _QUICK_FOR_SECONDS else _SLOW_SECONDS)


def _read(door: Door, watch: Watch) -> Json | None:
    """What is there now; None while the service does not answer."""
    try:
        answer = door.send("GET", watch.path, headers={"Prefer": watch.patience})
    except NoAnswer:
        return None
    if answer.status_code >= 500:
        return None
    if answer.status_code >= 400:
        refused(problem_of(answer), door.as_json)
    return answer.json()


def _timed_out(door: Door, watch: Watch, seen: Json | None, timeout: float) -> NoReturn:
    if door.as_json:
        print_json({**(seen or {}), "code": "TIMED_OUT", "detail": f"not settled after {timeout:g} s"})
    else:
        last = f"it was {seen['status']}" if seen else "no answer"
        complain(f"Not settled after {timeout:g} s; {last}.")
        complain(f"Next:    {watch.again}")
    raise typer.Exit(TIMED_OUT)


@contextmanager
def _progress(as_json: bool) -> Generator[Show]:
    """Draws in a terminal, prints a line for each change elsewhere, and keeps quiet for a program."""
    if as_json:
        yield _silence
    elif not sys.stdout.isatty():
        yield _changes()
    else:
        from rich.live import Live  # noqa: PLC0415  90 ms that only a terminal needs

        with Live(refresh_per_second=8, transient=False) as live:
            yield lambda seen: live.update(drawing(seen))


def _silence(_seen: Json) -> None:
    """Only the end is shown."""


def _changes() -> Show:
    """Prints how an order or a parcel stands whenever that is something else."""
    shown: list[str] = []

    def show(seen: Json) -> None:
        line = line_of(seen)
        if shown[-1:] != [line]:
            shown.append(line)
            say(f"{time.strftime('%H:%M:%S')} {line}")

    return show


def _steps() -> Show:
    """Prints what was wished, and each step of its receipt once."""
    shown: list[Step] = []

    def show(seen: Json) -> None:
        if not shown:
            say(receipt_title(seen))
        for step in receipt_steps(seen):
            if step.known_by not in {each.known_by for each in shown}:
                say(step_line(step, shown[-1] if shown else None))
                shown.append(step)

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
