"""`tandem reconcile …`: what the reconcilers of both services found, and what they did about it."""

from typing import Annotated

import typer

from deploy.commands.options import EXIT_CODES, group, shared
from deploy.commands.rest import Json
from deploy.commands.shown import table
from deploy.commands.subjects import Services

app = group("reconcile", "See what the reconcilers found.")


@app.callback()
def reconcile() -> None:
    """See what the reconcilers found."""


@app.command("list", epilog=EXIT_CODES)
@shared()
def list_(
    services: Services,
    subject: Annotated[str | None, typer.Option(help="Only of this order or parcel.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, max=200, help="At most so many of each.")] = None,
) -> None:
    """List what did not add up and what was done about it, newest first, and when each service looked."""
    query = {"subject": subject, "limit": limit}
    orders, parcels = (door.ask("GET", "/ops/reconciliations", query=query) for door in services.doors)
    services.show({"orders": orders, "fulfillments": parcels}, _lines)


def _lines(found: Json) -> list[str]:
    rows = [
        {**each, "service": service, "exception": each["exceptionId"]}
        for service in ("orders", "fulfillments")
        for each in found[service]["reconciliations"]
    ]
    newest = sorted(rows, key=lambda row: row["at"], reverse=True)
    columns = ("at", "service", "kind", "subject", "action", "exception")
    looked = ", ".join(f"{service} at {told['lookedAt']}" for service, told in found.items())
    return [*table(columns, newest, none="Nothing was found that did not add up."), f"Looked: {looked}"]
