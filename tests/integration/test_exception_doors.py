"""What the reconciler tells a person, through both doors: all of it is shown, and something can be done."""

import asyncio
from collections.abc import AsyncGenerator
from itertools import count
from typing import Any, LiteralString
from uuid import UUID

import httpx
import pytest
import pytest_asyncio

from contracts import fulfillment, order
from contracts.chassis import inbox
from contracts.chassis.housekeeping.queues import queue_rule
from contracts.chassis.inbox import Inbox
from contracts.chassis.kafka.records import IncomingRecord
from contracts.chassis.postgres import Connection, Database, Row
from contracts.chassis.reconciler import Finding, Kind, Reconciler
from contracts.chassis.settings import HousekeepingSettings
from contracts.envelope import Event
from fulfillment_service import consumer as fulfillments_consumer
from order_service import consumer as orders_consumer
from tests.integration.doors import Doors, Service, open_doors
from tests.integration.hostile import ADDRESS, ORDER, UNKNOWN_ORDER

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVICES: tuple[Service, ...] = ("orders", "fulfillments")
SECRET = "Adalia Hostilia"
BLOCKED = "ORD-1703123456789-BLOCKED00"
SEEN = [
    *(("known", kind) for kind in Kind if kind not in (Kind.RECORD_BLOCKED, Kind.OUTBOX_OLD)),
    ("unknown", Kind.STOCK_KEPT),
    ("TEAPOT", Kind.STOCK_SUM),
]
"""What rules find in streams and ledgers, and of what; the other two kinds are about the queues."""
CONSUMERS: dict[Service, Any] = {"orders": orders_consumer, "fulfillments": fulfillments_consumer}
WAITS_FOR_A_ROW: LiteralString = """
    select from pg_stat_activity
    where wait_event_type = 'Lock' and query like '%%update exceptions%%' and pid <> pg_backend_pid()
    """
_numbers = count(1)


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


async def told_of_queues(doors: Doors, service: Service) -> Row:
    """The exception that the reconciler raises about what has been set aside just now."""
    database = doors.databases[service]
    await database.execute("update parked set parked_at = parked_at - interval '1 day'")
    await database.execute("update outbox set parked_at = parked_at - interval '1 day'")
    before = {row["id"] for row in await database.fetch("select id from exceptions")}
    await Reconciler(database, [queue_rule(database, service, HousekeepingSettings())]).run()
    rows = await database.fetch("select * from exceptions where step = 'RECORD_BLOCKED'")
    (row,) = [row for row in rows if row["id"] not in before]
    return row


async def cannot_be_applied(doors: Doors, service: Service, key: bytes | None) -> Row:
    """The exception about a record that no service of ours has written, of this key."""
    database, consumer = doors.databases[service], CONSUMERS[service]
    record = IncomingRecord("a-topic", 0, next(_numbers), key, {}, SECRET.encode())
    await Inbox(database, consumer.CONSUMER, consumer.effect).apply([record])
    return await told_of_queues(doors, service)


async def cannot_be_sent(doors: Doors, service: Service, key: str, topic: str) -> Row:
    """The exception about a record that the broker will never take."""
    await doors.databases[service].execute(
        """
        insert into outbox (bucket, key, topic, headers, body, attempts, last_error, parked_at)
        values (0, %(key)s, %(topic)s, '{}', '', 3, 'Unsendable', now())
        """,
        key=key,
        topic=topic,
    )
    return await told_of_queues(doors, service)


async def asked(
    doors: Doors, service: Service, way: str, exception_id: UUID, by: str = "ada", **body: Any
) -> httpx.Response:
    method = "POST" if way else "GET"
    path = f"/exceptions/{exception_id}{way}"
    return await doors.http[service].request(method, path, json=body or None, headers={"X-Actor": by})


