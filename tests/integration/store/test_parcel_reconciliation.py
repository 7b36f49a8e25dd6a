"""What the fulfillment service's rules find in a healthy database, and in a sick one."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from contracts import fulfillment as contract
from contracts.chassis.event_store import Cause
from contracts.chassis.external_calls import ExternalCalls
from contracts.chassis.housekeeping import queues
from contracts.chassis.housekeeping.queues import queue_rule
from contracts.chassis.postgres import Connection, Database, Row
from contracts.chassis.reconciler import Reconciler, Rule
from contracts.chassis.settings import HousekeepingSettings, PostgresSettings
from contracts.values import Code, HoldReason, Line
from deploy.local.stack import Stack
from fulfillment_service.bootstrap import journal_of
from fulfillment_service.carrier import REFUSALS, Carrier
from fulfillment_service.events import (
    CancelAsked,
    ExceptionRaised,
    FulfillmentAccepted,
    FulfillmentCancelled,
    FulfillmentEvent,
    HandedOver,
    HandOverStarted,
    HoldPlaced,
    LabelBooked,
    LabelRequested,
    LabelVoided,
    StepStarted,
)
from fulfillment_service.fulfillment import Fulfillment
from fulfillment_service.reconciliation import label_rule, open_parcel_rule, wish_rule
from tests.conftest import MakeDatabase
from tests.integration.store.test_order_reconciliation import AT_ONCE, GONE, SETTINGS, EveryWorkflow

IDS = (f"ORD-{number:013d}-ABCDEFGHI" for number in range(1_700_000_000_000, 1_800_000_000_000))
LATER = datetime(2030, 1, 1, tzinfo=UTC)


@dataclass
class House:
    """A database of the fulfillment service, and what the carrier knows."""

    database: Database
    workflows: EveryWorkflow = field(default_factory=EveryWorkflow)
    known: set[str] = field(default_factory=set[str])
    refused: dict[str, str] = field(default_factory=dict[str, str])
    """The codes of what the carrier refused, by key."""
    voided: list[str] = field(default_factory=list[str])

    def rules(self, settings: HousekeepingSettings = SETTINGS) -> list[Rule]:
        journal = journal_of(self.database)
        calls = ExternalCalls(self.database, "carrier", self.carrier(), refusals=REFUSALS)
        return [
            open_parcel_rule(self.database, self.workflows, settings),
            wish_rule(self.database, settings),
            label_rule(journal, Carrier(calls), AT_ONCE),
            queue_rule(self.database, "fulfillments", settings),
        ]

    def carrier(self) -> httpx.AsyncClient:
        def answer(request: httpx.Request) -> httpx.Response:
            key = request.headers.get("Idempotency-Key")
            if key:
                self.voided.append(request.url.path)
                if "TRK-SHIPPED" in request.url.path:
                    return httpx.Response(409, json={"code": "already_handed_over"})
                return httpx.Response(200, json={})
            key = request.url.path.removeprefix("/operations/")
            if key not in self.known:
                return httpx.Response(404, json={"code": "not_found"})
            code = self.refused.get(key)
            content = {"httpStatus": 404 if code else 200, "answer": {"code": code} if code else {}}
            return httpx.Response(200, json=content)

        return httpx.AsyncClient(base_url="http://carrier", transport=httpx.MockTransport(answer))

    async def looks(self) -> list[tuple[str, str, str]]:
        """What one look of all rules settled: kind, subject, action."""
        row = await self.database.fetch_one("select coalesce(max(id), 0) as id from reconciliations")
        await self.database.execute("update reconciler_rules set looked_at = now()")
        await Reconciler(self.database, self.rules(), pause=timedelta(0)).run()
        rows = await self.database.fetch(
            "select kind, subject, action from reconciliations where id > %(id)s order by id",
            id=row["id"] if row else 0,
        )
        return [(row["kind"], row["subject"], row["action"]) for row in rows]

    async def parcel(self, *facts: FulfillmentEvent, **changes: Any) -> str:
        """The id of a parcel with these facts after it was accepted."""
        order_id = next(IDS)
        given: dict[str, Any] = {
            "order_id": order_id,
            "n": 1,
            "lines": (Line(sku="TEAPOT", quantity=1),),
            "country": "USA",
            "customer_ref": "c",
            "service_level": "standard",
            "mode": "automatic",
            "pace_seconds": 0,
            "address_version": 1,
            "reply_to": f"order-workflow-{order_id}",
            "warehouse": "main",
            "carrier": "sandbox",
        }
        name = contract.fulfillment_id(order_id, 1)

        async def decide(_: Connection, __: Fulfillment | None) -> Sequence[FulfillmentEvent]:
            return [FulfillmentAccepted(**(given | changes)), *facts]

        await journal_of(self.database).change(contract.stream(name), Cause("test"), decide)
        return name

    async def receipt(self, name: str, command_id: str, status: str) -> None:
        await self.database.execute(
            """
            insert into receipts (command_id, name, stream, actor, request_hash, status)
            values (%(command_id)s, 'pauseFulfillment', 'fulfillment-' || %(name)s, 'a', 'h', %(status)s)
            """,
            name=name,
            command_id=command_id,
            status=status,
        )

    async def ages(self, by: timedelta = timedelta(days=2)) -> None:
        """Everything happened so long ago, and the house has been well all the time."""
        for table, column in (
            ("fulfillment_view", "updated_at"),
            ("circuit_breakers", "changed_at"),
            ("receipts", "received_at"),
            ("reconciler_rules", "steady_since"),
            ("outbox", "created_at"),
            ("outbox", "parked_at"),
            ("parked", "parked_at"),
        ):
            set_to = f"update {table} set {column} = {column} - %(by)s"
            await self.database.execute(set_to, by=by)  # pyright: ignore[reportArgumentType]


@pytest.fixture
async def house(migrated: Stack, make_database: MakeDatabase) -> AsyncGenerator[House]:
    assert migrated
    async with Database(PostgresSettings(url=make_database("fulfillments")), "test") as database:
        await database.execute("alter table outbox alter published_at set default now()")
        yield House(database)


def labelled(name: str, n: int = 1) -> tuple[FulfillmentEvent, ...]:
    return (
        LabelRequested(n=n, address_version=1, provider_key=f"{name}:label:{n}"),
        LabelBooked(n=n, tracking_reference=name, cost_minor=590, currency="USD"),
    )


def relabelled(name: str, *, outside: bool = False) -> tuple[FulfillmentEvent, ...]:
    """Handed over with its second label; the first one was replaced."""
    return (
        *labelled(f"{name}-OLD"),
        LabelVoided(n=1, cost_minor=590, currency="USD", outside=outside),
        *labelled(name, 2),
        HandOverStarted(provider_key=f"{name}:hand-over:1", label_n=2),
        HandedOver(reference=name),
    )


TAKEN_APART: tuple[FulfillmentEvent, ...] = (
    LabelVoided(n=1, cost_minor=590, currency="USD"),
    FulfillmentCancelled(),
)


async def test_a_healthy_house_has_no_findings(house: House):
    """Held, in somebody's hands, slow on purpose, asked to end, told to a person: each has its reason."""
    await house.parcel(HoldPlaced(handle="h", reason=HoldReason.QUALITY))
    await house.receipt(await house.parcel(StepStarted(step_key="pick:1"), mode="manual"), "a", "ACCEPTED")
    await house.parcel(mode="manual")
    await house.parcel(StepStarted(step_key="pick:1"), pace_seconds=7 * 24 * 3600)
    asked = await house.parcel(CancelAsked(command_id="asked", answer_by=LATER))
    await house.receipt(asked, "asked", "RECEIVED")
    await house.parcel(ExceptionRaised(step_key="label:1", code=Code.LABEL_REFUSED))
    ended = await house.parcel(*labelled("TRK-1"), *TAKEN_APART)
    house.known |= {"TRK-1:label:1", f"fulfillment-{ended}:void-label:1"}
    await house.receipt(ended, "effective", "EFFECTIVE")
    await house.ages()
    await house.receipt(await house.parcel(), "new", "RECEIVED")
    assert await house.looks() == []
    assert house.voided == []


