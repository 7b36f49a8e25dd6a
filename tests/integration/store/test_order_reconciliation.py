"""What the order service's rules find in a healthy database, and in a sick one."""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import httpx
import pytest

from contracts import order as contract
from contracts.chassis import exceptions, knocks, told
from contracts.chassis.errors import Unavailable
from contracts.chassis.event_store import Cause, Change
from contracts.chassis.external_calls import ExternalCalls, Known
from contracts.chassis.housekeeping import endings
from contracts.chassis.knocks import Knock
from contracts.chassis.postgres import Connection, Database, Row
from contracts.chassis.reconciler import Finding, Reconciler, Rule
from contracts.chassis.settings import HousekeepingSettings, PostgresSettings
from contracts.chassis.telemetry import attached, current_traceparent
from contracts.chassis.temporal.presence import Attendance, Failing, Presence
from contracts.values import Code, Hold, LineItem
from deploy.local.stack import Stack
from fulfillment_service.reconciliation import labels
from order_service import inventory
from order_service.bootstrap import journal_of
from order_service.events import (
    CaptureRefused,
    CaptureRequested,
    ExceptionRaised,
    FulfillmentRequested,
    FulfillmentStarted,
    HoldPlaced,
    OrderCancelled,
    OrderConfirmed,
    OrderEvent,
    OrderPlaced,
    OrderShipped,
    PaymentAuthorizationRequested,
    PaymentAuthorized,
    PaymentCaptured,
    PaymentVoided,
    StockHeld,
    StockReleased,
    VoidRefused,
    VoidRequested,
)
from order_service.order import Order
from order_service.payments import REFUSALS, Payments
from order_service.reconciliation import (
    heard_parcel_rule,
    money,
    money_rule,
    open_order_rule,
    stock,
    stock_rule,
    wish_rule,
)
from tests.conftest import MakeDatabase
from tests.proof import checks, recording
from tests.proof.record import Record

IDS = (f"ORD-{number:013d}-ABCDEFGHI" for number in range(1_700_000_000_000, 1_800_000_000_000))
SETTINGS = HousekeepingSettings()
AT_ONCE = HousekeepingSettings(reconcile_quiet_seconds=0.000001)
"""Facts cannot be made older."""
LINES = (LineItem(sku="TEAPOT", quantity=2, unit_price_minor=4900),)
RUNS, GONE, DONE = Presence("RUNNING", "r"), Presence("NONE"), Presence("COMPLETED", "r")
LONG_AGO = timedelta(days=2)
LATER = datetime(2030, 1, 1, tzinfo=UTC)


class EveryWorkflow(Attendance):
    """Workflows as the test says; all others run."""

    def __init__(self) -> None:
        self.other: dict[str, Presence] = {}

    async def of(self, workflow_ids: Sequence[str]) -> dict[str, Presence]:
        return {name: self.other.get(name, RUNS) for name in workflow_ids}


