"""`tandem breaker …`: the circuit breakers between the services and their providers."""

from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from deploy.commands.options import EXIT_CODES, examples, group, shared
from deploy.commands.rest import Door, Json
from deploy.commands.shown import clock, table
from deploy.commands.subjects import Services

app = group("breaker", "See and turn the circuit breakers of the payment provider and the carrier.")

Name = Literal["payments", "carrier"]
Reason = Annotated[str, typer.Option("--reason", help="Kept with the transition; at most 200 characters.")]
_COLUMNS = ("name", "state", "failures", "threshold", "coolDownSeconds", "since", "openUntil")


@dataclass(frozen=True, kw_only=True)
class Breaker(Services):
    """One provider's, behind the door of the service that asks it."""

    name: Annotated[Name, typer.Argument(help="Whose it is.", case_sensitive=False, show_default=False)]

    @property
    def door(self) -> Door:
        return self.doors[self.name == "carrier"]

    @property
    def path(self) -> str:
        return f"/circuit-breakers/{self.name}"


@app.command("list", epilog=EXIT_CODES)
@shared()
def list_(services: Services) -> None:
    """List all of them, each with its state."""
    found = [
        each for door in services.doors for each in door.ask("GET", "/circuit-breakers")["circuitBreakers"]
    ]
    services.show({"circuitBreakers": found}, lambda seen: _lines(seen["circuitBreakers"]))


@app.command(epilog=EXIT_CODES)
@shared()
def show(breaker: Breaker) -> None:
    """Show one, and who turned it when and why, newest first."""
    breaker.show(breaker.door.ask("GET", breaker.path), _whole)


@app.command(epilog=examples("tandem breaker trip carrier --reason 'their maintenance' --seconds 3600"))
@shared()
def trip(
    breaker: Breaker,
    *,
    reason: Reason,
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=1, help="Until it is reset, if not set.")
    ] = None,
) -> None:
    """Ask the provider no more: what needs it waits, and everything else goes on."""
    body = {"reason": reason} | ({"seconds": seconds} if seconds is not None else {})
    breaker.show(breaker.door.ask("POST", f"{breaker.path}/trip", body=body), _whole)


@app.command(epilog=examples("tandem breaker reset carrier --reason 'they are back'"))
@shared()
def reset(breaker: Breaker, *, reason: Reason) -> None:
    """Ask the provider again, without a probe first."""
    breaker.show(breaker.door.ask("POST", f"{breaker.path}/reset", body={"reason": reason}), _whole)


@app.command(
    epilog=examples("tandem breaker configure payments --threshold 5 --cool-down 30 --reason 'slow'")
)
@shared()
def configure(
    breaker: Breaker,
    *,
    reason: Reason,
    threshold: Annotated[
        int | None, typer.Option("--threshold", min=1, help="So many calls in a row without an answer.")
    ] = None,
    cool_down: Annotated[
        float | None, typer.Option("--cool-down", min=0.1, help="Seconds before a probe goes out.")
    ] = None,
) -> None:
    """Say when it opens, and for how long."""
    asked = {"threshold": threshold, "coolDownSeconds": cool_down}
    body = {"reason": reason} | {name: value for name, value in asked.items() if value is not None}
    breaker.show(breaker.door.ask("PATCH", breaker.path, body=body), _whole)


def _whole(seen: Json) -> list[str]:
    columns = ("at", "from", "to", "actor", "reason")
    turns = [{**each, "at": clock(each["at"])} for each in seen["transitions"]]
    return [*_lines([seen]), "", *table(columns, turns, none="Never turned.")]


def _lines(found: list[Json]) -> list[str]:
    return table(_COLUMNS, found, none="No circuit breakers.")