async def test_an_open_parcel_without_its_workflow_is_knocked(house: House):
    """The knock starts it again, and it goes on from its stream."""
    name = await house.parcel(HoldPlaced(handle="h", reason=HoldReason.QUALITY))
    house.workflows.other = {contract.workflow_id(name): GONE}
    await house.ages()
    assert await house.looks() == [("WORKFLOW_MISSING", name, "KNOCKED")]
    assert await house.looks() == []


async def test_a_parcel_without_progress_is_knocked_and_then_told(house: House):
    """Once each."""
    name = await house.parcel(StepStarted(step_key="pick:1"))
    await house.ages()
    assert await house.looks() == [("NO_PROGRESS", name, "KNOCKED")]
    await house.database.execute("delete from knocks")
    assert await house.looks() == [("NO_PROGRESS", name, "RAISED")]
    assert await house.looks() == []


async def test_wishes_of_parcels_that_were_forgotten_are_found(house: House):
    """One that nobody answers is knocked for, one whose parcel has ended is told."""
    waits = await house.parcel(StepStarted(step_key="pick:1"), mode="manual")
    await house.receipt(waits, "waits", "RECEIVED")
    ended = await house.parcel(FulfillmentCancelled())
    await house.receipt(ended, "forgotten", "ACCEPTED")
    await house.ages()
    assert sorted(await house.looks()) == [
        ("WISH_UNANSWERED", waits, "KNOCKED"),
        ("WISH_UNSETTLED", ended, "RAISED"),
    ]


