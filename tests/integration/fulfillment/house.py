"""The fulfillment service alone on real engines, with an order workflow that writes down what it is told."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowHandle, WorkflowHistory
from temporalio.common import WorkflowIDReusePolicy
from temporalio.worker import Worker

from contracts import fulfillment as contract
from contracts import order
from contracts.chassis import temporal
from contracts.chassis.event_store import Recorded
from contracts.chassis.knocks import CHANNEL, KnockRelay
from contracts.chassis.lifecycle import Health
from contracts.chassis.postgres import Database, Listener
from contracts.chassis.settings import RelaySettings, TemporalSettings
from contracts.chassis.temporal import Delivery
from contracts.envelope import CommandOutcome, Wish
from contracts.fulfillment import FulfillmentApi, StartFulfillment
from contracts.order import FulfillmentCompleted, OrderProgressView, OrderStatusView
from contracts.values import Address, Hold, Line, Message, Outcome, WarehouseMode, order_id
from fulfillment_service import bootstrap
from fulfillment_service.bootstrap import Settings, api, worker
from fulfillment_service.bootstrap.relay import HOME
from fulfillment_service.events import FulfillmentEvent
from fulfillment_service.fulfillment import Fulfillment
from fulfillment_service.settings import CarrierSettings, FulfillmentPostgresSettings, WarehouseSettings


class Told(Message):
    """What the recording order was told, in order."""

    answers: tuple[CommandOutcome, ...] = ()
    completed: tuple[FulfillmentCompleted, ...] = ()


@workflow.defn(name="processOrderWorkflow")
class RecordingOrder(order.OrderApi):
    """Waits until its parcel has ended, and a little longer when it is told to."""

    @workflow.init
    def __init__(self, order_id: str) -> None:
        self._order_id = order_id
        self._told = Told()

    @workflow.run
    async def run(self, order_id: str) -> Outcome:
        await workflow.wait_condition(lambda: bool(self._told.completed))
        return self._told.completed[0].outcome

    @workflow.signal(name="cancelOrder")
    def cancel(self, wish: Wish | None = None, *extra: Any) -> None: ...

    @workflow.signal(name="updateOrder")
    def update(self, wish: Wish | None = None, *extra: Any) -> None: ...

    @workflow.signal(name="pauseOrderFulfillment")
    def pause(self, wish: Wish | None = None, *extra: Any) -> None: ...

    @workflow.signal(name="resumeOrderFulfillment")
    def resume(self, wish: Wish | None = None, *extra: Any) -> None: ...

    @workflow.signal(name="applyHold")
    def apply_hold(self, wish: Wish | None = None, *extra: Any) -> None: ...

    @workflow.signal(name="releaseHold")
    def release_hold(self, wish: Wish | None = None, *extra: Any) -> None: ...

    @workflow.signal(name="fulfillmentCompleted")
    def fulfillment_completed(self, news: order.CompletionSignal = None, *extra: Any) -> None:
        completed = (*self._told.completed, FulfillmentCompleted.model_validate(news))
        self._told = Told(answers=self._told.answers, completed=completed)

    @workflow.signal(name="commandOutcome")
    def command_outcome(self, news: order.AnswerSignal = None, *extra: Any) -> None:
        answers = (*self._told.answers, CommandOutcome.model_validate(news))
        self._told = Told(answers=answers, completed=self._told.completed)

    @workflow.signal(name="knock")
    def knock(self, *extra: Any) -> None: ...

    @workflow.query(name="getOrderStatus")
    def status(self) -> OrderStatusView:
        raise ValueError("the recording order has no status")

    @workflow.query(name="getOrderProgress")
    def progress(self) -> OrderProgressView:
        raise ValueError("the recording order has no progress")

    @workflow.query
    def told(self) -> Told:
        return self._told


ADDRESS = Address(
    street="1 Rehearsal Row", city="Testing", state="NC", zip_code="12345", country="Nowhereland"
)


def going_to(zip_code: str) -> Address:
    return ADDRESS.model_copy(update={"zip_code": zip_code})


async def eventually(
    found: Callable[[], Awaitable[Any]], *, within: float = 60, what: str = "what was awaited"
) -> Any:
    """The first truthy thing found; asked again and again until the deadline."""
    deadline = time.monotonic() + within
    while True:
        value = await found()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come within {within} s")
        await asyncio.sleep(0.03)


@dataclass
class Parcel:
    """One fulfillment under test, and everything one may ask of it."""

    house: "House"
    fulfillment_id: str

    @property
    def order_id(self) -> str:
        return contract.order_id_of(self.fulfillment_id)

    @property
    def handle(self) -> WorkflowHandle[Any, Outcome]:
        name = contract.workflow_id(self.fulfillment_id)
        return self.house.fulfillments.get_workflow_handle_for(FulfillmentApi.run, name)

    @property
    def order(self) -> WorkflowHandle[Any, Outcome]:
        return self.house.orders.get_workflow_handle_for(order.OrderApi.run, order.workflow_id(self.order_id))

    async def signal(self, name: str, wish: Wish | None = None) -> None:
        await self.handle.signal(name, args=[] if wish is None else [wish])

    async def ask(self, method: str, path: str, *, key: str | None = None, **options: Any) -> httpx.Response:
        """What the operators' door answers."""
        headers = {"Idempotency-Key": key} if key else {}
        headers |= {"X-Actor": "operator", **options.pop("headers", {})}
        return await self.house.door.request(
            method, f"/fulfillments/{self.fulfillment_id}{path}", headers=headers, **options
        )

    async def wish(self, path: str, *, key: str | None = None, **options: Any) -> dict[str, Any]:
        """The answer to a wish that is granted: its receipt."""
        answer = await self.ask(options.pop("method", "POST"), path, key=key, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refused(self, path: str, **options: Any) -> dict[str, Any]:
        """The problem that a wish is answered with that is not granted."""
        answer = await self.ask(options.pop("method", "POST"), path, **options)
        assert answer.status_code == 409, answer.text
        return answer.json()

    async def shown(self) -> dict[str, Any]:
        return (await self.ask("GET", "")).json()

    async def receipt(self, command_id: str) -> str | None:
        row = await self.house.database.fetch_one(
            "select coalesce(code, status) as said from receipts where command_id = %(id)s", id=command_id
        )
        return row["said"] if row else None

    async def ended(self, within: float = 60) -> Outcome:
        async with asyncio.timeout(within):
            return await self.handle.result()

    async def state(self) -> Fulfillment | None:
        change = await self.house.journal.read(contract.stream(self.fulfillment_id))
        return change.state if change else None

    async def facts(self) -> list[Recorded[FulfillmentEvent]]:
        change = await self.house.journal.read(contract.stream(self.fulfillment_id))
        return list(change.recorded) if change else []

    async def story(self) -> list[str]:
        """The names of the facts, with the step where there is one."""
        return [_told(each.fact) for each in await self.facts()]

    async def until(self, said: str, *, within: float = 60) -> None:
        """The stream says so, such as `StepStarted pick:1`."""

        async def found() -> bool:
            return said in await self.story()

        await eventually(found, within=within, what=said)

    async def until_status(self, status: str) -> None:
        async def found() -> bool:
            state = await self.state()
            return state is not None and state.status == status

        await eventually(found, what=status)

    async def until_receipt(self, command_id: str, said: str) -> None:
        async def found() -> bool:
            return await self.receipt(command_id) == said

        await eventually(found, what=f"{command_id}: {said}")

    async def told(self) -> Told:
        return await self.order.query(RecordingOrder.told)

    async def ledger(self) -> list[tuple[str, str]]:
        """What the carrier did for this parcel: operation and effect."""
        answer = await self.house.http.get("/ledgers/carrier")
        rows = answer.json()
        return [
            (row["operation"], row["effect"]) for row in rows if row.get("parcelRef") == self.fulfillment_id
        ]

    async def history(self) -> WorkflowHistory:
        return await self.handle.fetch_history()


def _told(fact: FulfillmentEvent) -> str:
    about = getattr(fact, "step_key", None) or getattr(fact, "n", None)
    name = type(fact).__name__
    return name if about is None or name == "FulfillmentAccepted" else f"{name} {about}"


@dataclass
class House:
    """The running service."""

    database: Database
    fulfillments: Client
    orders: Client
    http: httpx.AsyncClient
    door: httpx.AsyncClient
    settings: Settings
    histories: list[WorkflowHistory] = field(default_factory=list[WorkflowHistory])

    @property
    def journal(self) -> Any:
        return bootstrap.journal_of(self.database)

    async def parcel(
        self,
        *,
        mode: WarehouseMode = "automatic",
        pace_seconds: float = 0,
        address: Address = ADDRESS,
        holds: tuple[Hold, ...] = (),
        with_order: bool = True,
    ) -> Parcel:
        """A fulfillment that an order has just asked for."""
        parcel = Parcel(self, contract.fulfillment_id(order_id(datetime.now(UTC), random.getrandbits(64)), 1))
        if with_order:
            await self.start_order(parcel)
        await self.ask(parcel, mode=mode, pace_seconds=pace_seconds, address=address, holds=holds)
        return parcel

    async def start_order(self, parcel: Parcel) -> None:
        await self.orders.start_workflow(
            RecordingOrder.run,
            parcel.order_id,
            id=order.workflow_id(parcel.order_id),
            task_queue=order.TASK_QUEUE,
        )

    async def ask(
        self,
        parcel: Parcel,
        *,
        mode: WarehouseMode = "automatic",
        pace_seconds: float = 0,
        address: Address = ADDRESS,
        holds: tuple[Hold, ...] = (),
    ) -> None:
        """The order's signal-with-start, which may come more than once."""
        request = StartFulfillment(
            order_id=parcel.order_id,
            n=1,
            lines=(
                Line(sku="TEAPOT", quantity=1),
                Line(sku="TEA-ASSAM", quantity=2),
                Line(sku="SPOON", quantity=4),
            ),
            address=address,
            address_version=1,
            country=address.country,
            customer_ref="customer-1",
            holds=holds,
            mode=mode,
            pace_seconds=pace_seconds,
            reply_to=order.workflow_id(parcel.order_id),
        )
        await self.fulfillments.start_workflow(
            FulfillmentApi.run,
            parcel.fulfillment_id,
            id=contract.workflow_id(parcel.fulfillment_id),
            task_queue=contract.TASK_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
            start_signal="startFulfillment",
            start_signal_args=[request],
        )


@asynccontextmanager
async def open_house(
    postgres_url: str,
    sandbox_url: str,
    temporal_settings: TemporalSettings,
    warehouse: WarehouseSettings | None = None,
) -> AsyncGenerator[House]:
    """The worker, the knock relay and the recording order run until the house is left."""
    settings = Settings(
        postgres=FulfillmentPostgresSettings(url=postgres_url),
        temporal=temporal_settings,
        carrier=CarrierSettings(carrier_url=f"{sandbox_url}/carrier"),
        warehouse=warehouse or WarehouseSettings(),
    )
    bootstrap.migrate(settings)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database(settings.postgres, "test"))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=sandbox_url))
        await stack.enter_async_context(await stack.enter_async_context(worker.opened_worker(settings)))
        orders = await temporal.connect("orders", temporal_settings)
        await stack.enter_async_context(
            Worker(orders, task_queue=order.TASK_QUEUE, workflows=[RecordingOrder])
        )
        fulfillments = await temporal.connect("fulfillments", temporal_settings)
        relay = KnockRelay(
            database, Delivery(fulfillments, HOME.target).deliver, RelaySettings(poll_seconds=1)
        )
        listener = Listener(database.conninfo, CHANNEL)
        tasks = [asyncio.create_task(listener.run()), asyncio.create_task(relay.run(listener.heard[CHANNEL]))]
        role = await stack.enter_async_context(api.open_role(settings, Health(settings.health)))
        assert role.door is not None
        door = await stack.enter_async_context(
            httpx.AsyncClient(transport=httpx.ASGITransport(role.door), base_url="http://fulfillments")
        )
        try:
            yield House(database, fulfillments, orders, http, door, settings)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
