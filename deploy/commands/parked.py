"""`tandem parked …`: events that a service could not take in, and those of the same order behind them."""

import re
from typing import Annotated

import typer

from deploy.commands.options import EXIT_CODES, examples, group, shared
from deploy.commands.rest import OTHERWISE, Door, Json
from deploy.commands.shown import table
from deploy.commands.subjects import Services

app = group("parked", "See, let in again or discard events that a service could not take in.")

_SERVICES = ("order", "fulfillment")
_NAME = re.compile(r"(order|fulfillment)-([0-9]{1,18})")


def _known(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise typer.BadParameter("expected a name of `tandem parked list`, such as order-12")
    return name


Name = Annotated[
    str,
    typer.Argument(metavar="NAME", parser=_known, help="Such as order-12: who parked it, and its number."),
]


@app.callback()
def parked() -> None:
    """See, let in again or discard events that a service could not take in."""


@app.command("list", epilog=examples("tandem parked list", "tandem parked list --order ORD-…"))
@shared()
def list_(
    services: Services,
    *,
    order: Annotated[str | None, typer.Option(help="Only of this order.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many of each service.")] = 50,
) -> None:
    """List what is parked in both services, oldest first; the first of an order is what to see to."""
    asked = {"order": order, "limit": limit}
    found = [door.ask("GET", "/ops/parked", query=asked)["parked"] for door in services.doors]
    services.show(dict(zip(("orders", "fulfillments"), found, strict=True)), _lines)


@app.command(epilog=EXIT_CODES)
@shared()
def show(services: Services, *, name: Name) -> None:
    """Show one: why it is parked, whence it came, what its event tells."""
    door, path = _place(services, name)
    services.show(door.ask("GET", path), lambda seen: _told(name, seen))


@app.command(epilog=examples("tandem parked replay order-12"))
@shared()
def replay(services: Services, *, name: Name) -> None:
    """Apply it and everything behind it of its order; exit code 5 where one fails again."""
    door, path = _place(services, name)
    _end(services, name, door.ask("POST", f"{path}/replay"))


@app.command(epilog=examples("tandem parked discard order-12 --reason 'sent by a test'"))
@shared()
def discard(
    services: Services,
    *,
    name: Name,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the record. Names no person.")],
) -> None:
    """Give it up for good; what is behind it of its order is applied."""
    door, path = _place(services, name)
    _end(services, name, door.ask("POST", f"{path}/discard", body={"reason": reason}))


def _place(services: Services, name: str) -> tuple[Door, str]:
    service, _, number = name.partition("-")
    return services.doors[_SERVICES.index(service)], f"/ops/parked/{number}"


def _end(services: Services, name: str, done: Json) -> None:
    services.show(done, lambda seen: _moved(name.partition("-")[0], seen))
    if done["stoppedAt"]:
        raise typer.Exit(OTHERWISE)


def _lines(found: Json) -> list[str]:
    rows = [
        {**each, "name": f"{service}-{each['id']}", "order": each["orderId"], "since": each["firstFailedAt"]}
        for service, parked in zip(_SERVICES, found.values(), strict=True)
        for each in parked
    ]
    return table(("name", "order", "type", "reason", "since"), rows, none="Nothing is parked.")


def _told(name: str, seen: Json) -> list[str]:
    event: Json = seen["event"] or {}
    lines = [
        f"{name}: {seen['outcome']}, {seen['reason']}",
        f"Came:    {seen['topic']}, partition {seen['partition']}, offset {seen['offset']}",
        f"Failed:  first at {seen['firstFailedAt']}",
        f"Event:   {event['type']} #{event['sequence']} of {event['subject']}"
        if event
        else f"No event of ours: {seen['bytes']} bytes, which are not shown",
    ]
    if settled := seen["settled"]:
        because = f": {settled['because']}" if settled["because"] else ""
        return [*lines, f"Settled: {settled['at']} by {settled['by']}{because}"]
    return [*lines, f"Next:    tandem parked replay {name}, or tandem parked discard {name} --reason WHY"]


def _moved(service: str, done: Json) -> list[str]:
    lines = [f"{done['outcome']}; {len(done['applied'])} applied, {done['left']} still parked"]
    if stopped := done["stoppedAt"]:
        lines.append(f"Stopped at {service}-{stopped['id']}: {stopped['reason']}")
    return lines
