"""`tandem fulfillment …`: what operators do, over the fulfillment service's REST door."""

from typing import Annotated

import typer

from deploy.commands import rest
from deploy.commands.rest import (
    AsJson,
    Door,
    FulfillmentUrl,
    Json,
    Key,
    Watching,
    fulfillment_service,
    in_path,
    say,
)
from deploy.commands.shown import receipt_lines, table
from deploy.commands.watching import wait_for_fulfillment

app = rest.group("fulfillment", "Follow parcels through the warehouse, hold and move them.")

FulfillmentId = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="Fulfillment, workflow or order id (its newest parcel).", show_default=False
    ),
]
Reason = Annotated[str | None, typer.Option(help="Why, for the audit trail.")]
_ADDRESS = f"""Examples:\n
tandem fulfillment address ORD-…-1 --street "456 New Street" --city "New City" --state NC --zip-code 54321
--country USA\n
tandem fulfillment address ORD-…-1 --file address.json\n\n{rest.EXIT_CODES}"""
_COMPLETE = f"""Examples:\n
tandem fulfillment complete ORD-…-1 pick:1\n
tandem fulfillment complete ORD-…-1\n\n{rest.EXIT_CODES}"""


@app.command(epilog=rest.EXIT_CODES)
def get(
    fulfillment_id: FulfillmentId, as_json: AsJson = False, fulfillment_url: FulfillmentUrl = None
) -> None:
    """Show where a parcel stands."""
    seen = fulfillment_service(fulfillment_url, as_json).ask(
        "GET", f"/fulfillments/{in_path(fulfillment_id)}"
    )
    if as_json:
        rest.print_json(seen)
    else:
        say(*_parcel_lines(seen))


