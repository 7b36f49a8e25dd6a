"""From rows of the services' databases, ledgers and topics to a record; whoever has the rows may use it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.proof.record import (
    Effect,
    Fact,
    Level,
    Published,
    ReceiptRow,
    Reconciled,
    Record,
    Service,
    Waiting,
)

Row = Mapping[str, Any]

EVENTS = "select *, meta ->> 'commandId' as command_id from events order by position"
RECEIPTS = "select * from receipts"
ADDRESSES = "select ref, version, content from pii where kind = 'address'"
KNOCKS = "select workflow_id from knocks"
APPLIED = "select stream, sequence from inbox"
EXCEPTIONS = "select * from exceptions order by raised_at"
RECONCILED = "select * from reconciliations order by id"

_OPERATIONS = {"label": "book"}


def add_facts(record: Record, service: Service, rows: Iterable[Row], orders: Sequence[str]) -> None:
    """The facts of these orders and their parcels."""
    for row in rows:
        if any(order in row["stream"] for order in orders):
            names = ("stream", "version", "type", "data", "command_id", "recorded_at")
            trace = trace_of(row["meta"].get("traceparent"))
            record.facts.append(Fact(service, *(row[name] for name in names), trace=trace))


def trace_of(traceparent: str | None) -> str | None:
    """The trace's id."""
    parts = (traceparent or "").split("-")
    return parts[1] if len(parts) == 4 else None


def add_receipts(record: Record, service: Service, rows: Iterable[Row], orders: Sequence[str]) -> None:
    """What became of the wishes for these orders."""
    for row in rows:
        if any(order in row["stream"] for order in orders):
            names = (
                "command_id", "name", "stream", "status", "code", "cut_off", "first_version", "last_version"
            )  # fmt: skip
            record.receipts.append(ReceiptRow(service, *(row[name] for name in names)))


def add_addresses(record: Record, rows: Iterable[Row]) -> None:
    """Every kept version of an address."""
    for row in rows:
        record.addresses[row["ref"], row["version"]] = row["content"]


def add_effects(record: Record, ledger: Iterable[Row], orders: Sequence[str]) -> None:
    """What a provider truly did for these orders."""
    for row in ledger:
        about = str(row.get("orderRef") or row.get("parcelRef"))
        if row["effect"] == "applied" and about.startswith(tuple(orders)):
            operation: Any = _OPERATIONS.get(row["operation"], row["operation"])
            address = {"zipCode": row["zipCode"]} if "zipCode" in row else None
            record.effects.append(
                Effect(operation, about, row["reference"], row.get("amountMinor") or 0, address)
            )


def add_exceptions(record: Record, service: Service, rows: Iterable[Row], orders: Sequence[str]) -> None:
    """What waited or waits for a person about these orders."""
    for row in rows:
        if any(order in row["stream"] for order in orders):
            told = (row["stream"], row["code"], row["step"], row["resolved_at"] is None)
            record.exceptions.append(Waiting(service, *told, row["fault"] == "mismatch"))


def add_reconciled(record: Record, service: Service, rows: Iterable[Row]) -> None:
    """What the service's reconciler found."""
    names = ("kind", "subject", "action")
    record.reconciled += [Reconciled(service, *(row[name] for name in names)) for row in rows]


def add_stock(record: Record, rows: Iterable[Row]) -> None:
    """Where every article's pieces are."""
    names = ("sku", "initial", "available", "held", "shipped")
    record.stock += [Level(*(row[name] for name in names)) for row in rows]


def add_published(
    record: Record, topic: str, records: Iterable[tuple[Mapping[str, bytes], bytes]], orders: Sequence[str]
) -> None:
    """The topic's records about these orders, headers and body, in the order of each partition."""
    for headers, body in records:
        told = {name: value.decode() for name, value in headers.items()}
        if told["ce_correlationid"] in orders:
            record.published.append(
                Published(topic, told["ce_subject"], int(told["ce_sequence"]), told["ce_id"], body)
            )


def add_applied(record: Record, service: Service, rows: Iterable[Row], orders: Sequence[str]) -> None:
    """Which facts of the other one the service has taken in."""
    for row in rows:
        if any(order in row["stream"] for order in orders):
            record.applied.append((service, row["stream"], row["sequence"]))
