"""`tandem order …`: what a shop does, over the order service's REST door."""

from typing import Annotated, Literal

import typer

from deploy.commands import rest
from deploy.commands.rest import (
    AsJson,
    FromFile,
    Json,
    Key,
    OrderUrl,
    Timeout,
    Watching,
    in_path,
    order_service,
    say,
)
from deploy.commands.shown import receipt_lines, table
from deploy.commands.watching import needs_person, wait_for_order

app = rest.group("order", "Place orders, follow them, change and cancel them.")

Scenario = Literal[
    "happy", "manual", "declined", "out-of-stock", "payment-timeout", "payment-flaky", "capture-refused",
    "label-refused", "label-timeout",
]  # fmt: skip
Speed = Literal["instant", "fast", "normal", "slow"]
OrderId = Annotated[str, typer.Argument(metavar="ID", help="Order id or workflow id.", show_default=False)]

_CREATE = f"""Examples:\n
tandem order create --demo --wait\n
tandem order create --demo --scenario declined --speed instant --json\n
tandem order create --file order.json --idempotency-key basket-4711\n\n{rest.EXIT_CODES}"""


@app.command(epilog=_CREATE)
def create(
    *,
    demo: Annotated[bool, typer.Option("--demo", help="An order of a customer who does not exist.")] = False,
    scenario: Annotated[Scenario | None, typer.Option(help="What the simulated world makes of it.")] = None,
    speed: Annotated[Speed | None, typer.Option(help="Pace of the simulated warehouse.")] = None,
    file: FromFile = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until it ended or needs a person.")] = False,
    timeout: Timeout = 120.0,
    key: Key = None,
    as_json: AsJson = False,
    order_url: OrderUrl = None,
) -> None:
    """Place an order: a demo, or the one in a file."""
    wants_demo = demo or scenario is not None or speed is not None
    if wants_demo == (file is not None):
        raise typer.BadParameter("choose one of --demo and --file", param_hint="--demo / --file")
    door = order_service(order_url, as_json)
    if file is None:
        placed = door.ask("POST", "/orders/demo", query={"scenario": scenario, "speed": speed}, key=key)
    else:
        placed = door.ask("POST", "/orders", body=rest.body_of(file), key=key)
    if not as_json:
        say(f"{placed['orderId']} placed")
    if wait:
        placed |= wait_for_order(door, placed["orderId"], timeout=timeout)
    if as_json:
        rest.print_json(placed)
    elif wait:
        _say_end(placed)
    else:
        say(f"Next: tandem order watch {placed['orderId']}")


@app.command(epilog=rest.EXIT_CODES)
def get(order_id: OrderId, *, as_json: AsJson = False, order_url: OrderUrl = None) -> None:
    """Show where an order stands, its parcel included."""
    seen = order_service(order_url, as_json).ask("GET", f"/orders/{in_path(order_id)}")
    if as_json:
        rest.print_json(seen)
    else:
        say(*_order_lines(seen))


