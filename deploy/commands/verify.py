"""`tandem verify`: event store, projections, Kafka log and workflows of a live system tell the same story."""

import os
from typing import Annotated

import typer

from deploy.commands import rest
from deploy.commands.options import AsJson, examples

app = typer.Typer()

BROKEN = 1
_TEMPORAL = ("TEMPORAL_CONFIG_FILE", "TEMPORAL_ADDRESS")


@app.command(epilog=examples("tandem verify", "tandem verify ORD-… --json"))
def verify(
    *,
    order: Annotated[
        str | None, typer.Argument(metavar="[ORDER]", help="One order; all of them if not given.")
    ] = None,
    orders_db: Annotated[
        str | None,
        typer.Option(
            envvar="TANDEM_ORDERS_POSTGRES_URL", help="The orders' database.", show_default="running stack"
        ),
    ] = None,
    fulfillments_db: Annotated[
        str | None,
        typer.Option(
            envvar="TANDEM_FULFILLMENTS_POSTGRES_URL",
            help="The fulfillments' database.",
            show_default="running stack",
        ),
    ] = None,
    kafka: Annotated[
        str | None,
        typer.Option(
            envvar="TANDEM_KAFKA_SERVERS", help="HOST:PORT of the broker.", show_default="running stack"
        ),
    ] = None,
    temporal: Annotated[
        str | None, typer.Option(help="HOST:PORT of Temporal.", show_default="running stack")
    ] = None,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds for what is still on its way between the services.")
    ] = 10.0,
    as_json: AsJson = False,
) -> None:
    """Compare what is stored with what is shown, told to Kafka, taken in and run; exit code 1 if they differ.

    It only reads: databases, topics and the state of workflows."""
    # Drivers that only this command needs.
    from contracts.chassis.errors import Unavailable  # noqa: PLC0415
    from contracts.order import order_id_of  # noqa: PLC0415
    from deploy.verify.judging import Where, verify  # noqa: PLC0415

    where = Where(
        orders_url=orders_db or rest.address("TANDEM_ORDERS_POSTGRES_URL"),
        fulfillments_url=fulfillments_db or rest.address("TANDEM_FULFILLMENTS_POSTGRES_URL"),
        kafka=kafka or rest.address("TANDEM_KAFKA_SERVERS"),
        temporal=_temporal(temporal),
    )
    try:
        report = verify(where, order_id_of(order) if order else None, patience=patience)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="ORDER") from error
    except KeyError:
        rest.refused({"code": "NOT_FOUND", "detail": f"no order {order}"}, as_json)
    except Unavailable as error:
        rest.unreachable("system to verify", str(error), as_json)
    if as_json:
        rest.print_json(report.as_json())
    else:
        rest.say(*[f"{found.invariant}: {found.evidence}" for found in report.violations])
        seen = ", ".join(f"{count} {what}" for what, count in report.exercised.items())
        rest.say(f"{seen}: {len(report.violations) or 'no'} violations in {report.seconds:.1f} s")
    if report.violations:
        raise typer.Exit(BROKEN)


def _temporal(given: str | None) -> dict[str, str]:
    """Temporal's own variables: as given, else the environment's, else the running stack's."""
    if given:
        return {"TEMPORAL_ADDRESS": given, "TEMPORAL_CONFIG_FILE": os.devnull}
    if any(name in os.environ for name in _TEMPORAL):
        return {}
    return {name: found for name in _TEMPORAL if (found := rest.described(name))}
