"""`tandem bench`: how fast and how small the pair is, beside a floor of bare workflows."""

import json
from enum import StrEnum
from typing import Annotated

import typer

app = typer.Typer()

MISSED = 1


class EngineChoice(StrEnum):
    devserver = "devserver"
    testserver = "testserver"


@app.command()
def bench(
    *,
    orders: Annotated[int, typer.Option("--orders", "-n", min=1, help="Orders in each round.")] = 100,
    rounds: Annotated[
        int, typer.Option(min=1, help="Rounds of floor and ours; the median ratio counts.")
    ] = 3,
    engine: Annotated[
        EngineChoice, typer.Option(help="testserver: Temporal in memory, whose cost hardly varies.")
    ] = EngineChoice.devserver,
    concurrency: Annotated[int, typer.Option(min=1, help="Clients that place orders at once.")] = 8,
    control: Annotated[
        bool, typer.Option("--control", help="Also: how long wishes take while 200 orders are open.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 when a target is missed.")] = False,
) -> None:
    """Measure orders per second, latencies, histories, memory and idling, on stacks of its own.

    Everything runs beside what is running already, on other ports; a quiet machine gives truer figures."""
    try:
        from tests.bench import report, run  # noqa: PLC0415  drivers and engines that no other command needs
    except ModuleNotFoundError as missing:
        typer.echo(
            f"The benchmark needs {missing.name}.\nFix: run it from the repository, after ./deploy/test",
            err=True,
        )
        raise typer.Exit(2) from missing
    options = run.Options(orders, rounds, engine.value, concurrency, control=control)
    figures = run.bench(options, lambda line: typer.echo(line, err=True))
    if as_json:
        typer.echo(json.dumps(figures))
    else:
        from rich.console import Console  # noqa: PLC0415

        Console().print(report.table(figures))
    if check and not all(figures["meets"].values()):
        raise typer.Exit(MISSED)
