"""Nothing that names a person is written down anywhere but in the table for it and at the providers."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from aiokafka import AIOKafkaConsumer
from psycopg import sql
from temporalio.client import Client

from contracts import fulfillment
from contracts import order as contract
from deploy.local.stack import Stack
from tests.e2e.people import Operator, Shop, eventually, parcel_workflow

SECRETS = (
    # The demo's customer.
    "Adalia",
    "Demonstrata",
    "17 Sample Orchard Lane",
    "Sample Orchard",
    "adalia.demonstrata@example.com",
    "+1 555 0100",
    # One of our own, and everything that was changed later.
    "Philomena",
    "Quartzwhistlé",
    "88 Marzipan Crescent",
    "philomena.q@example.net",
    "+49 30 5550173",
    "Beware of the ferret",
    "tok_ok_quartzwhistle",
    "Bartholomew",
    "Inkpenny",
    "b.inkpenny@example.org",
    "3 Treacle Mews",
    "9 Gooseberry Yard",
    "her ex-husband Ignatius",
    "told by Ottoline",
)
"""Names, streets, mail addresses, phones, free text and the payment token of two customers."""

_FORMS = {secret: (secret.lower().encode(), json.dumps(secret)[1:-1].lower().encode()) for secret in SECRETS}
"""As text and as JSON writes it when it escapes letters beyond ASCII."""


@dataclass(frozen=True)
class Lives:
    """The orders that were placed, changed, cancelled and shipped."""

    order_ids: tuple[str, ...]


@pytest.fixture(scope="module")
def lives(stack: Stack) -> Lives:
    """Two demo orders and one of our own live through every way by which a person's data comes in."""
    shop, operator = Shop(stack.url("order_service")), Operator(stack.url("fulfillment_service"))
    shipped, cancelled = shop.place(), shop.place("manual")
    placed = shop.http.post("/orders", json=_OUR_CUSTOMER)
    assert placed.status_code == 201, placed.text
    ours = placed.json()["orderId"]
    shop.pause(ours)
    changed = shop.http.patch(f"/orders/{ours}", json={"contact": _NEW_CONTACT})
    assert changed.status_code == 200, changed.text

    operator.comes_to(cancelled, "pick:1")
    moved = shop.http.patch(f"/orders/{cancelled}", json={"shippingAddress": _somewhere("3 Treacle Mews")})
    assert moved.status_code in (200, 202), moved.text
    operator.sees(cancelled, addressVersion=2)
    shop.cancel(cancelled, reason="her ex-husband Ignatius moved in again")
    operator.sees(ours, status="PAUSED")
    held = operator.http.post(
        f"/fulfillments/{ours}/pause", json={"reason": "told by Ottoline", "note": "Ottoline knows more"}
    )
    assert held.status_code == 200, held.text
    operator.http.patch(f"/fulfillments/{ours}/shipping-address", json=_somewhere("9 Gooseberry Yard"))
    operator.resume(ours)
    # What is refused or not understood leaves no trace of its words either.
    shop.http.post("/orders", json={**_OUR_CUSTOMER, "contact": {"name": "Quartzwhistle\x00", "email": "x"}})
    shop.http.patch(f"/orders/{shipped}", json={"contact": {**_NEW_CONTACT, "Inkpenny": 1}})

    assert shop.sees_end(shipped)["status"] == "SHIPPED"
    assert shop.sees_end(cancelled)["status"] == "CANCELLED"
    assert shop.sees_end(ours)["status"] == "SHIPPED"
    shop.sees_parcel(ours, status="SHIPPED")
    return Lives((shipped, cancelled, ours))


def test_the_table_for_personal_data_holds_all_of_it(stack: Stack, lives: Lives):
    """Every secret of this test did come in, so that not finding one elsewhere means something."""
    kept = b"\n".join(text for _, text in _tables(stack, only_personal=True))
    assert set(_leaks(kept)) == set(SECRETS)


def test_no_other_table_names_a_person(stack: Stack, lives: Lives):
    """Events, outbox, receipts, knocks, inbox, parked records and views carry references only."""
    found = {name: leaks for name, text in _tables(stack) if (leaks := _leaks(text))}
    assert found == {}


async def test_no_record_on_kafka_names_a_person(stack: Stack, lives: Lives):
    """Neither values, nor keys, nor headers of any topic."""
    topics = [contract.TOPIC, fulfillment.TOPIC]
    texts = await _records(stack, topics)
    assert _leaks(b"\n".join(texts)) == []
    for order_id in lives.order_ids:
        assert any(order_id.encode().lower() in text for text in texts)