async def test_a_label_that_still_stands_is_voided(house: House):
    """Under the void's own name; where the carrier will not, a person is told."""
    left = await house.parcel(*labelled("TRK-LEFT"), *TAKEN_APART)
    refused = await house.parcel(*labelled("TRK-SHIPPED"), *TAKEN_APART)
    house.known |= {"TRK-LEFT:label:1", "TRK-SHIPPED:label:1"}
    assert await house.looks() == [("LABEL_LEFT", left, "VOIDED"), ("LABEL_LEFT", refused, "RAISED")]
    assert house.voided == ["/labels/TRK-LEFT/void", "/labels/TRK-SHIPPED/void"]
    assert await house.looks() == []


async def test_a_replaced_label_of_a_parcel_that_left_is_voided_or_told(house: House):
    """The one it was handed over with stays; so does what a person knows of or the carrier does not."""
    left, shipped = [await house.parcel(*relabelled(name)) for name in ("TRK-LEFT", "TRK-SHIPPED")]
    well, unknown = [await house.parcel(*relabelled(name)) for name in ("TRK-WELL", "TRK-UNKNOWN")]
    await house.parcel(*relabelled("TRK-TOLD", outside=True))
    for name in ("LEFT", "SHIPPED", "WELL", "UNKNOWN", "TOLD"):
        house.known |= {f"TRK-{name}-OLD:label:1", f"TRK-{name}:label:2"}
    house.known |= {f"fulfillment-{name}:void-label:1" for name in (well, unknown)}
    house.refused = {f"fulfillment-{unknown}:void-label:1": "not_found"}
    assert await house.looks() == [("LABEL_LEFT", left, "VOIDED"), ("LABEL_LEFT", shipped, "RAISED")]
    assert house.voided == ["/labels/TRK-LEFT-OLD/void", "/labels/TRK-SHIPPED-OLD/void"]
    assert await house.database.fetch(
        "select provider_key, status from external_calls order by begun_at"
    ) == [
        {"provider_key": f"fulfillment-{left}:void-label:1", "status": "CONFIRMED"},
        {"provider_key": f"fulfillment-{shipped}:void-label:1", "status": "FAILED"},
    ]
    assert await house.looks() == []


