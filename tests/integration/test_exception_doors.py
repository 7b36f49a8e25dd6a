"""What the reconciler tells a person, through both doors: all of it is shown, and something can be done."""

from collections.abc import AsyncGenerator
from itertools import count
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from contracts import fulfillment, order
from contracts.chassis import inbox
from contracts.chassis.housekeeping.queues import queue_rule
from contracts.chassis.inbox import Inbox
from contracts.chassis.kafka.records import IncomingRecord
from contracts.chassis.postgres import Database, Row
from contracts.chassis.reconciler import Finding, Kind, Reconciler
from contracts.chassis.settings import HousekeepingSettings
from fulfillment_service import consumer as fulfillments_consumer
from order_service import consumer as orders_consumer
from tests.integration.doors import Doors, Service, open_doors
from tests.integration.hostile import ADDRESS, ORDER, UNKNOWN_ORDER

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVICES: tuple[Service, ...] = ("orders", "fulfillments")
ADA = {"X-Actor": "ada"}
SECRET = "Adalia Hostilia"
SEEN = [
    *(("known", kind) for kind in Kind if kind not in (Kind.RECORD_BLOCKED, Kind.OUTBOX_OLD)),
    ("unknown", Kind.STOCK_KEPT),
    ("TEAPOT", Kind.STOCK_SUM),
]
"""What rules find in streams and ledgers, and of what; the other two kinds are about the queues."""
_offsets = count()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(orders_url: str, fulfillments_url: str) -> AsyncGenerator[Doors]:
    async with open_doors(orders_url, fulfillments_url) as doors:
        yield doors


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "RETRY_PAUSES", ())


async def found(database: Database, finding: Finding) -> UUID:
    """The id of the exception that the reconciler raises about it."""
    assert await Reconciler(database, []).settle(finding)
    row = await database.fetch_one(
        "select id from exceptions where resolved_at is null and stream = %(stream)s", stream=finding.stream
    )
    assert row is not None
    return row["id"]


async def set_aside(doors: Doors, service: Service, key: bytes | None) -> Row:
    """The exception about a record that no service of ours has written, of this key."""
    database = doors.databases[service]
    of_service = {"orders": orders_consumer, "fulfillments": fulfillments_consumer}[service]
    record = IncomingRecord("a-topic", 0, next(_offsets), key, {}, SECRET.encode())
    await Inbox(database, of_service.CONSUMER, of_service.effect).apply([record])
    await database.execute("update parked set parked_at = parked_at - interval '1 day'")
    before = await database.fetch("select id from exceptions where step = 'RECORD_BLOCKED'")
    await Reconciler(database, [queue_rule(database, service, HousekeepingSettings())]).run()
    rows = await database.fetch("select * from exceptions where step = 'RECORD_BLOCKED'")
    (row,) = [row for row in rows if row["id"] not in {each["id"] for each in before}]
    return row


async def asked(doors: Doors, service: Service, way: str, exception_id: UUID, **body: Any) -> Any:
    method = "GET" if way == "" else "POST"
    path = f"/exceptions/{exception_id}{way}"
    return await doors.http[service].request(method, path, json=body or None, headers=ADA)


async def expect_deliverable(doors: Doors) -> None:
    """Every knock that waits is for a workflow that its service runs."""
    names = {"orders": order.order_id_of, "fulfillments": fulfillment.fulfillment_id_of}
    for service, database in doors.databases.items():
        for row in await database.fetch("select workflow_id from knocks"):
            assert names[service](row["workflow_id"])


@pytest.mark.parametrize(("subject", "kind"), SEEN)
@pytest.mark.parametrize("service", SERVICES)
async def test_whatever_it_is_about_it_is_shown_claimed_and_resolved(
    doors: Doors, service: Service, subject: str, kind: Kind
):
    """Of an order, of a parcel, of one that nobody knows, and of an article."""
    order_id = await doors.order(ORDER) if subject == "known" else UNKNOWN_ORDER
    if service == "fulfillments" and subject == "known":
        of = await doors.parcel(order_id, ADDRESS)
    else:
        of = fulfillment.fulfillment_id(order_id, 1) if service == "fulfillments" else order_id
    of = subject if subject == "TEAPOT" else of
    stream = {"orders": order.stream, "fulfillments": fulfillment.stream}[service](of)
    if subject == "TEAPOT":
        stream = f"stock-{of}"
    database = doors.databases[service]
    for how in ("retry", "skip"):
        case = Finding(kind, of, stream, "it is wrong", {}, mark=f"{how}-{next(_offsets)}")
        one = await found(database, case)
        listed = await doors.http[service].get("/exceptions", params={"subject": of})
        assert str(one) in {each["id"] for each in listed.json()["exceptions"]}
        for way in ("", "/claim", "/release"):
            assert (await asked(doors, service, way, one)).status_code == 200
        assert (await asked(doors, service, f"/{how}", one)).status_code == 200
        assert (await asked(doors, service, "", one)).json()["resolution"] == how
    await expect_deliverable(doors)


@pytest.mark.parametrize("key", [None, b"", SECRET.encode(), b"ORD-1703123456789-BLOCKED00"])
@pytest.mark.parametrize("service", SERVICES)
async def test_a_record_of_nobody_is_shown(doors: Doors, service: Service, key: bytes | None):
    """A keyless one and a stranger's key among them: the list with it in it is answered."""
    row = await set_aside(doors, service, key)
    listed = await doors.http[service].get("/exceptions")
    assert listed.status_code == 200
    assert str(row["id"]) in {each["id"] for each in listed.json()["exceptions"]}
    shown = await asked(doors, service, "", row["id"])
    assert (shown.status_code, shown.json()["stepKey"]) == (200, "RECORD_BLOCKED")
    for way in ("/claim", "/release"):
        assert (await asked(doors, service, way, row["id"])).status_code == 200
    await expect_deliverable(doors)
