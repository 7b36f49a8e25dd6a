"""`tandem`: one command line for the stack and for both services, over REST only."""

import importlib
import pkgutil
import sys

import typer

from deploy import commands


def assembled(group: str | None = None) -> typer.Typer:
    """The command line; only the part that `group` names, when it is a module of its own.

    All parts together take 0.35 s to import, most of it for drivers that only `up` needs."""
    app = typer.Typer(
        name="tandem",
        help="An order service and a fulfillment service that act as one.",
        no_args_is_help=True,
        pretty_exceptions_show_locals=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    # A part must stand beside another one, or typer drops its name.
    app.callback()(lambda: None)
    parts = [found.name for found in pkgutil.iter_modules(commands.__path__)]
    named = (group or "").replace("-", "_")
    for part in [named] if named in parts else parts:
        module = importlib.import_module(f"{commands.__name__}.{part}")
        if hasattr(module, "app"):
            app.add_typer(module.app)
    return app


def main() -> None:
    """Run the command that the command line names."""
    assembled(sys.argv[1] if len(sys.argv) > 1 else None)()


if __name__ == "__main__":
    main()