async def shown(doors: Doors, service: Service, exception_id: UUID) -> dict[str, Any]:
    """As it is shown alone, and nothing that a stranger wrote is quoted."""
    answer = await asked(doors, service, "", exception_id)
    assert answer.status_code == 200
    assert SECRET not in answer.text
    return answer.json()


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
    """Of an order, of a parcel, of one that nobody knows, and of an article; by each way that is offered."""
    of, stream = await about(doors, service, subject)
    database = doors.databases[service]
    for how in ("retry", "skip"):
        # Told once a day: each one is another case.
        case = Finding(kind, of, stream, "it is wrong", {}, mark=f"{how}-{next(_numbers)}")
        one = await found(database, case)
        listed = await doors.http[service].get("/exceptions", params={"subject": of})
        assert str(one) in {each["id"] for each in listed.json()["exceptions"]}
        assert (await shown(doors, service, one))["resolutions"] == ["retry", "skip"]
        for way in ("/claim", "/release"):
            assert (await asked(doors, service, way, one)).status_code == 200
        refused = await asked(doors, service, "/cancel", one)
        assert (refused.status_code, refused.json()["allowedActions"]) == (409, ["retry", "skip"])
        rehearsed = await asked(doors, service, f"/{how}?dryRun=true", one)
        assert (rehearsed.status_code, rehearsed.json()["receiptStatus"]) == (200, "EFFECTIVE")
        for _ in range(2):
            assert (await asked(doors, service, f"/{how}", one, reason="seen")).status_code == 200
        done = await shown(doors, service, one)
        assert (done["resolution"], done["resolvedBy"], done["because"]) == (how, "ada", "seen")
    await expect_deliverable(doors)


async def about(doors: Doors, service: Service, subject: str) -> tuple[str, str]:
    """What it is about, and its stream."""
    if subject == "TEAPOT":
        return subject, f"stock-{subject}"
    order_id = await doors.order(ORDER) if subject == "known" else UNKNOWN_ORDER
    if service == "orders":
        return order_id, order.stream(order_id)
    parcel = fulfillment.fulfillment_id(order_id, 1)
    if subject == "known":
        parcel = await doors.parcel(order_id, ADDRESS)
    return parcel, fulfillment.stream(parcel)


@pytest.mark.parametrize("service", SERVICES)
async def test_what_can_be_cancelled_is_cancelled(doors: Doors, service: Service):
    """By the exception that offers it, as by the wish that anyone may send for that."""
    of, stream = await about(doors, service, "known")
    ways: Any = ("retry", "skip", "cancel")
    one = await found(
        doors.databases[service], Finding(Kind.NO_PROGRESS, of, stream, "it waits", {}, resolutions=ways)
    )
    assert (await shown(doors, service, one))["resolutions"] == list(ways)
    assert (await asked(doors, service, "/cancel", one)).status_code == 200


@pytest.mark.parametrize("key", [None, b"", SECRET.encode(), BLOCKED.encode()])
@pytest.mark.parametrize("service", SERVICES)
async def test_a_record_that_nobody_can_apply_is_discarded_with_a_reason(
    doors: Doors, service: Service, key: bytes | None
):
    """A keyless one and a stranger's among them; let in again it fails again, and says so."""
    row = await cannot_be_applied(doors, service, key)
    listed = await doors.http[service].get("/exceptions")
    assert str(row["id"]) in {each["id"] for each in listed.json()["exceptions"]}
    assert SECRET not in listed.text
    seen = await shown(doors, service, row["id"])
    assert (seen["stepKey"], seen["resolutions"]) == ("RECORD_BLOCKED", ["retry", "skip"])
    assert seen.get("orderId") == (BLOCKED if key == BLOCKED.encode() else None)
    again = await asked(doors, service, "/retry", row["id"])
    assert (again.status_code, "not an event of ours" in again.json()["detail"]) == (409, True)
    assert (await asked(doors, service, "/skip", row["id"])).status_code == 422
    assert (await shown(doors, service, row["id"]))["resolvedAt"] is None
    assert (await asked(doors, service, "/skip", row["id"], reason="sent by a test")).status_code == 200
    done = await shown(doors, service, row["id"])
    assert (done["resolution"], done["resolvedBy"], done["because"]) == ("skip", "ada", "sent by a test")
    left = await doors.databases[service].fetch("select * from parked where outcome is null")
    assert left == []
    await expect_deliverable(doors)


async def test_what_was_set_aside_is_let_in_once_it_can_be(doors: Doors):
    """With everything behind it, in order; then it waits for nobody."""
    order_id = await doors.order(ORDER)
    await doors.parcel(order_id, ADDRESS)
    told = await doors.databases["fulfillments"].fetch(
        "select * from outbox where key = %(id)s order by id", id=order_id
    )
    box = Inbox(doors.databases["orders"], orders_consumer.CONSUMER, fails)
    await box.apply([doors.record(row) for row in told])
    row = await told_of_queues(doors, "orders")
    assert (await shown(doors, "orders", row["id"]))["orderId"] == order_id
    assert (await asked(doors, "orders", "/retry", row["id"])).status_code == 200
    done = await shown(doors, "orders", row["id"])
    assert (done["resolution"], done["resolvedBy"]) == ("retry", "ada")
    heard = await doors.databases["orders"].fetch(
        "select sequence from heard where order_id = %(id)s order by sequence", id=order_id
    )
    assert [each["sequence"] for each in heard] == list(range(1, len(told) + 1))


