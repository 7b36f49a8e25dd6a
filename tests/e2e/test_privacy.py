"""Nothing that names a person is anywhere but in the services' own tables for it."""

# pyright: reportMissingTypeStubs=false

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from aiokafka import AIOKafkaConsumer
from psycopg import sql

from contracts import fulfillment, order
from deploy.local.stack import Stack
from tests.e2e.people import Engineer, Operator, Shop, address

NAMES = (
    "Demonstrata",
    "Sample Orchard Lane",
    "adalia.demonstrata",
    "555 0100",
    "Wilhelmina Quakenbrück",
    "wilhelmina.q@",
    "0451 998877",
    "Hinterhof 17b",
    "Quittengasse",
    "Neubau 99",
    "Klingel bei Oma",
    "Tante Frieda",
)
"""Name, street, mail and phone of the demo customer and of one of our own, and every free text they left."""


@pytest.fixture(scope="module")
def orders(stack: Stack) -> list[str]:
    """Orders that shipped, failed, were changed, re-addressed and cancelled with words about a person."""
    shop, operator = Shop(stack.url("order_service")), Operator(stack.url("fulfillment_service"))
    placed = [shop.place(), shop.place("declined"), shop.place("label-refused"), _places(shop), _places(shop)]
    changed, cancelled = placed[3:]
    shop.http.patch(
        f"/orders/{changed}",
        json={"contact": {"name": "Tante Frieda", "email": "wilhelmina.q@example.org"}},
    )
    shop.http.patch(f"/orders/{changed}", json={"shippingAddress": address("Neubau 99")})
    shop.cancel(cancelled, reason="for Tante Frieda, not for me")
    operator.sees(placed[2], status="EXCEPTION")
    operator.http.patch(f"/fulfillments/{placed[2]}/shipping-address", json=address("Quittengasse 4"))
    for each in placed:
        shop.sees_end(each)
    return placed


def _places(shop: Shop) -> str:
    answer = shop.http.post(
        "/orders",
        json={
            "customerId": "customer-17",
            "items": [{"sku": "SPOON", "quantity": 1, "unitPriceMinor": 350}],
            "currency": "EUR",
            "shippingAddress": address("Hinterhof 17b"),
            "contact": {
                "name": "Wilhelmina Quakenbrück",
                "email": "wilhelmina.q@example.org",
                "phone": "+49 0451 998877",
            },
            "payment": {"token": "tok_ok"},
            "instructions": "Klingel bei Oma",
        },
    )
    assert answer.status_code == 201, answer.text
    return answer.json()["orderId"]


def _found_in(content: bytes) -> list[str]:
    escaped = [(name, json.dumps(name)[1:-1].encode()) for name in NAMES]
    return [name for name, escape in escaped if name.encode() in content or escape in content]


def _tables(url: str) -> Iterator[tuple[str, bytes]]:
    """Every table of the database with all that it holds, as text."""
    with psycopg.connect(url) as connection:
        names = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
        for (name,) in names:
            query = sql.SQL("select row_to_json(each)::text from {} as each").format(sql.Identifier(name))
            rows = connection.execute(query).fetchall()
            yield name, "\n".join(row for (row,) in rows).encode()


@pytest.mark.parametrize("database", ["orders", "fulfillments"])
def test_only_the_personal_table_names_a_person(orders: list[str], stack: Stack, database: str):
    """Facts, outbox, receipts, knocks, inbox, parked records and views carry references only."""
    tables = dict(_tables(stack.postgres_url(database)))
    assert _found_in(tables.pop("pii")) != [], "the search itself finds what is there"
    assert {name: found for name, content in tables.items() if (found := _found_in(content))} == {}


async def test_no_record_names_a_person(orders: list[str], stack: Stack):
    """Neither the values nor the headers nor the keys of both topics."""
    consumer: Any = AIOKafkaConsumer(
        order.TOPIC,
        fulfillment.TOPIC,
        bootstrap_servers=stack.kafka_servers,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        content = b""
        while batch := await consumer.getmany(timeout_ms=2000):
            records = [record for records in batch.values() for record in records]
            content += b"".join(repr(record.headers).encode() + record.value for record in records)
    finally:
        await consumer.stop()
    assert orders[0].encode() in content
    assert _found_in(content) == []


def test_no_file_names_a_person(orders: list[str], stack: Stack, engineer: Engineer):
    """Not Temporal's database on disk, with its write-ahead log, and neither logs nor spans."""
    folder = stack.state.folder
    searched = [path for path in folder.rglob("*") if path.is_file() and _is_ours(folder, path)]
    assert any(path.name.startswith("temporal") for path in searched)
    assert engineer.spans() != []
    assert {path.name: found for path in searched if (found := _found_in(path.read_bytes()))} == {}


def _is_ours(folder: Path, path: Path) -> bool:
    """PostgreSQL's own files hold the personal tables, and the sandbox stands for companies outside."""
    return path.relative_to(folder).parts[0] not in ("postgres", "sandbox")


async def test_the_search_would_find_an_address_in_a_history(stack: Stack, tmp_path: Path):
    """The same search over a file with one plain address finds it: the tests above can fail."""
    plain = tmp_path / "plain"
    await asyncio.to_thread(plain.write_bytes, b'..{"street": "Hinterhof 17b"}..')
    assert _found_in(plain.read_bytes()) == ["Hinterhof 17b"]
