"""Answers as plain lines: tables, receipts, rehearsals."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast

import typer

from deploy.commands.rest import why

_COLOURS = {"EFFECTIVE": "green", "ACCEPTED": "cyan", "REJECTED": "red", "SUPERSEDED": "yellow"}


def table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, none: str) -> list[str]:
    """A line for each row under a line of headings, columns aligned; `none` when there is no row."""
    if not rows:
        return [none]
    cells = [list(columns), *([_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]


def more(page: Mapping[str, Any], command: str) -> list[str]:
    """The line that shows the next page, where there is one."""
    return [f"More: {command} --cursor {page['next']}"] if "next" in page else []


def _cell(value: object) -> str:
    return "-" if value is None else str(value)


def clock(moment: str) -> str:
    """The time of day here, to the millisecond; with the date when it is not today."""
    here = datetime.fromisoformat(moment).astimezone()
    today = here.date() == datetime.now(here.tzinfo).date()
    return here.strftime("%H:%M:%S.%f" if today else "%Y-%m-%d %H:%M:%S.%f")[:-3]


def elapsed(since: str, until: str) -> str:
    return span((datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds())


def span(seconds: float) -> str:
    """How long it took, such as `+17 ms`, `+4.2 s` or `+3 h 20 min`."""
    if seconds < 1:
        return f"+{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"+{seconds:.1f} s"
    minutes, hours = divmod(round(seconds), 60)[0] % 60, round(seconds) // 3600
    return f"+{hours} h {minutes} min" if hours else f"+{minutes} min"


def money(minor: int, currency: str | None) -> str:
    return f"{minor / 100:.2f} {currency or ''}".strip()


def holds_of(seen: Mapping[str, Any]) -> str:
    """What holds it, by whom and until when."""
    holds: Sequence[Mapping[str, Any]] = seen.get("holds") or []
    return ", ".join(map(_hold, holds))


def _hold(hold: Mapping[str, Any]) -> str:
    by = f" by {hold['holder']}" if hold.get("holder") else ""
    until = f" until {clock(hold['until'])}" if hold.get("until") else ""
    return f"{hold['reason']} ({hold['handle']}){by}{until}"


def answer_lines(answer: Mapping[str, Any]) -> list[str]:
    """What the answer to a wish says of it, and how to ask again while it is not final."""
    why = f": {answer.get('detail') or answer['code']}" if answer.get("code") else ""
    lines = [f"{answer['status']}{why}", *_next(answer)]
    if "knocked" in answer:
        lines.append(
            f"Parcels that go on: {answer['knocked']}, the last one after {answer['drainSeconds']} s"
        )
    return lines


def receipt_lines(receipt: Mapping[str, Any]) -> list[str]:
    """The whole receipt: what was wished, the steps so far, why it was refused."""
    steps = receipt_steps(receipt)
    befores = [None, *steps]
    lines = [receipt_title(receipt), *map(step_line, steps, befores)]
    if receipt.get("code"):
        lines.append(why(receipt))
    if receipt.get("cutOff"):
        lines.append(f"Cut-off: {receipt['cutOff']}")
    return [*lines, *_next(receipt)]


def _next(receipt: Mapping[str, Any]) -> list[str]:
    if receipt["status"] not in ("RECEIVED", "ACCEPTED"):
        return []
    return [f"Next: tandem command show {receipt['commandId']} --watch"]


class Step(NamedTuple):
    """A status the receipt came to, or a fact the wish led to."""

    at: str
    name: str
    said: str = ""

    @property
    def known_by(self) -> tuple[str, str]:
        return self.at, self.name


def receipt_steps(receipt: Mapping[str, Any]) -> list[Step]:
    """What became of a wish so far, oldest first: from one status to the next, by which facts."""
    walk = [Step(step["at"], step["status"]) for step in receipt["walk"]]
    answer: Mapping[str, Any] = receipt.get("fulfillment") or {}
    facts = [
        Step(
            fact["at"],
            f"{fact['type']} #{fact['version']}",
            f"it said {answer['status']}" if fact["at"] == answer.get("at") and _is_answer(fact) else "",
        )
        for fact in receipt["facts"]
    ]
    return sorted(walk + facts, key=lambda step: datetime.fromisoformat(step.at))


def _is_answer(fact: Mapping[str, Any]) -> bool:
    return fact["type"] == "FulfillmentAnswered"


def receipt_title(receipt: Mapping[str, Any]) -> str:
    return f"{receipt['name']} by {receipt['actor']}, {receipt['stream']}"


def step_line(step: Step, before: Step | None) -> str:
    """When, what, and how long after the step before; statuses in colour where there is a terminal."""
    name = typer.style(step.name, fg=_COLOURS.get(step.name), dim=not step.name.isupper() or None)
    took = f"{' ' * (28 - len(step.name))}  {elapsed(before.at, step.at)}" if before else ""
    return f"  {clock(step.at)}  {name}{took}" + (f"  {step.said}" if step.said else "")


def rehearsal_lines(rehearsed: Mapping[str, Any]) -> list[str]:
    """What a wish would lead to, a line for each fact."""
    facts: Sequence[Mapping[str, Any]] = rehearsed["facts"]
    return [
        f"Nothing was done. It would be {rehearsed['status']}, the wish {rehearsed['receiptStatus']}, by:",
        *(f"  {fact['type']:<28}  {_plain(fact['data'])}".rstrip() for fact in facts),
        *([] if facts else ["  no new fact: it is so already"]),
    ]


def _plain(data: Mapping[str, Any]) -> str:
    """The fields of a fact that tell something: not its command, which a rehearsal has none of."""
    told = {name: value for name, value in data.items() if name != "commandId" and value is not False}
    return "  ".join(
        f"{name}=({_plain(cast('Mapping[str, Any]', value))})"
        if isinstance(value, Mapping)
        else f"{name}={value}"
        for name, value in told.items()
    )