@dataclass
class House:
    """A database of the order service, and whom its rules would ask."""

    database: Database
    workflows: EveryWorkflow = field(default_factory=EveryWorkflow)
    known: set[str] = field(default_factory=set[str])
    """What the payment provider knows, by key."""
    taken: dict[str, int] = field(default_factory=dict[str, int])
    """Where a capture was of another amount than all orders here."""
    refused: dict[str, str] = field(default_factory=dict[str, str])
    """The codes of what it refused or will refuse, by key."""
    looked_up: list[str] = field(default_factory=list[str])
    asked: list[Any] = field(default_factory=list[Any])

    traces: list[str] = field(default_factory=list[str])
    """In which each of them was asked."""

    async def ask(self, order_id: str) -> None:
        self.asked.append(order_id)
        self.traces.append((current_traceparent() or "-").split("-")[1])

    async def send(self, order_id: str, command_id: str) -> None:
        self.asked.append((order_id, command_id))

    def rules(self) -> list[Rule]:
        journal = journal_of(self.database)
        calls = ExternalCalls(self.database, "payments", self.provider(), refusals=REFUSALS)
        return [
            open_order_rule(self.database, self.workflows, self.ask, SETTINGS),
            heard_parcel_rule(self.database, SETTINGS),
            wish_rule(self.database, self.send, SETTINGS),
            stock_rule(self.database, journal, SETTINGS),
            money_rule(journal, Payments(calls), AT_ONCE),
        ]

    def provider(self) -> httpx.AsyncClient:
        def answer(request: httpx.Request) -> httpx.Response:
            key = request.headers.get("Idempotency-Key")
            if key:
                self.asked.append(request.url.path)
                self.known.add(key)
                return self.said(key)
            key = request.url.path.removeprefix("/operations/")
            self.looked_up.append(key)
            if key not in self.known:
                return httpx.Response(404, json={"code": "not_found"})
            said = self.said(key)
            content = {"httpStatus": said.status_code, "answer": said.json()}
            return httpx.Response(200, json={**content, "amountMinor": self.taken.get(key, 9800)})

        return httpx.AsyncClient(base_url="http://provider", transport=httpx.MockTransport(answer))

    def said(self, key: str) -> httpx.Response:
        code = self.refused.get(key)
        return httpx.Response(409, json={"code": code}) if code else httpx.Response(200, json={})

    async def looks(self) -> list[tuple[str, str, str]]:
        """What one look of all rules settled: kind, subject, action."""
        before = await self._last()
        # An hour has passed for what looks only so often.
        await self.database.execute("update reconciler_rules set looked_at = now() - interval '2 minutes'")
        await self.database.execute("delete from reconciler_rules where rule = 'stock'")
        await Reconciler(self.database, self.rules(), pause=timedelta(0)).run()
        rows = await self.database.fetch(
            "select kind, subject, action from reconciliations where id > %(id)s order by id", id=before
        )
        return [(row["kind"], row["subject"], row["action"]) for row in rows]

    async def retries(self) -> None:
        """A person has said so of all that is open."""
        async with self.database.transaction() as connection:
            for row in await self.rows("select id from exceptions where resolved_at is null"):
                await exceptions.resolve_one(connection, row["id"], resolution="retry", by="ada")
                await told.answer(connection, row["id"], "retry", "ada")

    async def _last(self) -> int:
        row = await self.database.fetch_one("select coalesce(max(id), 0) as id from reconciliations")
        return row["id"] if row else 0

    async def order(self, *facts: OrderEvent, moves: Callable[..., Any] | None = None) -> str:
        """The id of an order with these facts after it was placed; `moves` moves its stock with them."""
        order_id = next(IDS)
        placed = OrderPlaced(
            order_id=order_id,
            customer_id="c",
            lines=LINES,
            currency="USD",
            total_minor=9800,
            country="USA",
            service_level="standard",
        )
        await self.adds(order_id, placed)
        if StockHeld() in facts:
            async with self.database.transaction() as connection:
                await inventory.hold(connection, order_id, LINES)
        await self.adds(order_id, *facts, moves=moves)
        return order_id

    async def adds(self, order_id: str, *facts: OrderEvent, moves: Callable[..., Any] | None = None) -> None:
        async def decide(connection: Connection, _: Order | None) -> Sequence[OrderEvent]:
            if moves:
                await moves(connection, order_id)
            return facts

        await journal_of(self.database).change(contract.stream(order_id), Cause("test"), decide)

    async def ages(self, by: timedelta = LONG_AGO) -> None:
        """Everything happened so long ago, and the house has been well all the time."""
        moments = {
            "order_view": ("updated_at", "fulfillment_at"),
            "stock_ledger": ("moved_at",),
            "receipts": ("received_at",),
            "reconciler_rules": ("steady_since",),
            "heard": ("heard_at",),
            "circuit_breakers": ("changed_at",),
        }
        for table, columns in moments.items():
            set_to = ", ".join(f"{column} = {column} - %(by)s" for column in columns)
            await self.database.execute(f"update {table} set {set_to}", by=by)  # pyright: ignore[reportArgumentType]

    async def rows(self, query: Any, **given: Any) -> list[Row]:
        return await self.database.fetch(query, **given)

    async def is_told(self, order_id: str, status: str) -> None:
        """Kafka told so of the order's parcel."""
        await self.database.execute(
            """
            update order_view
            set fulfillment = jsonb_build_object('status', %(status)s::text), fulfillment_at = now()
            where order_id = %(order_id)s
            """,
            order_id=order_id,
            status=status,
        )

    async def hears(self, order_id: str, n: int = 1) -> None:
        """A parcel of the order was heard of."""
        await self.database.execute(
            """
            insert into heard (order_id, stream, sequence, type, at, data)
            values (%(order_id)s, 'fulfillment-' || %(order_id)s || '-' || %(n)s::text, 1, 't', now(), '{}')
            """,
            order_id=order_id,
            n=n,
        )

    async def receipt(self, order_id: str, command_id: str, status: str) -> None:
        await self.database.execute(
            """
            insert into receipts (command_id, name, stream, actor, request_hash, status)
            values (%(command_id)s, 'cancelOrder', 'order-' || %(order_id)s, 'a', 'h', %(status)s)
            """,
            order_id=order_id,
            command_id=command_id,
            status=status,
        )

    async def stock(self, order_id: str) -> set[str]:
        rows = await self.database.fetch(
            "select state from stock_ledger where order_id = %(id)s", id=order_id
        )
        return {row["state"] for row in rows}


