"""What may be done, why something waits, and what happened: as lines for a person."""

import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import typer

from deploy.commands.lines import line_of
from deploy.commands.shown import clock, money, span, table

_SERVICES = {"order": "blue", "fulfillment": "magenta"}


def actions_lines(seen: Mapping[str, Any]) -> list[str]:
    """Where it stands, then a line for each action: allowed or why not, until when, its cost, how."""
    step = f" at {seen['currentStep']}" if seen.get("currentStep") else ""
    rows = [_action(each) for each in seen["actions"]]
    return [f"{seen['status']}{step}", *table(("action", "now", "until", "cost", "how"), rows, none="")]


def _action(action: Mapping[str, Any]) -> dict[str, str]:
    row = {"action": action["name"], "until": "", "cost": "", "how": action.get("detail", "")}
    if not action["allowed"]:
        return {**row, "now": f"no: {action['code']}" if "code" in action else "no need"}
    until = [f"before {action['untilStep']}"] if "untilStep" in action else []
    until += [clock(action["until"])] if "until" in action else []
    how = line_of(action["call"]) if "call" in action else ""
    # The fulfillment has the last word on what is passed on to it.
    now = "passed on" if action.get("answeredBy") == "fulfillment" else "yes"
    return {
        **row,
        "now": now,
        "until": ", ".join(until),
        "cost": _cost(action.get("cost") or {}),
        "how": how,
    }


def _cost(cost: Mapping[str, Any]) -> str:
    currency = cost.get("currency")
    paid = (
        f"the payment of {money(cost['paymentMinor'], currency)}"
        if cost.get("paymentMinor")
        else "the payment"
    )
    parts = [
        f"label of {money(cost['voidMinor'], currency)}" if cost.get("voidMinor") else "",
        "new label" if cost.get("relabel") else "",
        f"restock {cost['restockItems']}" if cost.get("restockItems") else "",
        f"{cost['payment']} {paid}" if cost.get("payment") else "",
    ]
    return ", ".join(part for part in parts if part)


def explain_lines(told: Mapping[str, Any]) -> list[str]:
    """The paragraph, then who can change it, each with the very line to copy."""
    offers: Sequence[Mapping[str, Any]] = told.get("unblock") or ()
    return [
        *_paragraph(_before(told["summary"], offers)),
        *(line for offer in offers for line in _offer(offer)),
    ]


def _before(summary: str, offers: Sequence[Mapping[str, Any]]) -> str:
    """The paragraph up to its sentences about who can change it."""
    if not offers:
        return summary
    before, _, whole = summary.rpartition(f" {_who(offers[0])} can {offers[0]['how']}")
    return before or whole


def _paragraph(text: str) -> list[str]:
    """As wide as one reads well in a terminal; one line elsewhere, to be searched."""
    if not sys.stdout.isatty():
        return [text]
    width = min(100, shutil.get_terminal_size().columns)
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _offer(offer: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield f"{_who(offer)}: {offer['how']}"
    if offer.get("call"):
        yield f"  {line_of(offer['call'])}"


def _who(offer: Mapping[str, Any]) -> str:
    return f"{offer['who'][:1].upper()}{offer['who'][1:]}"


def timeline_lines(told: Mapping[str, Any]) -> list[str]:
    """A line for each fact: when, how long after the one before, whose, what, by whom, and why."""
    entries: Sequence[Mapping[str, Any]] = told["timeline"]
    columns = ("at", "after", "service", "type", "actor", "heard", "about")
    head, *lines = table(columns, [_timed(entry) for entry in entries], none="Nothing happened yet.")
    colours = [_SERVICES.get(entry["service"]) for entry in entries]
    return [head, *map(typer.style, lines, colours)]


def _timed(entry: Mapping[str, Any]) -> dict[str, Any]:
    since, heard = entry.get("sincePreviousMs"), entry.get("heardAfterMs")
    about = [str(entry[name]) for name in ("stepKey", "handle", "reason", "note") if name in entry]
    if "holder" in entry:
        about.append(f"(held by {entry['holder']})")
    return {
        **entry,
        "at": clock(entry["at"]),
        "after": "" if since is None else span(since / 1000),
        "heard": "" if heard is None else span(heard / 1000),
        "about": " ".join(about),
    }