async def test_what_waits_in_the_queues_for_long_is_found(house: House):
    """Kafka's outage wakes the relay and is no exception; a record that blocks its order is one."""
    await house.database.execute(
        """
        insert into outbox (bucket, key, topic, headers, body, published_at, parked_at)
        values
            (0, 'ORD-1', 't', '{}', '', null, null),
            (0, 'ORD-1', 't', '{}', '', null, null),
            (0, 'ORD-1700000000000-ABCDEFGHI', 't', '{}', '', null, now()),
            (0, 'ORD-3', 't', '{}', '', now(), null)
        """
    )
    assert await house.looks() == []
    await house.ages()
    assert await house.looks() == [
        ("OUTBOX_OLD", "fulfillments", "WOKEN"),
        ("RECORD_BLOCKED", "ORD-1700000000000-ABCDEFGHI", "RAISED"),
    ]
    assert await house.looks() == []


async def set_aside(house: House, key: str, *, topic: str = "orders.events.v1") -> None:
    """A record of this key could not be applied, and one could not be sent."""
    given: dict[str, Any] = {"key": key, "topic": topic}
    await house.database.execute(
        """
        insert into parked (
            consumer, identity, topic, partition, record_offset, order_id, headers, body, reason
        )
        values ('c', gen_random_uuid(), %(topic)s, 0, 0, %(key)s, '{}', '', 'not an event of ours')
        """,
        **given,
    )
    await house.database.execute(
        """
        insert into outbox (bucket, key, topic, headers, body, published_at, parked_at)
        values (0, %(key)s, %(topic)s, '{}', '', null, now())
        """,
        **given,
    )


async def waiting(house: House) -> list[Row]:
    return await house.database.fetch("select * from exceptions where resolved_at is null order by raised_at")


async def test_a_key_that_is_no_orders_is_told_nowhere(house: House):
    """A stranger may have written anything there; a dead letter is about the order whose it is."""
    await set_aside(house, "Adalia Doe")
    await set_aside(house, "dlq:ORD-1700000000001-ABCDEFGHI", topic="orders.events.v1.dlq")
    await house.ages()
    await house.looks()
    rows = await waiting(house)
    assert len(rows) == 4
    assert "Adalia" not in str(rows)
    assert {(row["subject"], *row["resolutions"]) for row in rows} == {
        ("inbox-1", "retry", "skip"),
        ("outbox-1", "retry"),
        ("ORD-1700000000001-ABCDEFGHI", "retry", "skip"),
    }


async def test_what_is_told_leaves_its_place_in_the_page(house: House, monkeypatch: pytest.MonkeyPatch):
    """However many wait for a person, the next one is told as well."""
    monkeypatch.setattr(queues, "PAGE", 1)
    for number in range(3):
        await set_aside(house, f"stranger-{number}")
    await house.ages()
    for number in range(3):
        await house.looks()
        assert len(await waiting(house)) == 2 * (number + 1)


async def test_what_is_not_set_aside_any_more_waits_for_nobody(house: House):
    """Whoever saw to it; the next record of the same order is another case."""
    for _ in range(2):
        await set_aside(house, "a stranger")
    await house.ages()
    await house.looks()
    assert sorted(row["subject"] for row in await waiting(house)) == ["inbox-1", "outbox-1", "outbox-2"]
    await house.database.execute("update parked set outcome = 'DISCARDED' where id = 1")
    await house.database.execute("update outbox set parked_at = null, published_at = now() where id = 1")
    await house.looks()
    await house.looks()
    assert sorted(row["subject"] for row in await waiting(house)) == ["inbox-2", "outbox-2"]
    over = await house.database.fetch(
        "select resolution, resolved_by from exceptions where resolution is not null"
    )
    assert over == [{"resolution": "moved-on", "resolved_by": "reconciler"}] * 2