@pytest.fixture
async def house(migrated: Stack, make_database: MakeDatabase) -> AsyncGenerator[House]:
    assert migrated
    async with Database(PostgresSettings(url=make_database("orders")), "test") as database:
        yield House(database)


def paid(name: str) -> tuple[OrderEvent, ...]:
    """Stock is held and the total authorized under this name."""
    return (
        StockHeld(),
        PaymentAuthorizationRequested(n=1, provider_key=f"{name}:authorize:1", amount_minor=9800),
        PaymentAuthorized(n=1, reference=name, expires_at=LATER, renew_at=LATER),
    )


ASKED_FOR: tuple[OrderEvent, ...] = (
    OrderConfirmed(),
    FulfillmentRequested(n=1, holds=(), address_version=1),
    FulfillmentStarted(n=1),
)


def cancelled(name: str) -> tuple[OrderEvent, ...]:
    """By its facts all was settled."""
    return (
        VoidRequested(n=1, provider_key=f"{name}:void:1", reference=name),
        PaymentVoided(n=1),
        StockReleased(),
        OrderCancelled(code=Code.CANCELLED_ON_REQUEST),
    )


def shipped(
    name: str, *between: OrderEvent, n: int = 1, reference: str | None = None
) -> tuple[OrderEvent, ...]:
    """Paid for with the authorization of that reference by the capture of that number."""
    return (
        *paid(name),
        *ASKED_FOR,
        *between,
        OrderShipped(),
        CaptureRequested(n=n, provider_key=f"{name}:capture:{n}", reference=reference or name),
        PaymentCaptured(n=n),
    )


def renewed(name: str) -> tuple[OrderEvent, ...]:
    """The first authorization is replaced by a second one."""
    return (
        PaymentAuthorizationRequested(n=2, provider_key=f"{name}:authorize:2", amount_minor=9800),
        PaymentAuthorized(n=2, reference=f"{name}-2", expires_at=LATER, renew_at=LATER),
    )


def void(name: str) -> VoidRequested:
    return VoidRequested(n=1, provider_key=f"{name}:void:1", reference=name)


async def test_a_healthy_house_has_no_findings(house: House):
    """Held, waiting for its parcel, asking a provider, told to a person, ended: each has its reason."""
    hold = HoldPlaced(hold=Hold(handle="h"))
    await house.order(hold)
    await house.receipt(await house.order(hold), "waits-with-its-order", "RECEIVED")
    await house.is_told(await house.order(*paid("a"), *ASKED_FOR), "PAUSED")
    await house.order(StockHeld(), ExceptionRaised(step_key="undo", code=Code.VOID_FAILED))
    asking = await house.order(*paid("b")[:2])
    await house.database.execute(
        """
        insert into external_calls (provider_key, provider, operation, stream)
        values ('b', 'payments', 'authorize', 'order-' || %(id)s::text)
        """,
        id=asking,
    )
    told = await house.order(StockHeld())
    await house.database.execute(
        """
        insert into exceptions (id, stream, subject, code, fault, reason, evidence, resolutions)
        values (gen_random_uuid(), 'order-' || %(id)s::text, %(id)s, 'X', 'bug', '', '{}', '{}')
        """,
        id=told,
    )
    house.known |= {"c:authorize:1", "c:void:1", "d:capture:1"}
    ended = await house.order(*paid("c"), *cancelled("c"), moves=inventory.release)
    await house.receipt(ended, "effective", "EFFECTIVE")
    await house.hears(await house.order(*shipped("d"), moves=inventory.ship))
    await house.ages()
    for facts in ((), (StockHeld(),), paid("e"), (*paid("f"), *ASKED_FOR)):
        await house.receipt(await house.order(*facts), f"new-{len(facts)}", "RECEIVED")
    assert await house.looks() == []
    assert house.asked == []


async def test_what_just_happens_is_left_alone(house: House):
    """Without their workflows, too: a start may still be on its way."""
    house.workflows.other = {contract.workflow_id(await house.order()): GONE}
    waiting = await house.order()
    await house.ages()
    house.workflows.other[contract.workflow_id(waiting)] = GONE
    house.workflows.other |= dict.fromkeys(house.workflows.other, GONE)
    for workflow_id in house.workflows.other:
        async with house.database.transaction() as connection:
            await knocks.add(connection, Knock(workflow_id))
    assert await house.looks() == []


