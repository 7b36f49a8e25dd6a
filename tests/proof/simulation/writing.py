"""What a simulated run leaves behind, as the record that the checks judge."""

import json
from typing import Any, TypeVar

import fulfillment_service.bootstrap as fulfillment_bootstrap
import order_service.bootstrap as order_bootstrap
from contracts import fulfillment, order
from contracts.chassis.event_store import Change, Journal
from contracts.chassis.event_store import Fact as AnyFact
from tests.proof import recording
from tests.proof.record import (
    Effect,
    Ended,
    Fact,
    Level,
    Published,
    ReceiptRow,
    Record,
    Service,
    View,
    Waiting,
)
from tests.proof.simulation.database import Row
from tests.proof.simulation.house import House, Side
from tests.proof.simulation.providers import Entry
from tests.proof.simulation.runner import unpacked
from tests.proof.simulation.temporal import Status

S = TypeVar("S")
F = TypeVar("F", bound=AnyFact)


def write(record: Record, house: House) -> None:
    """Everything that both services, the providers and Temporal know is in the record."""
    record.troubles += house.server.troubles
    record.undelivered = house.orders.machinery.undelivered + house.parcels.machinery.undelivered
    _write_side(record, "orders", house.orders)
    _write_side(record, "fulfillments", house.parcels)
    record.facts.sort(key=lambda fact: fact.place)
    record.effects += [_effect(each) for each in house.payments.ledger]
    record.effects += [_effect(each, void="void-label") for each in house.carrier.ledger]
    record.workflows = [
        Ended(
            each.run.workflow_id,
            each.status.value,
            unpacked(each.result, str) if each.result is not None else None,
            each.length,
        )
        for each in house.server.executions
        if each.status is not Status.CONTINUED
    ]


def write_topics(record: Record, house: House) -> None:
    """What the topics hold, and what each service took in of the other's."""
    for place, records in house.broker.partitions.items():
        if place.topic.endswith(".dlq"):
            continue
        for each in records:
            told = {name: value.decode() for name, value in each.headers}
            sequence = int(told["ce_sequence"])
            record.published.append(
                Published(place.topic, told["ce_subject"], sequence, told["ce_id"], each.value)
            )
    sides: tuple[tuple[Service, Side], ...] = (("orders", house.orders), ("fulfillments", house.parcels))
    for service, side in sides:
        for row in side.database.tables.all("inbox"):
            record.applied.append((service, row["stream"], row["sequence"]))
        for row in side.database.tables.all("pii"):
            if row["kind"] in ("address", "contact"):
                record.personal |= {
                    str(said) for name, said in row["content"].items() if name in _PERSONAL and said
                }


def write_views(record: Record, house: House) -> None:
    """What both projections show of their own and of the other's facts, and what these add up to."""
    # New journals, which remember nothing: the whole log is read and folded once more.
    orders = order_bootstrap.journal_of(house.orders.real_database)
    parcels = fulfillment_bootstrap.journal_of(house.parcels.real_database)
    with_parcels = {row["order_id"]: row for row in house.parcels.database.tables.all("fulfillment_view")}
    for row in house.orders.database.tables.all("order_view"):
        read = house.scheduler.run(
            _folded(record, order.stream(row["order_id"]), house.order_journal, orders)
        )
        parcel, shown = with_parcels.get(row["order_id"]), _shown(row)
        if read is None:
            continue
        folded = {"version": read.version, "status": read.state.status, "step": read.state.step}
        folded["fulfillment_sequence"] = parcel["version"] if parcel else 0
        shown["fulfillment_sequence"] = row.get("fulfillment_sequence", 0)
        record.views.append(View("orders", row["order_id"], shown, folded))
        heard = house.parcels.database.tables.get("order_view", row["order_id"]) or {}
        theirs = {"sequence": heard.get("sequence"), "status": heard.get("status")}
        told = {"sequence": read.version, "status": read.state.status}
        record.views.append(View("fulfillments", row["order_id"], theirs, told))
    for row in with_parcels.values():
        stream = fulfillment.stream(row["fulfillment_id"])
        found = house.scheduler.run(_folded(record, stream, house.parcel_journal, parcels))
        if found is not None:
            folded = {"version": found.version, "status": found.state.status, "step": found.state.step}
            record.views.append(View("fulfillments", row["fulfillment_id"], _shown(row), folded))


async def _folded(
    record: Record, stream: str, known: Journal[S, F], anew: Journal[S, F]
) -> Change[S, F] | None:
    """The stream as it is read anew; a trouble of the run when it was known as something else."""
    read = await anew.read(stream)
    if read != await known.read(stream):
        record.troubles.append(f"{stream} folds to something else than before")
    return read


def _shown(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in ("version", "status", "step")}


_PERSONAL = ("street", "name", "email", "phone")


def _write_side(record: Record, service: Service, side: Side) -> None:
    tables = side.database.tables
    for row in tables.all("events"):
        # A standing hold is about no order, and told to nobody.
        if not row["stream"].startswith(("order-", "fulfillment-")):
            continue
        record.facts.append(
            Fact(
                service,
                row["stream"],
                row["version"],
                row["type"],
                json.loads(row["data"]),
                row["command_id"],
                row["recorded_at"],
                row["place"],
                recording.trace_of(row["traceparent"]),
            )
        )
    for row in tables.all("receipts"):
        names = (
            "command_id", "name", "stream", "status", "code", "cut_off", "first_version", "last_version"
        )  # fmt: skip
        record.receipts.append(ReceiptRow(service, *(row[name] for name in names)))
    for row in tables.all("pii"):
        if row["kind"] == "address":
            record.addresses[row["ref"], row["version"]] = row["content"]
    for row in tables.all("exceptions"):
        told = (row["stream"], str(row["code"]), row["step"], row["resolved_at"] is None)
        record.exceptions.append(Waiting(service, *told, row["fault"] == "mismatch"))
    for row in tables.all("stock"):
        names = ("sku", "initial", "available", "held", "shipped")
        record.stock.append(Level(*(row[name] for name in names)))


def _effect(entry: Entry, void: Any = "void") -> Effect:
    return Effect(
        void if entry.operation == "void" else entry.operation,  # type: ignore[arg-type]
        entry.about,
        entry.reference,
        entry.amount_minor,
        entry.address.model_dump(mode="json") if entry.address else None,
    )
