"""`tandem order …`: what a shop does, over the order service's REST door."""

from typing import Annotated, Literal

import typer

from deploy.commands import control, rest
from deploy.commands.options import (
    EXIT_CODES,
    Cursor,
    FromFile,
    Key,
    Limit,
    Timeout,
    Watching,
    examples,
    group,
    shared,
)
from deploy.commands.rest import Json, in_path, say
from deploy.commands.shown import holds_of, more, rehearsal_lines, table
from deploy.commands.subjects import Order, OrderService, Subject
from deploy.commands.watching import end_with, needs_person, wait_for_order
from deploy.commands.wishes import DryRun, Sending

app = group("order", "Place orders, follow them, hold, change and cancel them.")

Scenario = Literal[
    "happy", "manual", "declined", "out-of-stock", "payment-timeout", "payment-flaky", "capture-refused",
    "label-refused", "label-timeout",
]  # fmt: skip
Speed = Literal["instant", "fast", "normal", "slow"]


@app.command(
    epilog=examples(
        "tandem order create --demo --wait",
        "tandem order create --demo --scenario declined --speed instant --json",
        "tandem order create --file order.json --key basket-4711",
    )
)
@shared()
def create(
    service: OrderService,
    *,
    demo: Annotated[bool, typer.Option("--demo", help="An order of a customer who does not exist.")] = False,
    scenario: Annotated[Scenario | None, typer.Option(help="What the simulated world makes of it.")] = None,
    speed: Annotated[Speed | None, typer.Option(help="Pace of the simulated warehouse.")] = None,
    file: FromFile = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until it ended or needs a person.")] = False,
    timeout: Timeout = 120.0,
    dry_run: DryRun = False,
    key: Key = None,
) -> None:
    """Place an order: a demo, or the one in a file."""
    wants_demo = demo or scenario is not None or speed is not None
    if wants_demo == (file is not None):
        raise typer.BadParameter("choose one of --demo and --file", param_hint="--demo / --file")
    door, headers = service.door, {"Idempotency-Key": key}
    query = {"scenario": scenario, "speed": speed, "dryRun": "true" if dry_run else None}
    path, body = ("/orders/demo", None) if file is None else ("/orders", rest.body_of(file))
    placed = door.ask("POST", path, body=body, query=query, headers=headers)
    if dry_run:
        service.show(placed, rehearsal_lines)
        return
    order_id = placed["orderId"]
    if not wait:
        service.show(placed, lambda _: [f"{order_id} placed", f"Next: tandem order watch {order_id}"])
        return
    if not service.as_json:
        say(f"{order_id} placed")
    _end(service, placed | wait_for_order(door, order_id, timeout=timeout))


@app.command(epilog=EXIT_CODES)
@shared()
def get(order: Order) -> None:
    """Show where an order stands, its parcel included."""
    order.show(order.read(), _order_lines)


@app.command("list", epilog=EXIT_CODES)
@shared()
def list_(
    service: OrderService,
    *,
    status: Annotated[
        str | None, typer.Option(help="Only with this status, such as CANCEL_REQUESTED.")
    ] = None,
    stage: Annotated[str | None, typer.Option(help="Only at this stage, such as SHIPPED.")] = None,
    customer: Annotated[str | None, typer.Option(help="Only of this customer.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> None:
    """List orders, newest first."""
    query = {"status": status, "stage": stage, "customerId": customer, "limit": limit, "cursor": cursor}
    columns = ("orderId", "status", "stage", "paymentStatus", "placedAt")

    def lines(page: Json) -> list[str]:
        rows = table(columns, page["orders"], none="No orders.")
        return [*rows, *more(page, f"tandem order list --limit {limit}")]

    service.show(service.door.ask("GET", "/orders", query=query), lines)


@app.command(epilog=EXIT_CODES)
@shared()
def watch(order: Order, *, timeout: Watching = None) -> None:
    """Follow an order until it ended or needs a person."""
    _end(order, wait_for_order(order.door, in_path(order.order_id), timeout=timeout))


control.add(app, Order)


@app.command(epilog=examples("tandem order cancel ORD-… --reason 'changed my mind' --wait"))
@shared()
def cancel(
    order: Order, wish: Sending, *, reason: Annotated[str, typer.Option(help="Why, for the audit trail.")]
) -> None:
    """Cancel an order; CANCELLED appears once money and stock are settled."""
    wish.send(order, "DELETE", "", {"reason": reason})


@app.command(
    epilog=examples("""echo '{"instructions": "ring twice"}' | tandem order update ORD-… --file -""")
)
@shared()
def update(
    order: Order,
    wish: Sending,
    *,
    file: Annotated[
        str, typer.Option("--file", "-f", metavar="FILE|-", help="JSON body; - is standard input.")
    ],
) -> None:
    """Change contact, shippingAddress or instructions; id, lines and total never change."""
    wish.send(order, "PATCH", "", rest.body_of(file))


def _end(about: Subject, seen: Json) -> None:
    """The process ends with what became of the order."""
    about.show(seen, _why)
    end_with(seen)


def _why(seen: Json) -> list[str]:
    """What the last line of the progress cannot say."""
    if seen.get("failure"):
        return [f"Failed: {seen['failure']}"]
    if needs_person(seen):
        return [
            f"Needs a person: {seen.get('attention') or 'its parcel'}",
            f"Next: tandem {'order' if seen.get('attention') else 'fulfillment'} explain {seen['orderId']}",
        ]
    return []


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
    if seen.get("holds"):
        shown.append(f"  holds    {holds_of(seen)}")
    if seen.get("attention") or seen.get("failure"):
        shown.append(f"  reason   {seen.get('attention') or seen['failure']}")
    if seen.get("allowedActions"):
        shown.append(f"  allowed  {', '.join(seen['allowedActions'])}")
    return shown