async def test_no_workflow_history_names_a_person(stack: Stack, lives: Lives):
    """What Temporal gives to anybody who asks is sealed: payloads, memos, summaries, details, failures."""
    found = {name: leaks for name, text in await _histories(stack, lives) if (leaks := _leaks(text))}
    assert found == {}


def test_no_file_names_a_person(stack: Stack, lives: Lives):
    """Temporal's database with its write-ahead log, every process's log, the spans: byte by byte."""
    spans = Path(stack.env["TANDEM_TELEMETRY_FILE"])
    eventually(spans.read_text, lambda text: all(order in text for order in lives.order_ids))
    files = {path: path.read_bytes().lower() for path in _files(stack.state.folder)}
    of_temporal = b"".join(text for path, text in files.items() if path.name.startswith("temporal.db"))
    assert all(order_id.lower().encode() in of_temporal for order_id in lives.order_ids)
    assert {"order-worker.log", "temporal.db-wal", spans.name} <= {path.name for path in files}
    assert {path.name: leaks for path, text in files.items() if (leaks := _leaks(text))} == {}


def _files(folder: Path) -> list[Path]:
    """PostgreSQL's own files hold the personal tables, and the sandbox stands for companies outside."""
    ours = [path for path in folder.iterdir() if path.name not in ("postgres", "sandbox")]
    return [path for top in ours for path in (top, *top.rglob("*")) if path.is_file()]


def _leaks(lowered: bytes) -> list[str]:
    return [secret for secret, forms in _FORMS.items() if any(form in lowered for form in forms)]


def _tables(stack: Stack, *, only_personal: bool = False) -> Iterator[tuple[str, bytes]]:
    """Each table's rows as text, binary columns opened."""
    for database in ("orders", "fulfillments"):
        with psycopg.connect(stack.postgres_url(database)) as connection:
            names = connection.execute("select tablename from pg_tables where schemaname = 'public'")
            for (name,) in names.fetchall():
                if (name == "pii") is only_personal:
                    rows = connection.execute(sql.SQL("select * from {}").format(sql.Identifier(name)))
                    yield f"{database}.{name}", b"\n".join(_plain(row) for row in rows).lower()


def _plain(row: tuple[Any, ...]) -> bytes:
    return b" ".join(
        bytes(value)
        if isinstance(value, bytes | memoryview)
        else json.dumps(value, default=str, ensure_ascii=False).encode()
        for value in row
    )


async def _records(stack: Stack, topics: list[str]) -> list[bytes]:
    """Everything on the topics from their beginning."""
    consumer = AIOKafkaConsumer(
        *topics, bootstrap_servers=stack.kafka_servers, auto_offset_reset="earliest", fetch_max_wait_ms=50
    )
    await consumer.start()
    try:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        texts: list[bytes] = []
        async with asyncio.timeout(20):
            while any([await consumer.position(partition) < end for partition, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        headers = b" ".join(name.encode() + b"=" + value for name, value in record.headers)
                        texts.append(b"%s %s %s" % (record.key or b"", record.value or b"", headers))
        return [text.lower() for text in texts]
    finally:
        await consumer.stop()


async def _histories(stack: Stack, lives: Lives) -> list[tuple[str, bytes]]:
    """The raw history and description of both workflows of each order."""
    found: list[tuple[str, bytes]] = []
    for namespace, name_of in (("orders", contract.workflow_id), ("fulfillments", parcel_workflow)):
        client = await Client.connect(stack.temporal_address, namespace=namespace)
        for order_id in lives.order_ids:
            handle = client.get_workflow_handle(name_of(order_id))
            history = await handle.fetch_history()
            described = (await handle.describe()).raw_description.SerializeToString()
            events = b"\n".join(event.SerializeToString() for event in history.events)
            found.append((handle.id, (described + events).lower()))
    return found


def _somewhere(street: str) -> dict[str, str]:
    return {"street": street, "city": "Elsewhere", "state": "NC", "zipCode": "54321", "country": "USA"}


_OUR_CUSTOMER = {
    "customerId": "customer-4711",
    "items": [{"sku": "MUG-BLUE", "quantity": 2, "unitPriceMinor": 1290}],
    "currency": "EUR",
    "shippingAddress": _somewhere("88 Marzipan Crescent"),
    "contact": {
        "name": "Philomena Quartzwhistlé",
        "email": "philomena.q@example.net",
        "phone": "+49 30 5550173",
    },
    "payment": {"token": "tok_ok_quartzwhistle"},
    "instructions": "Beware of the ferret",
}
_NEW_CONTACT = {"name": "Bartholomew Inkpenny", "email": "b.inkpenny@example.org"}
