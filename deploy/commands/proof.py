"""`tandem proof`: runs what shows that the pair keeps its promises, which lives in the repository's tests."""

import subprocess
import sys
from pathlib import Path

import typer

import deploy

app = typer.Typer()

NOT_HERE = 2
INTERRUPTED = 130


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
)
def proof(context: typer.Context) -> None:
    """Show that the pair keeps its promises: simulate, chaos, mutants, explore, --nightly."""
    checkout = Path(deploy.__file__).parents[1]
    if not (checkout / "tests" / "proof" / "__main__.py").exists():
        typer.echo(
            "The proof is part of the repository's tests, which an installed package does not bring along.\n"
            "Fix: clone the repository, run ./deploy/test once, and ask there again.",
            err=True,
        )
        raise typer.Exit(NOT_HERE)
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "tests.proof", *(context.args or ["--help"])], cwd=checkout, check=False
        )
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(ran.returncode)
