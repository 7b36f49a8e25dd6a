"""`tandem`: one command line for the stack and for both services, over REST only."""

import importlib
import pkgutil

import typer

from deploy import commands

app = typer.Typer(
    name="tandem",
    help="An order service and a fulfillment service that act as one.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _found in pkgutil.iter_modules(commands.__path__, f"{commands.__name__}."):
    app.add_typer(importlib.import_module(_found.name).app)


def main() -> None:
    """Run the command that the command line names."""
    app()


if __name__ == "__main__":
    main()