async def fails(_connection: Connection, _event: Event) -> None:
    raise KeyError(SECRET)


@pytest.mark.parametrize("service", SERVICES)
async def test_an_event_that_could_not_be_sent_is_sent_again_and_never_left_out(
    doors: Doors, service: Service
):
    """Whoever reads its stream is promised that no number is missing."""
    topic = {"orders": order.TOPIC, "fulfillments": fulfillment.TOPIC}[service]
    row = await cannot_be_sent(doors, service, BLOCKED, topic)
    seen = await shown(doors, service, row["id"])
    assert (seen["orderId"], seen["resolutions"]) == (BLOCKED, ["retry"])
    assert (await asked(doors, service, "/skip", row["id"], reason="away with it")).status_code == 409
    assert (await asked(doors, service, "/retry", row["id"])).status_code == 200
    (kept,) = await outbox_of(doors, service, row)
    assert (kept["parked_at"], kept["attempts"]) == (None, 0)


@pytest.mark.parametrize("service", SERVICES)
async def test_a_dead_letter_that_could_not_be_sent_may_be_discarded(doors: Doors, service: Service):
    """It has no place in a stream, and what it tells of is kept where it was set aside."""
    row = await cannot_be_sent(doors, service, f"dlq:{SECRET}", "a-topic.dlq")
    seen = await shown(doors, service, row["id"])
    assert (seen["subject"], seen["resolutions"]) == (row["stream"], ["retry", "skip"])
    assert (await asked(doors, service, "/skip", row["id"], reason="too large")).status_code == 200
    assert await outbox_of(doors, service, row) == []


async def outbox_of(doors: Doors, service: Service, row: Row) -> list[Row]:
    return await doors.databases[service].fetch(
        "select * from outbox where id = %(id)s", id=row["evidence"]["id"]
    )


@pytest.mark.parametrize("service", SERVICES)
async def test_a_claim_binds_the_others(doors: Doors, service: Service):
    """Whoever else resolves it is told who works on it and what lifts that; unclaimed it is free for all."""
    of, stream = await about(doors, service, "known")
    resolve = f"/{service}/{of}/exceptions/resolve"
    one = await found(doors.databases[service], Finding(Kind.NO_PROGRESS, of, stream, "it waits", {}))
    assert (await asked(doors, service, "/claim", one, by="ada")).status_code == 200
    answers = [
        await asked(doors, service, way, one, by="bob") for way in ("/claim", "/retry", "/skip", "/cancel")
    ]
    answers.append(await doors.http[service].post(resolve, headers={"X-Actor": "bob"}))
    for answer in answers:
        said = answer.json()
        assert (answer.status_code, said["code"], said["claimedBy"]) == (409, "ALREADY_CLAIMED", "ada")
        assert f"release` of exception {one}" in said["detail"]
    assert (await doors.http[service].post(resolve, headers={"X-Actor": "ada"})).status_code == 200
    assert (await asked(doors, service, "/release", one, by="bob")).status_code == 200
    assert (await asked(doors, service, "/retry", one, by="bob")).status_code == 200


ADA_RETRIES = "resolved_at = now(), resolution = 'retry', resolved_by = 'ada'"


@pytest.mark.parametrize(
    ("meanwhile", "told"),
    [
        ("claimed_by = 'ada', claimed_at = now()", (409, "ALREADY_CLAIMED", "ada")),
        (ADA_RETRIES, (409, "ALREADY_ENDED", None)),
        (ADA_RETRIES.replace("ada", "bob"), (200, None, None)),
    ],
)
@pytest.mark.parametrize("service", SERVICES)
async def test_who_comes_second_by_a_moment_is_told_so(
    doors: Doors, service: Service, meanwhile: LiteralString, told: tuple[int, str | None, str | None]
):
    """Seen open and free, and not any more when it is to be closed; the same person's twin is no other."""
    of, stream = await about(doors, service, "known")
    database = doors.databases[service]
    one = await found(database, Finding(Kind.NO_PROGRESS, of, stream, "it waits", {}))
    async with database.transaction() as ahead:
        await ahead.execute(f"update exceptions set {meanwhile} where id = %(id)s", {"id": one})
        second = asyncio.create_task(asked(doors, service, "/retry", one, by="bob"))
        while not await database.fetch(WAITS_FOR_A_ROW):
            assert not second.done()
            await asyncio.sleep(0.01)
    answer = await second
    said = answer.json()
    assert (answer.status_code, said.get("code"), said.get("claimedBy")) == told