@app.command("list", epilog=rest.EXIT_CODES)
def list_(
    *,
    status: Annotated[
        str | None, typer.Option(help="Only with this status, such as CANCEL_REQUESTED.")
    ] = None,
    stage: Annotated[str | None, typer.Option(help="Only at this stage, such as SHIPPED.")] = None,
    customer: Annotated[str | None, typer.Option(help="Only of this customer.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many, newest first.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="The `next` of the page before.")] = None,
    as_json: AsJson = False,
    order_url: OrderUrl = None,
) -> None:
    """List orders, newest first."""
    query = {"status": status, "stage": stage, "customerId": customer, "limit": limit, "cursor": cursor}
    page = order_service(order_url, as_json).ask("GET", "/orders", query=query)
    if as_json:
        rest.print_json(page)
        return
    columns = ("orderId", "status", "stage", "paymentStatus", "placedAt")
    say(*table(columns, page["orders"], none="No orders."))
    if "next" in page:
        say(f"More: tandem order list --limit {limit} --cursor {page['next']}")


@app.command(epilog=rest.EXIT_CODES)
def watch(
    order_id: OrderId,
    *,
    timeout: Watching = None,
    as_json: AsJson = False,
    order_url: OrderUrl = None,
) -> None:
    """Follow an order until it ended or needs a person."""
    seen = wait_for_order(order_service(order_url, as_json), in_path(order_id), timeout=timeout)
    if as_json:
        rest.print_json(seen)
    else:
        _say_end(seen)


@app.command(epilog=rest.EXIT_CODES)
def cancel(
    order_id: OrderId,
    *,
    reason: Annotated[str, typer.Option(help="Why, for the audit trail.")],
    key: Key = None,
    as_json: AsJson = False,
    order_url: OrderUrl = None,
) -> None:
    """Cancel an order; CANCELLED appears once money and stock are settled."""
    door = order_service(order_url, as_json)
    _receipt(door.ask("DELETE", f"/orders/{in_path(order_id)}", body={"reason": reason}, key=key), as_json)


@app.command(epilog=rest.EXIT_CODES)
def pause(order_id: OrderId, *, key: Key = None, as_json: AsJson = False, order_url: OrderUrl = None) -> None:
    """Keep the order's parcel from beginning another step; also before it exists."""
    door = order_service(order_url, as_json)
    _receipt(door.ask("POST", f"/orders/{in_path(order_id)}/fulfillment/pause", key=key), as_json)


@app.command(epilog=rest.EXIT_CODES)
def resume(
    order_id: OrderId, *, key: Key = None, as_json: AsJson = False, order_url: OrderUrl = None
) -> None:
    """Let the parcel go on with the very step it stopped before."""
    door = order_service(order_url, as_json)
    _receipt(door.ask("POST", f"/orders/{in_path(order_id)}/fulfillment/resume", key=key), as_json)


@app.command(
    epilog=f"""Example:\n
echo '{{"instructions": "ring twice"}}' | tandem order update ORD-… --file -\n\n{rest.EXIT_CODES}"""
)
def update(
    order_id: OrderId,
    *,
    file: Annotated[
        str, typer.Option("--file", "-f", metavar="FILE|-", help="JSON body; - is standard input.")
    ],
    key: Key = None,
    as_json: AsJson = False,
    order_url: OrderUrl = None,
) -> None:
    """Change contact, shippingAddress or instructions; id, lines and total never change."""
    door, body = order_service(order_url, as_json), rest.body_of(file)
    _receipt(door.ask("PATCH", f"/orders/{in_path(order_id)}", body=body, key=key), as_json)


def _receipt(receipt: Json, as_json: bool) -> None:
    if as_json:
        rest.print_json(receipt)
    else:
        say(*receipt_lines(receipt))


def _say_end(seen: Json) -> None:
    """What the last line of the progress cannot say: why."""
    if seen.get("failure"):
        say(f"Failed: {seen['failure']}")
    if needs_person(seen):
        say(f"Needs a person: {seen.get('attention') or 'see `tandem fulfillment get`'}")


def _order_lines(seen: Json) -> list[str]:
    lines = ", ".join(f"{line['quantity']} x {line['sku']}" for line in seen["lines"])
    done = f"{seen['stepsDone']} of {seen['stepsTotal']} done, {seen['percent']} %"
    shown = [
        f"{seen['orderId']}  {seen['status']}",
        f"  step     {seen['currentStep']}, {done}",
        f"  payment  {seen['paymentStatus']}, {seen['totalMinor']} minor units {seen['currency']}",
        f"  lines    {lines}",
        f"  placed   {seen['placedAt']}, changed {seen['updatedAt']}",
    ]
    if parcel := seen.get("fulfillment"):
        items = f", {parcel['itemsPicked']} of {parcel['itemsTotal']} items" if "itemsTotal" in parcel else ""
        shown.append(f"  parcel   {parcel['fulfillmentId']} {parcel['status']}{items}, {parcel['percent']} %")
    if seen.get("attention") or seen.get("failure"):
        shown.append(f"  reason   {seen.get('attention') or seen['failure']}")
    if seen.get("allowedActions"):
        shown.append(f"  allowed  {', '.join(seen['allowedActions'])}")
    return shown
