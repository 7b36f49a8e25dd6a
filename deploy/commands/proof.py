"""`tandem proof`: what shows that the pair keeps its promises."""

import json
from typing import Annotated

import typer

app = typer.Typer()
proof = typer.Typer(name="proof", help="Show that the pair keeps its promises.", no_args_is_help=True)
app.add_typer(proof)

BROKEN = 1
NOT_HERE = 2


@proof.callback()
def _group() -> None: ...


@proof.command()
def explorer(
    *,
    full: Annotated[
        bool, typer.Option("--full", help="Every script, point, door and variant: hours.")
    ] = False,
    seed: Annotated[
        int, typer.Option(min=0, help="Another order of events; 0 is first come, first served.")
    ] = 0,
    cores: Annotated[int, typer.Option(min=1, help="Processes that explore.")] = 2,
    replay: Annotated[str | None, typer.Option(help="Play this one schedule, as it was printed.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Send every wish at every boundary of an order, in a simulation, and check what became of it.

    It also puts bugs into the services, in memory, and expects to find each."""
    try:
        from tests.proof import explorer as found  # noqa: PLC0415  no other command needs it
        from tests.proof.simulation.schedule import Schedule  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        typer.echo(
            f"The explorer needs {missing.name}.\nFix: run it from the repository, after ./deploy/test",
            err=True,
        )
        raise typer.Exit(NOT_HERE) from missing
    if replay is not None:
        try:
            schedule = Schedule.parse(replay)
        except ValueError as error:
            typer.echo(f"{error}\nFix: copy a schedule as the explorer printed it.", err=True)
            raise typer.Exit(NOT_HERE) from None
        typer.echo("\n".join(found.told(schedule)))
        raise typer.Exit(BROKEN if found.judged(schedule) else 0)
    report = found.explored(full=full, seed=seed, cores=cores, tell=lambda line: typer.echo(line, err=True))
    typer.echo(json.dumps(report.figures()) if as_json else "\n".join(report.lines()))
    if not report.is_good:
        raise typer.Exit(BROKEN)
