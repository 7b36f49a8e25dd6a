"""`tandem exceptions …`: what waits for a person, in both services."""

from deploy.commands.options import EXIT_CODES, group, shared
from deploy.commands.rest import Json
from deploy.commands.shown import table
from deploy.commands.subjects import Services

app = group("exceptions", "See what waits for a person.")


@app.callback()
def exceptions() -> None:
    """See what waits for a person."""


@app.command("list", epilog=EXIT_CODES)
@shared()
def list_(services: Services) -> None:
    """List orders and parcels that need a person, longest waiting first, each with its next step."""
    orders, parcels = (door.ask("GET", "/exceptions")["exceptions"] for door in services.doors)
    services.show({"orders": orders, "fulfillments": parcels}, _lines)


def _lines(found: Json) -> list[str]:
    rows = [{**_row("order", each["orderId"], each), **each["attention"]} for each in found["orders"]] + [
        {**_row("fulfillment", each["fulfillmentId"], each), **each["exception"]}
        for each in found["fulfillments"]
    ]
    return table(("what", "status", "code", "since", "next"), rows, none="Nothing waits for a person.")


def _row(group: str, name: str, seen: Json) -> Json:
    next_step = f"tandem {group} explain {name}"
    return {"what": name, "status": seen["status"], "since": seen["updatedAt"], "next": next_step}
