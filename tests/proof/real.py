"""The same schedules on real engines: PostgreSQL, Temporal's development server, the provider sandbox.

A point that both worlds have is the start of an activity, local or not: `parcel.work#3` is the third time
that the order's parcel comes to its `work`. There an interceptor stops the activity, and the wish is sent.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor, Worker

import fulfillment_service.bootstrap as fulfillment_bootstrap
import fulfillment_service.bootstrap.relay as fulfillment_relay
import order_service.bootstrap as order_bootstrap
import order_service.bootstrap.relay as order_relay
from contracts import fulfillment, order
from contracts.chassis import breakers, temporal
from contracts.chassis.external_calls import ExternalCalls
from contracts.chassis.knocks import CHANNEL, KnockRelay
from contracts.chassis.postgres import Database, Listener
from contracts.chassis.settings import RelaySettings
from contracts.chassis.telemetry import attached
from contracts.chassis.temporal import Delivery, Target
from contracts.values import order_id
from fulfillment_service.activities import FulfillmentActivities
from fulfillment_service.carrier import REFUSALS as CARRIER_REFUSALS
from fulfillment_service.carrier import Carrier
from fulfillment_service.order_bridge import OrderBridge
from fulfillment_service.workflow import FulfillmentWorkflow
from order_service.activities import OrderActivities
from order_service.fulfillment_bridge import FulfillmentBridge
from order_service.intake import Intake as OrderIntake
from order_service.payments import REFUSALS, Payments
from order_service.settings import DeadlineSettings
from order_service.workflow import OrderWorkflow
from tests.proof import recording
from tests.proof.people import ACTOR, Operator, Side, Wished
from tests.proof.record import Ended, Record, Sent, Service
from tests.proof.simulation.house import traceparent
from tests.proof.simulation.play import order_of
from tests.proof.simulation.schedule import SCRIPTS, Injection, Schedule

LOOK_SECONDS = 0.25
SETTLED_SECONDS = 600.0
"""A machine may be slow; what is stuck is stuck for good."""
AT_ONCE = 16
"""So many orders are on their way side by side; most of the time each of them waits."""
PATIENT = 10_000
"""Failures in a row that open a breaker: one order's provider is no other order's trouble here."""

Came = Callable[[str, activity.Info], Awaitable[None]]


class Between(Interceptor):
    """Says of each activity, before it runs, which workflow and which place it is."""

    def __init__(self, side: Side, came: Came) -> None:
        self._side: Side = side
        self._came = came

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        return _Between(next, self._side, self._came)


class _Between(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, side: Side, came: Came) -> None:  # noqa: A002
        super().__init__(next)
        self._side: Side = side
        self._came = came

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        await self._came(f"{self._side}.{activity.info().activity_type}", activity.info())
        return await super().execute_activity(input)


@dataclass
class Run:
    """One schedule on its way."""

    schedule: Schedule
    order_id: str
    sent: list[Sent] = field(default_factory=list[Sent])
    came: dict[str, int] = field(default_factory=dict[str, int])
    known: set[tuple[str | None, str]] = field(default_factory=set[tuple[str | None, str]])
    """The activities that have begun, by run and number; a further attempt is not another one."""
    local: set[str] = field(default_factory=set[str])
    """Places of local activities; where their tries are spent, what goes on elsewhere is the same again."""
    waiting: dict[str, list[tuple[int, Injection]]] = field(
        default_factory=dict[str, list[tuple[int, Injection]]]
    )

    def __post_init__(self) -> None:
        script = SCRIPTS[self.schedule.script]
        for number, injection in enumerate((*script.opening, *self.schedule.injections), start=1):
            self.waiting.setdefault(injection.point, []).append((number, injection))

    def is_new(self, what: str, info: activity.Info) -> bool:
        """It is no further attempt, however slow the machine is: so places count as in a simulation."""
        if info.is_local:
            self.local.add(what)
        key = (info.workflow_run_id, info.activity_id)
        if key in self.known or (what in self.local and not info.is_local):
            return False
        self.known.add(key)
        return True


@dataclass(frozen=True)
class Look:
    """What is seen from outside of the two workflows of an order at one moment."""

    histories: tuple[tuple[str, int], ...]
    """How far each run has come."""
    is_moving: bool
    """Somebody has something to do."""
    is_over: bool


class RealHouse:
    """The pair on real engines, with people at its doors."""

    def __init__(
        self,
        orders: Database,
        parcels: Database,
        clients: dict[Side, Client],
        settings: fulfillment_bootstrap.Settings,
    ) -> None:
        self.orders, self.parcels, self._clients = orders, parcels, clients
        self.order_journal = order_bootstrap.journal_of(orders)
        self.order_intake = order_bootstrap.intake_of(self.order_journal)
        self.parcel_journal = fulfillment_bootstrap.journal_of(parcels)
        self.parcel_intake = fulfillment_bootstrap.intake_of(self.parcel_journal, settings)
        self.standing = self.parcel_intake.standing
        self._runs: dict[str, Run] = {}
        self._room = asyncio.Semaphore(AT_ONCE)

    async def signal(self, side: Side, workflow_id: str, name: str, content: Sequence[Any]) -> bool:
        """False when no such workflow runs."""
        try:
            await self._clients[side].get_workflow_handle(workflow_id).signal(name, args=content)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return True

    async def came(self, what: str, info: activity.Info) -> None:
        """The wishes that wait for this place are sent before it is left."""
        run = next((run for name, run in self._runs.items() if name in (info.workflow_id or "")), None)
        if run is None or not run.is_new(what, info):
            return
        run.came[what] = run.came.get(what, 0) + 1
        here = run.waiting.pop(f"{what}#{run.came[what]}", [])
        for number, injection in here:
            wished = Wished(injection, number, run.order_id, datetime.now(UTC))
            sent = [await wished.send(self) for _ in range(injection.times)]
            run.sent += [each for each in sent if each]
        if any(injection.kill for _, injection in here):
            # Nothing is heard of this attempt any more, as of one whose worker has died.
            await asyncio.Event().wait()

    async def play(self, schedule: Schedule, number: int) -> Run:
        """The schedule's order has ended. Raises TimeoutError when it does not."""
        async with self._room:
            return await self._play(schedule, number)

    async def _play(self, schedule: Schedule, number: int) -> Run:
        now = datetime.now(UTC)
        intake = OrderIntake(
            self.order_journal, DeadlineSettings(), random_bits=lambda _: number, now=lambda: now
        )
        # The id is known before the order is: its first activity must not be missed.
        run = Run(schedule, order_id(now, number))
        self._runs[run.order_id] = run
        script = SCRIPTS[schedule.script]
        with attached(traceparent(number)):
            await intake.place(
                order_of(script),
                command_id=f"place-{run.order_id}",
                actor=ACTOR,
                request_hash="",
                mode=script.mode,
                pace_seconds=script.pace_seconds,
            )
        async with asyncio.timeout(SETTLED_SECONDS):
            await self._help_to_the_end(run, Operator(self, run.order_id, script.answer))
        assert not run.waiting, f"{schedule} never came to {list(run.waiting)}; it came to {run.came}"
        return run

    async def _help_to_the_end(self, run: Run, operator: Operator) -> None:
        """People do the next thing where nothing is under way and nothing has happened between two looks.

        One look alone may see the one workflow just before and the other one just after a word of theirs."""
        before: Look | None = None
        while not (look := await self._look(run)).is_over:
            if look == before and not look.is_moving:
                if not await operator.work():
                    await operator.set_free()
                look = None
            before = look
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self, run: Run) -> Look:
        """What the server says of the order's workflow and its parcel's; whether a knock is on its way."""
        found: list[Any] = []
        for side, workflow_id in _workflows(run.order_id):
            try:
                found.append(await self._clients[side].get_workflow_handle(workflow_id).describe())
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
        knocks = [await self._knocks(database, run.order_id) for database in (self.orders, self.parcels)]
        return Look(
            tuple((each.run_id, each.history_length) for each in found),
            is_moving=any(knocks) or any(_is_busy(each) for each in found),
            is_over=bool(found)
            and all(each.status is not WorkflowExecutionStatus.RUNNING for each in found)
            and not any(knocks),
        )

    async def _knocks(self, database: Database, name: str) -> bool:
        """Some are under way to the workflows of the order of that name."""
        rows = await database.fetch("select workflow_id from knocks")
        return any(name in row["workflow_id"] for row in rows)

    # The record.

    async def record(self, runs: Sequence[Run], ledgers: httpx.AsyncClient) -> Record:
        """All that is recorded of these orders, for the same checks as a simulation's."""
        record = Record(sent=[sent for run in runs for sent in run.sent])
        ours = [run.order_id for run in runs]
        await _read(record, "orders", self.orders, ours)
        await _read(record, "fulfillments", self.parcels, ours)
        for provider in ("payments", "carrier"):
            recording.add_effects(record, (await ledgers.get(f"/ledgers/{provider}")).json(), ours)
        for run in runs:
            for side, workflow_id in _workflows(run.order_id):
                record.workflows += await self._ended(side, workflow_id)
        return record

    async def _ended(self, side: Side, workflow_id: str) -> list[Ended]:
        handle = self._clients[side].get_workflow_handle(workflow_id)
        try:
            status = (await handle.describe()).status
        except RPCError:
            return []
        is_completed = status is WorkflowExecutionStatus.COMPLETED
        outcome = await handle.result() if is_completed else None
        return [Ended(workflow_id, status.name.lower() if status else "", outcome)]