@pytest.mark.parametrize(
    ("presence", "kind", "action"),
    [
        (GONE, "WORKFLOW_MISSING", "KNOCKED"),
        (Presence("TERMINATED", "r1"), "WORKFLOW_MISSING", "KNOCKED"),
        (DONE, "WORKFLOW_COMPLETED", "RAISED"),
    ],
)
async def test_an_open_order_without_its_workflow_is_found(
    house: House, presence: Presence, kind: str, action: str
):
    """Knocked, which starts it; one that says it is done cannot be started and is one for a person."""
    order_id = await house.order()
    house.workflows.other = {contract.workflow_id(order_id): presence}
    await house.ages()
    assert await house.looks() == [(kind, order_id, action)]
    knocked = await house.rows("select workflow_id from knocks")
    is_knocked = {"workflow_id": contract.workflow_id(order_id)} in knocked
    assert is_knocked == (action == "KNOCKED")


async def test_an_order_without_progress_is_knocked_and_then_told(house: House):
    """Once each; when it goes on by itself the exception is over."""
    order_id = await house.order(StockHeld())
    await house.ages()
    assert await house.looks() == [("NO_PROGRESS", order_id, "KNOCKED")]
    await house.database.execute("delete from knocks")
    assert await house.looks() == [("NO_PROGRESS", order_id, "RAISED")]
    assert await house.looks() == []
    await house.adds(order_id, *paid("g")[1:])
    await house.looks()
    assert await house.rows("select 1 from exceptions where resolved_at is null") == []


async def test_a_mistake_that_is_tried_for_ever_is_told_at_once(house: House):
    """Whatever explains that nothing happens does not explain that. Once for each version of the stream."""
    order_id = await house.order(StockHeld(), HoldPlaced(hold=Hold(handle="review")))
    house.workflows.other = {
        contract.workflow_id(order_id): Presence("RUNNING", "r", Failing("submit", 9, "KeyError"))
    }
    await house.ages(timedelta(minutes=3))
    assert await house.looks() == [("NO_PROGRESS", order_id, "RAISED")]
    assert await house.looks() == []
    [row] = await house.rows("select reason, evidence from exceptions")
    assert row["reason"] == f"order {order_id} at authorize: its submit fails again and again"
    assert row["evidence"]["fails"] == "submit"
    assert row["evidence"]["error"] == "KeyError"
    await house.adds(order_id, HoldPlaced(hold=Hold(handle="another")))
    await house.looks()  # it has moved on, by somebody else's hand
    await house.ages(timedelta(minutes=3))
    assert await house.looks() == [("NO_PROGRESS", order_id, "RAISED")]


async def test_an_order_that_did_not_hear_how_its_parcel_ended_asks(house: House):
    """Kafka told of the end long ago; the order's own way of asking records it."""
    order_id = await house.order(*paid("h"), *ASKED_FOR)
    await house.is_told(order_id, "SHIPPED")
    await house.ages()
    assert await house.looks() == [("OUTCOME_UNHEARD", order_id, "ASKED")]
    assert house.asked == [order_id]


async def test_whatever_is_done_for_an_order_is_in_its_trace(house: House):
    """Its own way of asking records facts, and the workflow that a knock starts begins in that trace."""
    trace = "3" * 32
    with attached(f"00-{trace}-{'4' * 16}-01"):
        order_id = await house.order(*paid("t"), *ASKED_FOR)
    await house.is_told(order_id, "SHIPPED")
    await house.ages()
    assert await house.looks() == [("OUTCOME_UNHEARD", order_id, "ASKED")]
    knocked = await house.rows("select split_part(traceparent, '-', 2) as trace from knocks")
    assert knocked[-1] == {"trace": trace}
    assert house.traces[-1] == trace


async def test_a_parcel_that_was_never_heard_of_is_asked_for(house: House):
    """Only where others are heard of: an outage of Kafka is not this."""
    order_id, other = [await house.order(*paid(name), *ASKED_FOR) for name in ("i", "j")]
    await house.ages()
    await house.is_told(other, "PICKING")
    assert await house.looks() == []
    await house.hears(other)
    assert await house.looks() == [("FULFILLMENT_UNHEARD", order_id, "ASKED")]
    assert house.asked == [order_id]


async def test_a_parcel_that_no_order_asked_for_is_told_once(house: House):
    """A second one of an order that asked for one, and one of an order that nobody placed."""
    order_id = await house.order(*paid("k"), *ASKED_FOR)
    await house.is_told(order_id, "PICKING")
    for n in (1, 2):
        await house.hears(order_id, n)
    unknown = next(IDS)
    await house.hears(unknown)
    await house.ages()
    assert sorted(await house.looks()) == [
        ("FULFILLMENT_UNKNOWN", order_id, "RAISED"),
        ("FULFILLMENT_UNKNOWN", unknown, "RAISED"),
    ]
    assert await house.looks() == []


