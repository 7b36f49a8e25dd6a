"""`tandem fulfillment …`: what operators do, over the fulfillment service's REST door."""

from typing import Annotated

import typer

from deploy.commands import control, rest
from deploy.commands.options import EXIT_CODES, Cursor, FromFile, Limit, Watching, examples, group, shared
from deploy.commands.rest import Json, in_path
from deploy.commands.shown import clock, holds_of, money, more, table
from deploy.commands.subjects import FulfillmentService, Parcel
from deploy.commands.watching import end_with, wait_for_fulfillment
from deploy.commands.wishes import Because, Note, Sending, given

app = group("fulfillment", "Follow parcels through the warehouse, hold and move them.")

Step = Annotated[
    str | None,
    typer.Argument(
        metavar="[STEP]", help="pick:<line>, quality, pack, hand-over; the current one if left out."
    ),
]
Request = Annotated[str, typer.Argument(metavar="COMMAND", help="The `commandId` of the cancel.")]


@app.command(epilog=EXIT_CODES)
@shared()
def get(parcel: Parcel) -> None:
    """Show where a parcel stands."""
    parcel.show(parcel.read(), _parcel_lines)


@app.command("list", epilog=EXIT_CODES)
@shared()
def list_(
    service: FulfillmentService,
    *,
    status: Annotated[str | None, typer.Option(help="Only with this status, such as PAUSED.")] = None,
    stage: Annotated[str | None, typer.Option(help="Only at this stage, such as PICKING.")] = None,
    order: Annotated[str | None, typer.Option(help="Only of this order.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> None:
    """List parcels, newest first."""
    query = {"status": status, "stage": stage, "orderId": order, "limit": limit, "cursor": cursor}
    columns = ("fulfillmentId", "status", "stage", "currentStep", "percent")

    def lines(page: Json) -> list[str]:
        rows = table(columns, page["fulfillments"], none="No parcels.")
        return [*rows, *more(page, f"tandem fulfillment list --limit {limit}")]

    service.show(service.door.ask("GET", "/fulfillments", query=query), lines)


@app.command(epilog=EXIT_CODES)
@shared()
def watch(parcel: Parcel, *, timeout: Watching = None) -> None:
    """Follow a parcel until it ended or needs a person."""
    seen = wait_for_fulfillment(parcel.door, in_path(parcel.fulfillment_id), timeout=timeout)
    parcel.show(seen, lambda _: [])
    end_with(seen)


control.add(app, Parcel)


@app.command(epilog=examples("tandem fulfillment cancel ORD-… --reason damaged --wait"))
@shared()
def cancel(parcel: Parcel, wish: Sending, *, reason: Because = None, note: Note = None) -> None:
    """Cancel a parcel: its label is voided, its items go back to the shelf, and its order is told."""
    wish.send(parcel, "POST", "/cancel", given(reason=reason, note=note))


@app.command(
    epilog=examples(
        'tandem fulfillment address ORD-…-1 --street "456 New Street" --city "New City" --state NC '
        "--zip-code 54321 --country USA",
        "tandem fulfillment address ORD-…-1 --file address.json",
    )
)
@shared()
def address(
    parcel: Parcel,
    wish: Sending,
    *,
    street: Annotated[str | None, typer.Option()] = None,
    city: Annotated[str | None, typer.Option()] = None,
    state: Annotated[str | None, typer.Option()] = None,
    zip_code: Annotated[str | None, typer.Option()] = None,
    country: Annotated[str | None, typer.Option()] = None,
    file: FromFile = None,
) -> None:
    """Send a parcel somewhere else, until it is handed over."""
    parts = given(street=street, city=city, state=state, zipCode=zip_code, country=country) or {}
    if bool(parts) == (file is not None) or 0 < len(parts) < 5:
        raise typer.BadParameter("give --file, or all of --street --city --state --zip-code --country")
    wish.send(parcel, "PATCH", "/shipping-address", parts or rest.body_of(str(file)))


@app.command(
    epilog=examples("tandem fulfillment complete ORD-…-1 pick:1", "tandem fulfillment complete ORD-…-1")
)
@shared()
def complete(parcel: Parcel, wish: Sending, step: Step = None) -> None:
    """Say that a step of a parcel in manual mode is done."""
    wish.send(parcel, "POST", f"/steps/{in_path(step or _current_step(parcel))}/complete")


@app.command(epilog=examples("tandem fulfillment fail ORD-…-1 quality --reason broken"))
@shared()
def fail(
    parcel: Parcel, wish: Sending, step: Step = None, *, reason: Because = None, note: Note = None
) -> None:
    """Say that a step of a parcel in manual mode cannot be done."""
    path = f"/steps/{in_path(step or _current_step(parcel))}/fail"
    wish.send(parcel, "POST", path, given(reason=reason, note=note))


@app.command("accept-cancel", epilog=examples("tandem fulfillment accept-cancel ORD-…-1 0199… --wait"))
@shared()
def accept_cancel(
    parcel: Parcel, wish: Sending, request: Request, *, reason: Because = None, note: Note = None
) -> None:
    """Grant a cancel that was asked for: the parcel is taken apart."""
    path = f"/cancellation-requests/{in_path(request)}/accept"
    wish.send(parcel, "POST", path, given(reason=reason, note=note))


@app.command("reject-cancel", epilog=examples("tandem fulfillment reject-cancel ORD-…-1 0199… --note packed"))
@shared()
def reject_cancel(
    parcel: Parcel, wish: Sending, request: Request, *, reason: Because = None, note: Note = None
) -> None:
    """Refuse a cancel that was asked for: the parcel goes on, and the order is told."""
    path = f"/cancellation-requests/{in_path(request)}/reject"
    wish.send(parcel, "POST", path, given(reason=reason, note=note))


def _current_step(parcel: Parcel) -> str:
    seen = parcel.read()
    if not seen.get("currentStep"):
        problem = {"code": "STEP_NOT_OPEN", "detail": f"no step is open, it is {seen['status']}"}
        rest.refused(problem, parcel.as_json)
    return seen["currentStep"]


def _parcel_lines(seen: Json) -> list[str]:
    shown = [
        f"{seen['fulfillmentId']}  {seen['status']}",
        f"  stage    {seen['stage']}, {seen['stepsDone']} of {seen['stepsTotal']} steps, {seen['percent']} %",
        f"  items    {seen['itemsPicked']} of {seen['itemsTotal']}",
    ]
    trouble: Json = seen.get("exception") or {}
    costs: Json = seen.get("labelCosts") or {}
    more: Json = {
        "step": seen.get("currentStep"),
        "label": seen.get("trackingReference"),
        "costs": costs
        and f"labels {_cost(costs, 'bookedMinor')}, of that wasted {_cost(costs, 'wastedMinor')}",
        "holds": holds_of(seen),
        "cancels": ", ".join(map(_request, seen.get("cancellationRequests") or [])),
        "reason": trouble.get("code") or seen.get("failure"),
        "allowed": ", ".join(seen.get("allowedActions") or []),
    }
    return [*shown, *(f"  {name:<8} {value}" for name, value in more.items() if value)]


def _cost(costs: Json, name: str) -> str:
    return money(costs[name], costs.get("currency"))


def _request(asked: Json) -> str:
    until = f", to be answered by {clock(asked['answerBy'])}" if asked.get("answerBy") else ""
    return f"{asked['commandId']}{until}"
