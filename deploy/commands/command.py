"""`tandem command …`: what became of a wish, whichever service knows it."""

from typing import Annotated

import typer

from deploy.commands import rest
from deploy.commands.options import Watching, examples, group, shared
from deploy.commands.rest import Door, Json, NoAnswer, in_path
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
    door, receipt = _found(services, command_id)
    if watch:
        end_with(services, wait_for_receipt(door, command_id, timeout=timeout))
    else:
        services.show(receipt, receipt_lines)


def _found(services: Services, command_id: str) -> tuple[Door, Json]:
    """The receipt and who has it. Ends the process when neither service does."""
    silent: list[Door] = []
    problem: Json = {}
    for door in services.doors:
        try:
            answer = door.send("GET", f"/commands/{in_path(command_id)}")
        except NoAnswer:
            silent.append(door)
            continue
        if answer.status_code < 400:
            return door, answer.json()
        problem = rest.problem_of(answer)
        if problem["code"] != "NOT_FOUND":
            rest.refused(problem, services.as_json)
    if silent:
        # The other one does not know the wish, so the silent one has to be heard before the answer is no.
        rest.unreachable(silent[0].name, silent[0].url, services.as_json)
    return rest.refused({**problem, "detail": "neither service knows this command"}, services.as_json)
