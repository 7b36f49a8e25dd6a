"""`tandem standing-hold …`: everything that matches stands still until the hold is lifted."""

from typing import Annotated, Literal

import typer

from deploy.commands.options import EXIT_CODES, examples, group, shared
from deploy.commands.rest import Json, in_path
from deploy.commands.shown import table
from deploy.commands.subjects import FulfillmentService
from deploy.commands.wishes import Handle, Note, Reason, Sending, Until, given

app = group("standing-hold", "Freeze an article, a warehouse, a carrier, a country or a customer.")

Kind = Literal["sku", "warehouse", "carrier", "country", "customer"]


@app.command(
    epilog=examples(
        "tandem standing-hold place sku TEAPOT --reason QUALITY --handle teapots --note 'the lids crack'",
        "tandem standing-hold place carrier sandbox --reason CARRIER --until 4h",
    )
)
@shared()
def place(
    service: FulfillmentService,
    wish: Sending,
    kind: Annotated[Kind, typer.Argument(help="What the value is.", case_sensitive=False)],
    value: Annotated[str, typer.Argument(help="Such as TEAPOT, or USA.")],
    *,
    reason: Reason,
    handle: Handle = None,
    note: Note = None,
    until: Until = None,
) -> None:
    """No parcel that matches begins a step from now on, whether it is under way or still to come."""
    body = given(kind=kind, value=value, reason=reason, handle=handle, note=note, until=until)
    wish.send(service, "POST", "/standing-holds", body)


@app.command("list", epilog=EXIT_CODES)
@shared()
def list_(
    service: FulfillmentService,
    *,
    lifted: Annotated[bool, typer.Option("--all", help="The lifted ones too.")] = False,
) -> None:
    """List the standing holds, newest first, and how many parcels wait for each."""
    columns = ("handle", "status", "kind", "value", "reason", "holder", "parcels", "until")

    def lines(found: Json) -> list[str]:
        return table(columns, found["standingHolds"], none="No standing holds.")

    service.show(service.door.ask("GET", "/standing-holds", query={"all": "true" if lifted else None}), lines)


@app.command(epilog=examples("tandem standing-hold lift teapots --drain-per-second 5"))
@shared()
def lift(
    service: FulfillmentService,
    wish: Sending,
    handle: Annotated[str, typer.Argument(help="The name it was placed under; `list` shows it.")],
    *,
    drain_per_second: Annotated[
        float | None,
        typer.Option(
            "--drain-per-second", min=0.01, help="So many parcels go on each second, not all at once."
        ),
    ] = None,
) -> None:
    """Parcels that only this hold kept go on, each with the very step it stopped before."""
    wish.send(service, "DELETE", f"/standing-holds/{in_path(handle)}", drainPerSecond=drain_per_second)