@app.command("list", epilog=rest.EXIT_CODES)
def list_(
    *,
    status: Annotated[str | None, typer.Option(help="Only with this status, such as PAUSED.")] = None,
    stage: Annotated[str | None, typer.Option(help="Only at this stage, such as PICKING.")] = None,
    order: Annotated[str | None, typer.Option(help="Only of this order.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many, newest first.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="The `next` of the page before.")] = None,
    as_json: AsJson = False,
    fulfillment_url: FulfillmentUrl = None,
) -> None:
    """List parcels, newest first."""
    query = {"status": status, "stage": stage, "orderId": order, "limit": limit, "cursor": cursor}
    page = fulfillment_service(fulfillment_url, as_json).ask("GET", "/fulfillments", query=query)
    if as_json:
        rest.print_json(page)
        return
    columns = ("fulfillmentId", "status", "stage", "currentStep", "percent")
    say(*table(columns, page["fulfillments"], none="No parcels."))
    if "next" in page:
        say(f"More: tandem fulfillment list --limit {limit} --cursor {page['next']}")


@app.command(epilog=rest.EXIT_CODES)
def watch(
    fulfillment_id: FulfillmentId,
    *,
    timeout: Watching = None,
    as_json: AsJson = False,
    fulfillment_url: FulfillmentUrl = None,
) -> None:
    """Follow a parcel until it ended or needs a person."""
    door = fulfillment_service(fulfillment_url, as_json)
    seen = wait_for_fulfillment(door, in_path(fulfillment_id), timeout=timeout)
    if as_json:
        rest.print_json(seen)


@app.command(epilog=rest.EXIT_CODES)
def pause(
    fulfillment_id: FulfillmentId,
    *,
    reason: Reason = None,
    key: Key = None,
    as_json: AsJson = False,
    fulfillment_url: FulfillmentUrl = None,
) -> None:
    """Keep a parcel from beginning another step."""
    _wish(
        fulfillment_service(fulfillment_url, as_json),
        "POST",
        f"{in_path(fulfillment_id)}/pause",
        _because(reason),
        key,
    )


@app.command(epilog=rest.EXIT_CODES)
def resume(
    fulfillment_id: FulfillmentId,
    *,
    key: Key = None,
    as_json: AsJson = False,
    fulfillment_url: FulfillmentUrl = None,
) -> None:
    """Let a parcel go on with the very step it stopped before."""
    _wish(
        fulfillment_service(fulfillment_url, as_json), "POST", f"{in_path(fulfillment_id)}/resume", None, key
    )


@app.command(epilog=rest.EXIT_CODES)
def cancel(
    fulfillment_id: FulfillmentId,
    *,
    reason: Annotated[str, typer.Option(help="Why, for the audit trail.")],
    key: Key = None,
    as_json: AsJson = False,
    fulfillment_url: FulfillmentUrl = None,
) -> None:
    """Cancel a parcel: its label is voided, its items go back to the shelf, and its order is told."""
    _wish(
        fulfillment_service(fulfillment_url, as_json),
        "POST",
        f"{in_path(fulfillment_id)}/cancel",
        {"reason": reason},
        key,
    )


@app.command(epilog=_ADDRESS)
def address(
    fulfillment_id: FulfillmentId,
    *,
    street: Annotated[str | None, typer.Option()] = None,
    city: Annotated[str | None, typer.Option()] = None,
    state: Annotated[str | None, typer.Option()] = None,
    zip_code: Annotated[str | None, typer.Option()] = None,
    country: Annotated[str | None, typer.Option()] = None,
    file: rest.FromFile = None,
    key: Key = None,
    as_json: AsJson = False,
    fulfillment_url: FulfillmentUrl = None,
) -> None:
    """Send a parcel somewhere else, until it is handed over."""
    parts = {"street": street, "city": city, "state": state, "zipCode": zip_code, "country": country}
    given = {name: part for name, part in parts.items() if part is not None}
    if bool(given) == (file is not None) or 0 < len(given) < len(parts):
        raise typer.BadParameter("give --file, or all of --street --city --state --zip-code --country")
    body = given if file is None else rest.body_of(file)
    _wish(
        fulfillment_service(fulfillment_url, as_json),
        "PATCH",
        f"{in_path(fulfillment_id)}/shipping-address",
        body,
        key,
    )


@app.command(epilog=_COMPLETE)
def complete(
    fulfillment_id: FulfillmentId,
    step: Annotated[
        str | None, typer.Argument(help="pick:<line>, quality, pack; the current one if left out.")
    ] = None,
    key: Key = None,
    as_json: AsJson = False,
    fulfillment_url: FulfillmentUrl = None,
) -> None:
    """Say that a step of a parcel in manual mode is done."""
    door = fulfillment_service(fulfillment_url, as_json)
    step = step or _current_step(door, fulfillment_id)
    _wish(door, "POST", f"{in_path(fulfillment_id)}/steps/{in_path(step)}/complete", None, key)


@app.command(epilog=rest.EXIT_CODES)
def fail(
    fulfillment_id: FulfillmentId,
    step: Annotated[str | None, typer.Argument(help="The current one if left out.")] = None,
    *,
    reason: Reason = None,
    key: Key = None,
    as_json: AsJson = False,
    fulfillment_url: FulfillmentUrl = None,
) -> None:
    """Say that a step of a parcel in manual mode cannot be done."""
    door = fulfillment_service(fulfillment_url, as_json)
    step = step or _current_step(door, fulfillment_id)
    _wish(door, "POST", f"{in_path(fulfillment_id)}/steps/{in_path(step)}/fail", _because(reason), key)


def _wish(door: Door, method: str, path: str, body: object, key: str | None) -> None:
    """The wish is sent and its receipt shown."""
    receipt = door.ask(method, f"/fulfillments/{path}", body=body, key=key)
    if door.as_json:
        rest.print_json(receipt)
    else:
        say(*receipt_lines(receipt))


def _because(reason: str | None) -> Json | None:
    return None if reason is None else {"reason": reason}


def _current_step(door: Door, fulfillment_id: str) -> str:
    seen = door.ask("GET", f"/fulfillments/{in_path(fulfillment_id)}")
    if not seen.get("currentStep"):
        problem = {"code": "STEP_NOT_OPEN", "detail": f"no step is open, it is {seen['status']}"}
        rest.refused(problem, door.as_json)
    return seen["currentStep"]


def _parcel_lines(seen: Json) -> list[str]:
    shown = [
        f"{seen['fulfillmentId']}  {seen['status']}",
        f"  stage    {seen['stage']}, {seen['stepsDone']} of {seen['stepsTotal']} steps, {seen['percent']} %",
        f"  items    {seen['itemsPicked']} of {seen['itemsTotal']}",
    ]
    trouble: Json = seen.get("exception") or {}
    holds: list[Json] = seen.get("holds") or []
    more: Json = {
        "step": seen.get("currentStep"),
        "label": seen.get("trackingReference"),
        "holds": ", ".join(f"{hold['reason']} ({hold['handle']})" for hold in holds),
        "reason": trouble.get("code") or seen.get("failure"),
        "allowed": ", ".join(seen.get("allowedActions") or []),
    }
    return [*shown, *(f"  {name:<8} {value}" for name, value in more.items() if value)]
