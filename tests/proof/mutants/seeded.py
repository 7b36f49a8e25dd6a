"""Bugs that random seeds must find: each is put into the services in memory, and taken out again.

A bug says what has to go wrong for it to show (`given`), beside what each seed draws anyway.
"""

# pyright: reportPrivateUsage=false
# A bug sits where it likes.

import random
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any, LiteralString
from unittest.mock import patch
from uuid import uuid4

from temporalio import activity

from contracts.chassis import event_store, exception_facts, outbox, receipts
from contracts.chassis.errors import Unavailable
from contracts.chassis.event_store import EventStore
from contracts.chassis.external_calls import Answer, ExternalCalls
from contracts.chassis.inbox import Inbox
from contracts.chassis.kafka.consumer import Consumer
from contracts.chassis.outbox import OutboxRelay, OutboxRow
from contracts.chassis.postgres import Connection
from contracts.chassis.receipts import Advance, Granted
from contracts.chassis.troubles import Open
from contracts.envelope import Event, WishName
from fulfillment_service import projection as parcel_projection
from fulfillment_service.activities import FulfillmentActivities
from fulfillment_service.carrier import Carrier
from fulfillment_service.events import FulfillmentEvent, StepCompleted
from fulfillment_service.fulfillment import Fulfillment, steps
from order_service import activities as order_activities
from order_service import consumer as order_consumer
from order_service import intake as order_intake
from order_service import projection as order_projection
from order_service import publishing, workflow
from order_service.activities import OrderActivities
from order_service.activities.money import Money
from order_service.events import OrderEvent, PaymentCaptured
from order_service.fulfillment_bridge import FulfillmentBridge
from order_service.order import Order
from order_service.order import exceptions as order_exceptions
from order_service.payments import Payments
from tests.proof import checks
from tests.proof.simulation.database import Tables, statement
from tests.proof.simulation.plan import Break, Crash, Cut, Happening, Misbehave, Plan, When, WishFor, drawn

Bug = AbstractContextManager[Any]