async def test_a_wish_without_an_answer_is_sent_again(house: House):
    """Twice, then a person is told; one whose order has ended is told at once."""
    waits = await house.order(*paid("l"), *ASKED_FOR)
    await house.is_told(waits, "PICKING")
    await house.receipt(waits, "waits", "RECEIVED")
    await house.receipt(waits, "taken", "ACCEPTED")
    await house.ages()
    for action in ("SENT_AGAIN", "SENT_AGAIN", "RAISED"):
        assert await house.looks() == [("WISH_UNANSWERED", waits, action)]
    assert await house.looks() == []
    assert house.asked == [(waits, "waits")] * 2
    ended = await house.order(*paid("m"), *cancelled("m"), moves=inventory.release)
    await house.receipt(ended, "forgotten", "ACCEPTED")
    await house.ages()
    assert await house.looks() == [("WISH_UNSETTLED", ended, "RAISED")]


async def test_stock_of_ended_orders_goes_where_their_facts_say(house: House):
    """Released, shipped, or of no order at all; the articles' own figures go along."""
    at_first = await house.rows("select * from stock order by sku")
    undone = await house.order(*paid("n"), *cancelled("n"))
    unknown = next(IDS)
    async with house.database.transaction() as connection:
        await inventory.hold(connection, unknown, LINES)
    await house.ages()
    house.known |= {"n:authorize:1", "n:void:1"}
    assert sorted(await house.looks()) == [
        ("STOCK_KEPT", undone, "RELEASED"),
        ("STOCK_KEPT", unknown, "RELEASED"),
    ]
    assert await house.rows("select * from stock order by sku") == at_first
    house.known |= {"o:capture:1"}
    left = await house.order(*shipped("o"))
    await house.ages()
    assert await house.looks() == [("STOCK_KEPT", left, "SHIPPED")]
    assert await house.stock(left) == {"SHIPPED"}
    assert await house.looks() == []


async def test_stock_is_not_moved_where_the_figures_are_wrong(house: House):
    """Then nobody knows what is true; a person is told of the article and of the order."""
    undone = await house.order(*paid("p"), *cancelled("p"))
    await house.database.execute(
        "update stock set held = held - 1, available = available + 1 where sku = 'TEAPOT'"
    )
    await house.ages()
    assert await house.looks() == [("STOCK_SUM", "TEAPOT", "RAISED"), ("STOCK_KEPT", undone, "RAISED")]
    assert await house.stock(undone) == {"HELD"}


async def test_a_full_page_of_what_was_told_hides_nothing(house: House, monkeypatch: pytest.MonkeyPatch):
    """Page after page, whatever was told of those before."""
    monkeypatch.setattr(stock, "PAGE", 1)
    undone = [await house.order(*paid(f"page-{n}"), *cancelled(f"page-{n}")) for n in range(3)]
    await house.database.execute(
        "update stock set held = held - 1, available = available + 1 where sku = 'TEAPOT'"
    )
    await house.ages()
    found = [subject for kind, subject, _ in await house.looks() if kind == "STOCK_KEPT"]
    assert found == undone
    undone.append(await house.order(*paid("page-3"), *cancelled("page-3")))
    await house.ages()
    assert ("STOCK_KEPT", undone[-1], "RAISED") in await house.looks()


async def test_what_may_still_be_cancelled_says_so(house: House):
    """And of an order that has ended it is not offered."""
    order_id = await house.order(*paid("free"))
    ended = await house.order(*paid("over"), *cancelled("over"))
    await house.receipt(ended, "forgotten", "ACCEPTED")
    async with house.database.transaction() as connection:
        await inventory.release(connection, order_id)
        await inventory.release(connection, ended)
    await house.ages()
    house.known |= {"over:authorize:1", "over:void:1"}
    await house.looks()
    told = await house.rows("select subject, step, resolutions from exceptions")
    assert {(row["subject"], row["step"], *row["resolutions"]) for row in told} == {
        (order_id, "STOCK_MISSING", "retry", "skip", "cancel"),
        (ended, "WISH_UNSETTLED", "retry", "skip"),
    }


