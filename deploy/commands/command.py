"""`tandem command …`: what became of a wish, whichever service knows it."""

from typing import Annotated

import typer

from deploy.commands.options import Watching, examples, group, shared
from deploy.commands.rest import in_path
from deploy.commands.shown import receipt_lines
from deploy.commands.subjects import Services
from deploy.commands.watching import wait_for_receipt
from deploy.commands.wishes import end_with

app = group("command", "Ask what became of a wish.")


@app.callback()
def command() -> None:
    """Ask what became of a wish."""


@app.command(epilog=examples("tandem command show 0199… --watch", "tandem command show 0199… --json"))
@shared()
def show(
    services: Services,
    command_id: Annotated[str, typer.Argument(metavar="ID", help="The `commandId` of an answer.")],
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Until nothing can change it any more.")] = False,
    timeout: Watching = None,
) -> None:
    """Show a receipt: each step it took, when and by which fact."""
    path = f"/commands/{in_path(command_id)}"
    door, receipt = services.knowing(path, nobody="neither service knows this command")
    if watch:
        end_with(services, wait_for_receipt(door, command_id, timeout=timeout))
    else:
        services.show(receipt, receipt_lines)