@dataclass(frozen=True)
class SeededBug:
    """A bug, and the invariant that has to catch it."""

    name: str
    invariant: str
    applied: Callable[[], Bug]
    given: tuple[Happening, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def plan(self, seed: int) -> Plan:
        """What the seed draws, and what this bug needs to show."""
        plan = drawn(seed)
        return plan.model_copy(
            update={**self.settings, "happenings": (*plan.happenings, *self.given)}, deep=True
        )


def _misbehaves(provider: Any, operation: str, how: Any, n: int = 1) -> Misbehave:
    return Misbehave(provider=provider, operation=operation, n=n, how=how)


def _wish(message: Any, fact: str, door: Any = "order-rest", times: int = 1) -> WishFor:
    return WishFor(order=0, when=When(fact=fact), message=message, door=door, times=times)


PAUSE = _wish("pause", "FulfillmentAccepted", "parcel-rest")


def _breaks(provider: Any, operation: str, how: Any = "down") -> Break:
    return Break(step=0, provider=provider, operation=operation, how=how)


# The log.


def version_from_a_sequence() -> Bug:
    """Versions are counted beside the stream, and a transaction that is undone does not give its own back."""
    store: Any = EventStore
    real, taken = store.append, dict[str, int]()

    async def append(
        self: Any, connection: Connection, stream: str, after: int, facts: Any, cause: Any
    ) -> Any:
        after = max(after, taken.get(stream, 0))
        taken[stream] = after + len(facts)
        return await real(self, connection, stream, after, facts, cause)

    return patch.object(EventStore, "append", append)


def fact_forgets_its_command() -> Bug:
    """Nobody can say any more which wish led to what."""
    real: Any = event_store._row

    def row(recorded: Any) -> Any:
        return real(replace(recorded, command_id=None))

    return patch.object(event_store, "_row", row)


def worker_has_its_own_time() -> Bug:
    """What a workflow does is stored with the time of its worker, which is five minutes behind."""
    real: Any = event_store._row

    def row(recorded: Any) -> Any:
        is_of_a_worker = (recorded.command_id or "").startswith("order-workflow-")
        behind = timedelta(minutes=5) if is_of_a_worker else timedelta()
        return real(replace(recorded, recorded_at=recorded.recorded_at - behind))

    return patch.object(event_store, "_row", row)


def knock_without_its_trace() -> Bug:
    """Whoever asked for the order is not told to the workflow that carries it out."""
    return patch.object(order_intake.knocks, "current_traceparent", lambda: None)


# Relays, consumers, receipts.


def inbox_skipped() -> Bug:
    """Every record is applied, whether or not it was before."""

    async def mark(self: Inbox, connection: Connection, events: Sequence[Event]) -> set[Any]:
        return {event.id for event in events}

    return patch.object(Inbox, "_mark", mark)


def acknowledged_before_the_transaction() -> Bug:
    """The offset is committed first; who dies before the transaction has lost the record."""
    real = Consumer._try

    async def tried(self: Consumer, mine: Any) -> bool:
        await self._commit({partition: records[-1].offset + 1 for partition, records in mine.items()})
        return await real(self, mine)

    return patch.object(Consumer, "_try", tried)


def marked_without_acknowledgement() -> Bug:
    """A row counts as published as soon as it was handed over."""
    real = OutboxRelay.turn

    async def turn(self: OutboxRelay) -> int:
        async def send(rows: Sequence[OutboxRow]) -> Sequence[BaseException | None]:
            await honest(rows)
            return [None] * len(rows)

        honest, self._send = self._send, send
        try:
            return await real(self)
        finally:
            self._send = honest

    return patch.object(OutboxRelay, "turn", turn)


def new_event_id_for_each_sending() -> Bug:
    """Who gets a record twice takes it for two."""
    real = OutboxRelay._unpublished

    async def unpublished(self: OutboxRelay) -> list[OutboxRow]:
        rows = await real(self)
        return [replace(row, headers={**row.headers, "ce_id": str(uuid4())}) for row in rows]

    return patch.object(OutboxRelay, "_unpublished", unpublished)


def fact_without_its_record() -> Bug:
    """The last fact of a change is not published."""
    real = outbox.add

    async def add(connection: Connection, records: Sequence[Any]) -> None:
        await real(connection, records[:-1] if len(records) > 1 else records)

    return patch.object(outbox, "add", add)


def view_keeps_what_it_heard_first() -> Bug:
    """The order's view shows the fulfillment's first event for ever."""

    async def show(connection: Connection, event: Event) -> None:
        if event.sequence == 1:
            await order_projection.show_fulfillment(connection, event)

    return patch.object(order_consumer, "show_fulfillment", show)


def knock_not_stored() -> Bug:
    """Nobody tells the workflow that there is an order."""

    async def add(connection: Connection, knock: Any) -> None: ...

    return patch.object(order_intake.knocks, "add", add)


def receipt_not_stored() -> Bug:
    """The wish is decided, and its receipt does not say how."""

    async def answer(connection: Connection, receipt: Any, answer: Any) -> None: ...

    return patch.object(receipts, "_answer", answer)


def receipt_does_not_move_on() -> Bug:
    """What was accepted never takes effect on paper."""

    async def advance(connection: Connection, steps: Sequence[Advance], version: int) -> None: ...

    return patch.object(parcel_projection.receipts, "advance", advance)


def idempotency_key_ignored() -> Bug:
    """Whoever places an order twice under one key has two."""

    async def known(*_: Any) -> None: ...

    return patch.object(receipts, "_known", known)


# The order.


@contextmanager
def cancel_only_in_memory() -> Generator[None]:
    """The workflow knows of the cancel, the stream does not."""
    real = OrderActivities.submit

    @activity.defn(name="submit")
    async def submit(self: OrderActivities, order_id: str, name: str, wish: Any, command_id: str) -> Any:
        if name == "cancelOrder":
            return await self.load(order_id)
        return await real(self, order_id, name, wish, command_id)

    submit.__annotations__ = real.__annotations__
    with patch.object(OrderActivities, "submit", submit):
        yield


def holds_left_behind() -> Bug:
    """The parcel is asked for without the holds that were placed on its order before."""
    real = OrderActivities._start_request

    async def request(self: OrderActivities, order: Order) -> Any:
        return (await real(self, order)).model_copy(update={"holds": ()})

    return patch.object(OrderActivities, "_start_request", request)


def two_fulfillments_for_one_order() -> Bug:
    """Each start asks for one more parcel."""
    real = FulfillmentBridge.start
    numbers = count(2)

    async def start(self: FulfillmentBridge, request: Any) -> Any:
        await real(self, request.model_copy(update={"n": next(numbers), "mode": "automatic", "holds": ()}))
        return await real(self, request)

    return patch.object(FulfillmentBridge, "start", start)


def stock_not_released() -> Bug:
    """A cancelled order keeps its pieces."""

    async def release(connection: Connection, order_id: str) -> None: ...

    return patch.object(order_activities.inventory, "release", release)


_AGAIN: LiteralString = """
    update stock set available = available + 1
    where sku in (select sku from stock_ledger where order_id = %s)
    """


@statement(_AGAIN)
def _released_again(tables: Tables, given: Sequence[Any]) -> int:
    lines = [row for row in tables.all("stock_ledger") if row["order_id"] == given[0]]
    for line in lines:
        level = tables.get("stock", line["sku"])
        assert level is not None
        tables.update("stock", (line["sku"],), available=level["available"] + 1)
    return len(lines)


def stock_released_twice() -> Bug:
    """What was released is released again, whatever state it is in."""
    real = order_activities.inventory.release

    async def release(connection: Connection, order_id: str) -> None:
        await real(connection, order_id)
        await connection.queue(_AGAIN, (order_id,))

    return patch.object(order_activities.inventory, "release", release)


def looks_every_five_seconds() -> Bug:
    """The workflow asks again and again, as if nobody would tell it."""
    real = workflow.Patience.__init__

    def begin(self: workflow.Patience, *_: Any) -> None:
        real(self, timedelta(seconds=5), 1, timedelta(seconds=5))

    return patch.object(workflow.Patience, "__init__", begin)


def random_in_the_workflow() -> Bug:
    """The workflow waits for a time that chance decides, another one in each replay."""
    real = workflow.Patience.__init__

    def begin(self: workflow.Patience, first: timedelta, factor: int, longest: timedelta) -> None:
        real(self, first, factor, longest)
        self.until += self._pause * random.random()

    return patch.object(workflow.Patience, "__init__", begin)


# The parcel.


@contextmanager
def hold_ignored_when_a_step_begins() -> Generator[None]:
    """Steps begin whatever stands against them."""
    with patch.object(Fulfillment, "obstacle", property(lambda _: None)):
        yield


def step_completed_twice() -> Bug:
    """The end of a step is recorded two times."""
    real = steps.work

    def work(f: Fulfillment, **how: Any) -> list[FulfillmentEvent]:
        found = real(f, **how)
        return [each for fact in found for each in [fact] * (2 if isinstance(fact, StepCompleted) else 1)]

    return patch.object(steps, "work", work)


def label_for_the_first_address() -> Bug:
    """A label is asked for anew, with the address that the order had at first."""
    real = FulfillmentActivities._book

    async def book(self: FulfillmentActivities, state: Fulfillment, label: Any, **how: Any) -> Any:
        return await real(self, state, replace(label, address_version=1), **how)

    return patch.object(FulfillmentActivities, "_book", book)


def void_of_the_label_skipped() -> Bug:
    """The stream says that the label is void, and the carrier never heard of it."""

    async def void(*_: Any) -> None: ...

    return patch.object(Carrier, "void", void)


# Money and providers.


def void_skipped() -> Bug:
    """The stream says that the authorization is void, and the provider never heard of it."""

    async def void(*_: Any) -> None: ...

    return patch.object(Payments, "void", void)


def timeout_taken_for_a_refusal() -> Bug:
    """Who does not answer has said no."""
    real = ExternalCalls.once

    async def once(self: ExternalCalls, *asked: Any, **how: Any) -> Answer:
        try:
            return await real(self, *asked, **how)
        except Unavailable:
            return Answer({}, "timeout")

    return patch.object(ExternalCalls, "once", once)


def lookup_skipped() -> Bug:
    """A call of which nobody knows what became of it is simply made again."""
    real = ExternalCalls._replied

    async def replied(self: ExternalCalls, *asked: Any, is_new: bool) -> Any:
        return await real(self, *asked, is_new=True)

    return patch.object(ExternalCalls, "_replied", replied)


def attempt_in_the_provider_key() -> Bug:
    """Each try has a name of its own."""
    real = ExternalCalls._replied
    numbers = count(1)

    async def replied(self: ExternalCalls, provider_key: str, *asked: Any, is_new: bool) -> Any:
        return await real(self, f"{provider_key}-{next(numbers)}", *asked, is_new=is_new)

    return patch.object(ExternalCalls, "_replied", replied)


def authorize_under_a_new_name_after_a_death() -> Bug:
    """The provider's key counts what this process did, not what the stream says."""
    real = Payments.authorize
    numbers = count(1)

    async def authorize(self: Payments, provider_key: str, **how: Any) -> Any:
        return await real(self, f"{provider_key}{next(numbers)}", **how)

    return patch.object(Payments, "authorize", authorize)


# Who may know what.


def person_printed_before_authorize() -> Bug:
    """Somebody wanted to see who pays."""
    real = Money.authorize

    async def authorize(self: Money, order_id: str, now: Any) -> Any:
        rows = await self._stream.database.fetch(_CONTACT, ref=f"order-{order_id}")
        print("authorizing for", *(row["content"] for row in rows))
        return await real(self, order_id, now)

    return patch.object(Money, "authorize", authorize)


_CONTACT: LiteralString = "select content from pii where ref = %(ref)s and kind = 'contact'"


@statement(_CONTACT)
def _contact(tables: Tables, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    row = tables.get("pii", given["ref"], "contact", 1)
    return [{"content": row["content"]}] if row else []


def person_published() -> Bug:
    """The customer's reference is the customer's name."""
    real = publishing._data

    def data(*about: Any) -> Any:
        return real(*about).model_copy(update={"customer_id": "Adalia Demonstrata"})

    return patch.object(publishing, "_data", data)


# What waits for a person.


def resolved_and_nobody_knocks() -> Bug:
    """The exception is over, and the workflow is not told: it looks when its own time comes."""
    real = order_intake.Intake.submit

    async def submit(self: order_intake.Intake, name: WishName, *what: Any, **how: Any) -> Granted[Order]:
        told = name != "resolveException" and how.pop("knock", False)
        return await real(self, name, *what, **{**how, "knock": told})

    return patch.object(order_intake.Intake, "submit", submit)


def skipped_capture_forgotten() -> Bug:
    """A person has left the capture out, and the order goes on as if it had only been retried."""
    real = order_exceptions._skipped

    def skipped(order: Order, trouble: Open, now: datetime) -> list[OrderEvent]:
        return [fact for fact in real(order, trouble, now) if not isinstance(fact, PaymentCaptured)]

    return patch.object(order_exceptions, "_skipped", skipped)


async def _nothing(*_: Any, **__: Any) -> None: ...


def exception_stays_open() -> Bug:
    """The stream says that it is over, and its row still waits for somebody."""
    return patch.object(exception_facts, "resolve", _nothing)


def parked_and_shown_to_nobody() -> Bug:
    """The step waits for a person, and no list has it."""
    return patch.object(exception_facts, "raise_", _nothing)


_LOST = _misbehaves("payments", "authorize", "lost")
_CRASHES = tuple(
    Crash(when=When(step=step), order=0, worker=f"{side}-consumer")
    for step in range(20, 250, 6)
    for side in ("order", "parcel")
)

BUGS = (
    SeededBug(
        "version from a sequence",
        checks.GAPLESS,
        version_from_a_sequence,
        tuple(Cut(side="order", what="database", n=n, how="away") for n in range(10, 40, 3)),
    ),
    SeededBug("fact forgets its command", checks.ANSWERS, fact_forgets_its_command, (PAUSE,)),
    SeededBug("worker has its own time", checks.FORWARD, worker_has_its_own_time),
    SeededBug("knock without its trace", checks.TRACE, knock_without_its_trace),
    SeededBug("looks every five seconds", checks.BUDGET, looks_every_five_seconds, (PAUSE,)),
    SeededBug("inbox skipped", checks.APPLIED, inbox_skipped),
    SeededBug(
        "acknowledged before the transaction",
        checks.APPLIED,
        acknowledged_before_the_transaction,
        _CRASHES,
    ),
    SeededBug(
        "marked as published without acknowledgement",
        checks.TOPICS,
        marked_without_acknowledgement,
        tuple(Cut(side="order", what="kafka", n=n, how="away") for n in (2, 5)),
    ),
    SeededBug(
        "new event id for each sending",
        checks.TOPICS,
        new_event_id_for_each_sending,
        tuple(Cut(side="order", what="kafka", n=n, how="lost") for n in (2, 5)),
    ),
    SeededBug("fact without its record", checks.TOPICS, fact_without_its_record),
    SeededBug("view keeps what it heard first", checks.FOLDED, view_keeps_what_it_heard_first),
    SeededBug("knock not stored", checks.ENDS, knock_not_stored),
    SeededBug("receipt not stored", checks.RECEIPTS, receipt_not_stored, (PAUSE,)),
    SeededBug(
        "receipt does not move on",
        checks.RECEIPTS,
        receipt_does_not_move_on,
        (_wish("cancel", "StepStarted", "parcel-rest"),),
    ),
    SeededBug("idempotency key ignored", checks.PLACED, idempotency_key_ignored),
    SeededBug(
        "cancel only in memory",
        checks.RECEIPTS,
        cancel_only_in_memory,
        (_wish("cancel", "StockHeld", "order-signal"),),
    ),
    SeededBug(
        "holds left behind when the parcel is asked for",
        checks.HELD,
        holds_left_behind,
        (_wish("pause", "StockHeld"),),
    ),
    SeededBug("two fulfillments for one order", checks.ONE, two_fulfillments_for_one_order),
    SeededBug(
        "stock not released", checks.STOCK, stock_not_released, (_wish("cancel", "PaymentAuthorized"),)
    ),
    SeededBug(
        "stock released twice", checks.STOCK, stock_released_twice, (_wish("cancel", "PaymentAuthorized"),)
    ),
    SeededBug("random in the workflow", checks.REPLAYS, random_in_the_workflow, (), {"evicted": 1.0}),
    SeededBug("hold ignored when a step begins", checks.HELD, hold_ignored_when_a_step_begins, (PAUSE,)),
    SeededBug("step completed twice", checks.STEPS, step_completed_twice),
    SeededBug(
        "label for the first address",
        checks.ADDRESS,
        label_for_the_first_address,
        (_wish("address", "FulfillmentAccepted", "parcel-rest"),),
    ),
    SeededBug(
        "void of the label skipped",
        checks.ONE,
        void_of_the_label_skipped,
        (_wish("cancel", "LabelBooked", "parcel-rest"),),
    ),
    SeededBug("void skipped", checks.MONEY, void_skipped, (_wish("cancel", "PaymentAuthorized"),)),
    SeededBug("time-out taken for a refusal", checks.MONEY, timeout_taken_for_a_refusal, (_LOST,)),
    SeededBug("lookup skipped", checks.MONEY, lookup_skipped, (_LOST,), {"knows_keys": False}),
    SeededBug("attempt number in the provider key", checks.MONEY, attempt_in_the_provider_key, (_LOST,)),
    SeededBug(
        "provider key counted by the process",
        checks.MONEY,
        authorize_under_a_new_name_after_a_death,
        (_LOST,),
    ),
    SeededBug("person printed before authorize", checks.LOGS, person_printed_before_authorize),
    SeededBug("person published", checks.PRIVATE, person_published),
    SeededBug(
        "resolved, and the step is not tried again",
        checks.AGAIN,
        resolved_and_nobody_knocks,
        (_breaks("payments", "capture"),),
        {"attempts": 1},
    ),
    SeededBug(
        "skipped capture forgotten",
        checks.SKIPPED,
        skipped_capture_forgotten,
        (_breaks("payments", "capture"),),
        {"attempts": 1},
    ),
    SeededBug(
        "exception stays open after its end",
        checks.EXCEPTIONS,
        exception_stays_open,
        (_breaks("carrier", "book"),),
        {"attempts": 1},
    ),
    SeededBug(
        "step parked without an exception",
        checks.EXCEPTIONS,
        parked_and_shown_to_nobody,
        (_breaks("carrier", "hand-over"),),
        {"attempts": 1},
    ),
)