async def test_what_is_met_only_once_is_met_again_when_a_person_retries_it(house: House):
    """A void that is repeated now, and a parcel that is known by now."""
    order_id = await house.order(*paid("w"), StockReleased(), OrderCancelled(code=Code.CANCELLED_ON_REQUEST))
    async with house.database.transaction() as connection:
        await inventory.release(connection, order_id)
    await house.hears(order_id)
    await house.ages()
    told = [("FULFILLMENT_UNKNOWN", order_id, "RAISED"), ("PAYMENT_LEFT", order_id, "RAISED")]
    assert sorted(await house.looks()) == told
    assert await house.looks() == []
    await house.retries()
    assert sorted(await house.looks()) == told
    await house.database.execute("delete from heard")
    await house.retries()
    assert sorted(await house.looks()) == [("FULFILLMENT_UNKNOWN", order_id, "FOUND_WELL"), told[1]]
    assert await house.looks() == []


@pytest.mark.parametrize(("forgotten", "found"), [(0, []), (1, [checks.FOUND])])
async def test_the_check_of_a_run_finds_what_a_wrong_release_left(
    house: House, forgotten: int, found: list[str]
):
    """Pieces that are still held by the figures and not by the ledger are a violation of the run."""

    async def release(connection: Connection, order_id: str) -> None:
        await inventory.release(connection, order_id)
        await connection.execute(
            "update stock set held = held + %(n)s, available = available - %(n)s where sku = 'TEAPOT'",
            {"n": forgotten},
        )

    await house.order(*paid("r"), *cancelled("r"), moves=release)
    house.known |= {"r:authorize:1", "r:void:1"}
    await house.ages()
    await house.looks()
    record = Record()
    recording.add_reconciled(record, "orders", await house.database.fetch(recording.RECONCILED))
    assert [each.invariant for each in checks.reconcilers_find_nothing_else(record)] == found


async def test_an_order_whose_stock_is_gone_from_the_ledger_is_told(house: House):
    """Nothing can give it back what another order may have by now."""
    order_id = await house.order(*paid("q"), *ASKED_FOR)
    await house.is_told(order_id, "PICKING")
    async with house.database.transaction() as connection:
        await inventory.release(connection, order_id)
    await house.ages()
    assert await house.looks() == [("STOCK_MISSING", order_id, "RAISED")]


async def test_a_void_that_the_provider_does_not_know_is_made_again(house: House):
    """Under its own name, so that it has no second effect; asked once about each order that ended."""
    left = await house.order(*paid("r"), *cancelled("r"), moves=inventory.release)
    await house.order(*paid("s"), *cancelled("s"), moves=inventory.release)
    house.known |= {"r:authorize:1", "s:authorize:1", "s:void:1"}
    assert await house.looks() == [("PAYMENT_LEFT", left, "VOIDED")]
    assert house.asked == ["/authorizations/r/void"]
    assert await house.looks() == []
    assert "r:void:1" in house.known


async def test_an_order_that_ended_with_its_money_reserved_is_told(house: House):
    """By its own facts it was never voided."""
    order_id = await house.order(*paid("t"), StockReleased(), OrderCancelled(code=Code.CANCELLED_ON_REQUEST))
    async with house.database.transaction() as connection:
        await inventory.release(connection, order_id)
    assert await house.looks() == [("PAYMENT_LEFT", order_id, "RAISED")]


async def test_what_the_reconciler_does_at_the_provider_is_written_down_like_every_call(house: House):
    """Also where nothing was recorded of it before, as in a store that was put back."""
    await house.order(*paid("w"), *cancelled("w"), moves=inventory.release)
    house.known |= {"w:authorize:1"}
    assert [action for _, _, action in await house.looks()] == ["VOIDED"]
    assert await house.rows("select provider_key, operation, status, attempts from external_calls") == [
        {"provider_key": "w:void:1", "operation": "void", "status": "CONFIRMED", "attempts": 1}
    ]
    assert house.looked_up[-1] == "w:void:1"


async def test_the_money_of_a_shipped_order_adds_up(house: House):
    """Captured once; what was replaced is voided, will lapse or has lapsed; or a person says so."""
    voided = (*renewed("a"), void("a"), PaymentVoided(n=1))
    refused = (*renewed("b"), void("b"), VoidRefused(n=1, reason="expired"))
    lapsed = CaptureRequested(n=1, provider_key="c:capture:1", reference="c")
    late = (lapsed, CaptureRefused(n=1, reason="expired", has_lapsed=True), *renewed("c"))
    await house.order(*shipped("a", *voided, reference="a-2"), moves=inventory.ship)
    await house.order(*shipped("b", *refused, reference="b-2"), moves=inventory.ship)
    await house.order(*shipped("c", *late, reference="c-2", n=2), moves=inventory.ship)
    settled = (*shipped("d")[:-1], PaymentCaptured(n=1, outside=True))
    await house.order(*settled, moves=inventory.ship)
    await house.order(*shipped("e", n=2), moves=inventory.ship)
    house.known |= {"a:capture:1", "a:void:1", "b:capture:1", "b:void:1", "c:capture:1", "c:capture:2"}
    house.known |= {"d:capture:1", "e:capture:2"}
    house.refused = {"b:void:1": "expired", "c:capture:1": "expired", "d:capture:1": "lost_card"}
    assert await house.looks() == []
    assert house.asked == []


