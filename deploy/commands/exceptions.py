"""`tandem exceptions …`: what waits for a person, in both services, and what may be done about it."""

from dataclasses import dataclass
from typing import Annotated

import typer

from deploy.commands.options import EXIT_CODES, examples, group, shared
from deploy.commands.rest import Door, Json, in_path
from deploy.commands.shown import span, table
from deploy.commands.subjects import Services
from deploy.commands.wishes import Because, Note, Sending, given

app = group("exceptions", "See what waits for a person, claim it, and do something about it.")


@dataclass(frozen=True, kw_only=True)
class Waiting(Services):
    """One of them, behind the door of the service that knows it."""

    exception_id: Annotated[
        str, typer.Argument(metavar="ID", help="The id of an exception.", show_default=False)
    ]

    @property
    def known(self) -> tuple[Door, Json]:
        return self.knowing(self.path, nobody="neither service knows this exception")

    @property
    def path(self) -> str:
        return f"/exceptions/{in_path(self.exception_id)}"

    @property
    def door(self) -> Door:
        return self.known[0]


@app.callback()
def exceptions() -> None:
    """See what waits for a person, claim it, and do something about it."""


@app.command("list", epilog=examples("tandem exceptions list", "tandem exceptions list --of ORD-…"))
@shared()
def list_(
    services: Services,
    *,
    subject: Annotated[str | None, typer.Option("--of", help="Only of this order or fulfillment.")] = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="Those that are resolved as well.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many of each service.")] = 50,
) -> None:
    """List what waits for a person, longest waiting first."""
    asked = {"subject": subject, "resolved": "true" if resolved else None, "limit": limit}
    orders, parcels = (door.ask("GET", "/exceptions", query=asked)["exceptions"] for door in services.doors)
    services.show({"orders": orders, "fulfillments": parcels}, _lines)


@app.command(epilog=EXIT_CODES)
@shared(about=Waiting)
def show(about: Waiting) -> None:
    """Show one: what happened, how often it was tried, and what may be done."""
    about.show(about.known[1], _told)


@app.command(epilog=EXIT_CODES)
@shared(about=Waiting)
def claim(about: Waiting) -> None:
    """Say that you work on it: until it is released nobody else retries, skips or cancels by it."""
    about.show(about.door.ask("POST", f"{about.path}/claim"), _told)


@app.command(epilog=EXIT_CODES)
@shared(about=Waiting)
def release(about: Waiting) -> None:
    """Say that nobody works on it."""
    about.show(about.door.ask("POST", f"{about.path}/release"), _told)


@app.command(epilog=examples("tandem exceptions retry 0199…", "tandem exceptions retry 0199… --wait"))
@shared(about=Waiting, wish=Sending)
def retry(about: Waiting, wish: Sending, *, reason: Because = None, note: Note = None) -> None:
    """Have the step or the record tried again at once, or what does not add up looked at again."""
    wish.send(about, "POST", "/retry", given(reason=reason, note=note))


@app.command(epilog=examples("tandem exceptions skip 0199… --reason 'settled with the bank'"))
@shared(about=Waiting, wish=Sending)
def skip(about: Waiting, wish: Sending, *, reason: Because = None, note: Note = None) -> None:
    """Leave the step out, where that is safe; a record that was set aside is discarded, and --reason kept."""
    wish.send(about, "POST", "/skip", given(reason=reason, note=note))


@app.command(epilog=examples("tandem exceptions cancel 0199… --reason 'out of patience'"))
@shared(about=Waiting, wish=Sending)
def cancel(about: Waiting, wish: Sending, *, reason: Because = None, note: Note = None) -> None:
    """Cancel the order or the parcel that it is about."""
    wish.send(about, "POST", "/cancel", given(reason=reason, note=note))


def _lines(found: Json) -> list[str]:
    rows = [
        {
            **each,
            "what": each["subject"],
            "step": each["stepKey"],
            "age": span(each["ageSeconds"])[1:],
            "claimed": each["claimedBy"],
        }
        for each in sorted((*found["orders"], *found["fulfillments"]), key=lambda each: each["raisedAt"])
    ]
    columns = ("id", "what", "code", "fault", "step", "age", "level", "claimed")
    return table(columns, rows, none="Nothing waits for a person.")


def _told(seen: Json) -> list[str]:
    evidence = ", ".join(f"{name} {value}" for name, value in seen["evidence"].items())
    lines = [
        f"{seen['code']} at {seen['stepKey'] or '-'} of {seen['subject']}: {seen['reason']}",
        f"Fault:   {seen['fault']}" + (f" ({evidence})" if evidence else ""),
        f"Open:    {span(seen['ageSeconds'])[1:]}, level {seen['level']}",
        f"Claimed: {seen['claimedBy'] or 'by nobody'}",
    ]
    if seen["resolvedAt"]:
        because = f": {seen['because']}" if seen.get("because") else ""
        done = f"Done:    {seen['resolution']} by {seen['resolvedBy']} at {seen['resolvedAt']}{because}"
        return [*lines, done]
    return [*lines, *(f"Next:    {_line(seen, way)}" for way in seen["resolutions"])]


def _line(seen: Json, way: str) -> str:
    """The command for one way out."""
    if way == "change-data":
        name = "fulfillment address" if "fulfillmentId" in seen else "order update"
        return f"tandem {name} {seen['subject']} …, then tandem exceptions retry {seen['id']}"
    why = " --reason WHY" if way == "skip" and seen["stepKey"] == "RECORD_BLOCKED" else ""
    return f"tandem exceptions {way} {seen['id']}{why}"