def _is_busy(described: Any) -> bool:
    raw = described.raw_description
    return bool(raw.pending_activities) or raw.HasField("pending_workflow_task")


def _workflows(name: str) -> list[tuple[Side, str]]:
    """The workflows of the order of that id."""
    parcel = fulfillment.workflow_id(fulfillment.fulfillment_id(name, 1))
    return [("order", order.workflow_id(name)), ("parcel", parcel)]


async def _read(record: Record, service: Service, database: Database, ours: Sequence[str]) -> None:
    recording.add_facts(record, service, await database.fetch(recording.EVENTS), ours)
    recording.add_receipts(record, service, await database.fetch(recording.RECEIPTS), ours)
    recording.add_addresses(record, await database.fetch(recording.ADDRESSES))
    recording.add_exceptions(record, service, await database.fetch(recording.EXCEPTIONS), ours)
    record.undelivered += len(await database.fetch(recording.KNOCKS))


@asynccontextmanager
async def open_house(
    orders: order_bootstrap.Settings, parcels: fulfillment_bootstrap.Settings
) -> AsyncGenerator[RealHouse]:
    """Both workers and both relays run until the house is left."""
    async with AsyncExitStack() as opened:
        order_database = await opened.enter_async_context(Database(orders.postgres, "proof"))
        parcel_database = await opened.enter_async_context(Database(parcels.postgres, "proof"))
        clients: dict[Side, Client] = {
            "order": await temporal.connect("orders", orders.temporal),
            "parcel": await temporal.connect("fulfillments", parcels.temporal),
        }
        for database, provider in ((order_database, "payments"), (parcel_database, "carrier")):
            await breakers.configure(
                database, provider, threshold=PATIENT, cool_down_seconds=None, reason="proof", actor=ACTOR
            )
        house = RealHouse(order_database, parcel_database, clients, parcels)
        payments = await opened.enter_async_context(
            httpx.AsyncClient(base_url=orders.payments.payments_url, timeout=30)
        )
        carrier = await opened.enter_async_context(
            httpx.AsyncClient(base_url=parcels.carrier.carrier_url, timeout=30)
        )
        order_activities = OrderActivities(
            house.order_journal,
            house.order_intake,
            Payments(ExternalCalls(order_database, "payments", payments, refusals=REFUSALS)),
            FulfillmentBridge(clients["parcel"]),
        )
        parcel_activities = FulfillmentActivities(
            house.parcel_journal,
            house.parcel_intake,
            Carrier(ExternalCalls(parcel_database, "carrier", carrier, refusals=CARRIER_REFUSALS)),
            OrderBridge(clients["order"]),
        )
        for worker in (
            Worker(
                clients["order"],
                task_queue=order.TASK_QUEUE,
                workflows=[OrderWorkflow],
                activities=order_activities.all(),
                interceptors=[Between("order", house.came)],
            ),
            Worker(
                clients["order"],
                task_queue=order.PAYMENTS_QUEUE,
                activities=order_activities.of_provider(),
                interceptors=[Between("order", house.came)],
            ),
            Worker(
                clients["parcel"],
                task_queue=fulfillment.TASK_QUEUE,
                workflows=[FulfillmentWorkflow],
                activities=parcel_activities.all(),
                interceptors=[Between("parcel", house.came)],
            ),
            Worker(
                clients["parcel"],
                task_queue=fulfillment.CARRIER_QUEUE,
                activities=parcel_activities.of_provider(),
                interceptors=[Between("parcel", house.came)],
            ),
        ):
            await opened.enter_async_context(worker)
        for database, client, target in (
            (order_database, clients["order"], order_relay.HOME.target),
            (parcel_database, clients["parcel"], fulfillment_relay.HOME.target),
        ):
            await opened.enter_async_context(_relaying(database, client, target))
        yield house


@asynccontextmanager
async def _relaying(database: Database, client: Client, target: Target) -> AsyncGenerator[None]:
    listener = Listener(database.conninfo, CHANNEL)
    relay = KnockRelay(database, Delivery(client, target).deliver, RelaySettings(poll_seconds=1))
    tasks = [asyncio.create_task(listener.run()), asyncio.create_task(relay.run(listener.heard[CHANNEL]))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