async def test_a_capture_that_the_provider_does_not_know_is_made_again(house: House):
    """Under its own name, of the same authorization, for the total, and once."""
    unpaid = await house.order(*shipped("a"), moves=inventory.ship)
    house.known |= {"a:authorize:1"}
    assert await house.looks() == [("CAPTURE_MISSING", unpaid, "CAPTURED")]
    assert house.asked == ["/authorizations/a/capture"]
    assert await house.looks() == []
    assert "a:capture:1" in house.known


@pytest.mark.parametrize(
    ("known", "refused"),
    [
        pytest.param({"a:authorize:1"}, {"a:capture:1": "expired"}, id="it will not"),
        pytest.param({"a:authorize:1", "a:capture:1"}, {"a:capture:1": "expired"}, id="it would not"),
        pytest.param(set[str](), dict[str, str](), id="it knows no authorization either"),
    ],
)
async def test_a_capture_that_cannot_be_made_again_is_told(
    house: House, known: set[str], refused: dict[str, str]
):
    """The parcel has left, and nobody has paid for it."""
    unpaid = await house.order(*shipped("a"), moves=inventory.ship)
    house.known, house.refused = known, refused
    assert await house.looks() == [("CAPTURE_MISSING", unpaid, "RAISED")]
    assert await house.looks() == []


@pytest.mark.parametrize(
    "taken", [{"a:capture:1": 980}, {"a:capture:1": 9800, "a:capture:2": 9800}], ids=["another", "twice"]
)
async def test_another_amount_than_the_total_is_told(house: House, taken: dict[str, int]):
    """Nothing is repaired about money that was taken."""
    again = CaptureRequested(n=2, provider_key="a:capture:2", reference="a")
    wrong = await house.order(*shipped("a", again), moves=inventory.ship)
    house.known, house.taken = {"a:authorize:1", *taken}, taken
    assert await house.looks() == [("CAPTURE_WRONG", wrong, "RAISED")]
    [row] = await house.rows("select evidence from exceptions")
    assert (row["evidence"]["takenMinor"], row["evidence"]["totalMinor"]) == (sum(taken.values()), 9800)
    assert house.asked == []


async def test_money_of_an_order_that_ended_without_its_parcel_is_told(house: House):
    """A store that was put back has forgotten the capture, and the order was cancelled after it."""
    order_id = await house.order(*paid("a"), *cancelled("a"), moves=inventory.release)
    house.known |= {"a:authorize:1", "a:void:1", f"{contract.stream(order_id)}:capture:1"}
    assert await house.looks() == [("CAPTURE_WRONG", order_id, "RAISED")]


async def test_a_replaced_authorization_of_a_shipped_order_is_voided_or_told(house: House):
    """Voided under the void's own name; without a fact of it, or refused, a person is told."""
    left = await house.order(
        *shipped("a", *renewed("a"), void("a"), PaymentVoided(n=1), reference="a-2"), moves=inventory.ship
    )
    untold = await house.order(*shipped("b", *renewed("b"), reference="b-2"), moves=inventory.ship)
    refused = await house.order(
        *shipped("c", *renewed("c"), void("c"), PaymentVoided(n=1), reference="c-2"), moves=inventory.ship
    )
    house.known |= {f"{name}:{key}" for name in "abc" for key in ("authorize:1", "authorize:2", "capture:1")}
    house.known |= {"c:void:1"}
    house.refused = {"c:void:1": "already_captured"}
    assert await house.looks() == [
        ("PAYMENT_LEFT", left, "VOIDED"),
        ("PAYMENT_LEFT", untold, "RAISED"),
        ("PAYMENT_LEFT", refused, "RAISED"),
    ]
    assert house.asked == ["/authorizations/a/void"]
    assert await house.looks() == []


async def test_an_order_that_nothing_was_reserved_for_is_asked_nothing_about(house: House):
    await house.order(OrderCancelled(code=Code.CANCELLED_ON_REQUEST))
    assert await house.looks() == []
    assert house.looked_up == []


