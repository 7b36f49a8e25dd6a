"""`tandem command …`: what became of a wish, whichever service knows it."""

from typing import Annotated

import typer

from deploy.commands import rest
from deploy.commands.rest import AsJson, FulfillmentUrl, NoAnswer, OrderUrl, in_path, say
from deploy.commands.shown import receipt_lines

app = rest.group("command", "Ask what became of a wish.")


@app.callback()
def command() -> None:
    """Ask what became of a wish."""


@app.command(epilog=rest.EXIT_CODES)
def show(
    command_id: Annotated[str, typer.Argument(metavar="ID", help="The `commandId` of an answer.")],
    as_json: AsJson = False,
    order_url: OrderUrl = None,
    fulfillment_url: FulfillmentUrl = None,
) -> None:
    """Show a receipt; the order service is asked first, then the fulfillment service."""
    doors = (
        rest.order_service(order_url, as_json),
        rest.fulfillment_service(fulfillment_url, as_json),
    )
    silent: list[rest.Door] = []
    problem: rest.Json = {}
    for door in doors:
        try:
            answer = door.send("GET", f"/commands/{in_path(command_id)}")
        except NoAnswer:
            silent.append(door)
            continue
        if answer.status_code < 400:
            receipt = answer.json()
            if as_json:
                rest.print_json(receipt)
            else:
                say(f"{receipt['name']} by {receipt['actor']}, {receipt['stream']}", *receipt_lines(receipt))
            return
        problem = rest.problem_of(answer)
        if problem["code"] != "NOT_FOUND":
            rest.refused(problem, as_json)
    if silent:
        # The other one does not know the wish, so the silent one has to be heard before the answer is no.
        rest.unreachable(silent[0].name, silent[0].url, as_json)
    rest.refused({**problem, "detail": "neither service knows this command"}, as_json)