async def test_a_slow_provider_is_asked_little(house: House, monkeypatch: pytest.MonkeyPatch):
    """A look that takes long ends after the order it is at, and the next one goes on behind it."""
    monkeypatch.setattr(endings, "LOOK_SECONDS", -1.0)
    ended = [await house.order(*shipped(name), moves=inventory.ship) for name in "abc"]
    house.known |= {"a:authorize:1", "b:authorize:1", "c:authorize:1"}
    for order_id in ended:
        assert await house.looks() == [("CAPTURE_MISSING", order_id, "CAPTURED")]
    assert await house.looks() == []


async def test_a_provider_that_answers_now_and_then_is_not_asked_the_same_for_ever(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    """What it has answered about is settled, and the next look begins with the order it was silent about."""
    ended = [await house.order(*shipped(name), moves=inventory.ship) for name in "ab"]
    house.known |= {"a:authorize:1", "b:authorize:1"}
    known = ExternalCalls.known

    async def now_and_then(calls: ExternalCalls, provider_key: str) -> Known | None:
        if provider_key.startswith("b:"):
            raise Unavailable
        return await known(calls, provider_key)

    with monkeypatch.context() as patch:
        patch.setattr(ExternalCalls, "known", now_and_then)
        assert await house.looks() == [("CAPTURE_MISSING", ended[0], "CAPTURED")]
    assert await house.looks() == [("CAPTURE_MISSING", ended[1], "CAPTURED")]


@pytest.mark.parametrize(
    ("service", "ends"), [("orders", money.ENDS), ("fulfillments", labels.ENDS)], ids=["money", "labels"]
)
async def test_what_has_ended_is_found_without_reading_the_rest(
    migrated: Stack, make_database: MakeDatabase, service: str, ends: LiteralString
):
    """Of a log of many facts only those are read, by an index of their own."""
    assert migrated
    rule: LiteralString = endings.SINCE.format(ends=ends)
    async with Database(PostgresSettings(url=make_database(service)), "test") as database:
        await database.execute(
            """
            insert into events (stream, version, event_id, type, schema_version, data, meta, recorded_at)
            select 's', n, gen_random_uuid(), 'Another', 1, '{}', '{}', now() from generate_series(1, 5000) n
            """
        )
        await database.execute("analyze events")
        explain: LiteralString = f"explain {rule}"
        plan = await database.fetch(explain, after=0, pause=timedelta(0), limit=endings.PAGE)
    assert "using events_ended" in " ".join(row["QUERY PLAN"] for row in plan)


async def test_a_provider_that_is_away_is_asked_later(house: House, monkeypatch: pytest.MonkeyPatch):
    """The same orders come again; nothing is skipped, and the other rules have looked."""
    left = await house.order(*paid("u"), *cancelled("u"))
    house.known |= {"u:authorize:1"}

    async def away(*_: object) -> Known:
        raise Unavailable

    with monkeypatch.context() as patch:
        patch.setattr(ExternalCalls, "known", away)
        await house.ages()
        assert await house.looks() == [("STOCK_KEPT", left, "RELEASED")]
    assert await house.looks() == [("PAYMENT_LEFT", left, "VOIDED")]


async def test_while_the_provider_is_not_to_be_asked_nobody_is_late(house: House):
    """Its circuit breaker is open: orders wait for it, and the reconciler asks it nothing."""
    await house.order(StockHeld())
    left = await house.order(*paid("v"), *cancelled("v"), moves=inventory.release)
    house.known |= {"v:authorize:1"}
    await house.ages()
    opened = "update circuit_breakers set state = 'OPEN', open_until = now() + interval '1 hour'"
    await house.database.execute(opened)
    assert await house.looks() == []
    await house.database.execute("update circuit_breakers set state = 'CLOSED', changed_at = now()")
    assert await house.looks() == [("PAYMENT_LEFT", left, "VOIDED")]


async def test_an_end_that_commits_late_under_a_lower_position_is_audited_too(house: House):
    """However long its transaction takes: nothing behind it is passed before it is there."""
    audited: list[str] = []

    async def audit(change: Change[Order, OrderEvent]) -> list[Finding]:
        audited.append(change.state.order_id)
        return []

    async def decide(_: Connection, __: Order | None) -> list[OrderEvent]:
        return [OrderCancelled(code=Code.CANCELLED_ON_REQUEST)]

    journal = journal_of(house.database)
    rule = endings.ending_rule("late", "'OrderCancelled'", audit, journal, AT_ONCE, finds=())
    late, early = await house.order(), await house.order()
    async with house.database.transaction() as connection:
        await journal.change_in(connection, contract.stream(late), Cause("test"), decide)
        await connection.execute("select")
        await journal.change(contract.stream(early), Cause("test"), decide)
        seen = await rule.look("")
        assert audited == []
    await rule.look(seen.cursor)
    assert audited == [late, early]
