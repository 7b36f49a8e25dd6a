"""Both workers on real engines, without relays and consumers: what the workflows make of each other."""

import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Replayer

import fulfillment_service.bootstrap.worker as fulfillment_worker
import order_service.bootstrap.worker as order_worker
from contracts import fulfillment
from contracts import order as contract
from contracts.chassis import temporal
from contracts.chassis.knocks import DueKnock
from contracts.chassis.postgres import Database
from contracts.chassis.receipts import Granted
from contracts.chassis.settings import Profile, TemporalSettings
from contracts.chassis.temporal import Delivery
from contracts.envelope import Wish, WishName, WishPayload
from contracts.fulfillment import FulfillmentApi
from contracts.order import OrderApi, Payment
from contracts.values import Outcome
from deploy.local.stack import Stack
from fulfillment_service.bootstrap import Settings as FulfillmentSettings
from fulfillment_service.bootstrap import journal_of as parcels_of
from fulfillment_service.settings import CarrierSettings, FulfillmentPostgresSettings
from fulfillment_service.workflow import FulfillmentWorkflow
from order_service.bootstrap import Settings as OrderSettings
from order_service.bootstrap import intake_of, journal_of
from order_service.bootstrap.relay import HOME
from order_service.demo import Scenario, demo_order, mode_of
from order_service.order import Order, Step
from order_service.settings import DeadlineSettings, OrderPostgresSettings, PaymentSettings
from order_service.workflow import OrderWorkflow
from tests.integration.fulfillment.house import eventually


@dataclass
class Pair:
    """Both databases, both namespaces and the providers."""

    orders: OrderSettings
    fulfillments: FulfillmentSettings
    database: Database
    warehouse: Database
    client: Client
    parcels: Client
    http: httpx.AsyncClient

    async def place(self, key: str, scenario: Scenario = "happy", token: str = "tok_ok") -> str:
        """The id of an order whose workflow runs."""
        granted = await intake_of(journal_of(self.database)).place(
            demo_order(scenario).model_copy(update={"payment": Payment(token=token)}),
            command_id=key,
            actor="shop",
            request_hash=key,
            mode=mode_of(scenario),
            pace_seconds=0,
        )
        order_id = str((granted.answer or {})["orderId"])
        await Delivery(self.client, HOME.target).deliver(DueKnock(contract.workflow_id(order_id)))
        return order_id

    async def wishes(
        self, order_id: str, name: WishName, key: str, wish: Wish | None = None
    ) -> Granted[Order]:
        """The wish is granted as over REST, and its workflow knocked for."""
        granted = await intake_of(journal_of(self.database), self.orders.deadlines).submit(
            name, order_id, wish or Wish(), command_id=key, actor="operator"
        )
        await Delivery(self.client, HOME.target).deliver(DueKnock(contract.workflow_id(order_id), name, key))
        return granted

    async def receipt(self, key: str) -> str | None:
        row = await self.database.fetch_one("select status from receipts where command_id = %(id)s", id=key)
        return row["status"] if row else None

    def hurried(self, *, cancel_answer_seconds: float) -> "Pair":
        """The same pair, in which the fulfillment has less time to answer."""
        deadlines = DeadlineSettings(cancel_answer_seconds=cancel_answer_seconds)
        return replace(self, orders=replace(self.orders, deadlines=deadlines))

    @asynccontextmanager
    async def orders_working(self) -> AsyncGenerator[None]:
        """The order's worker runs, and nobody works for the fulfillment."""
        async with order_worker.opened_worker(self.orders) as worker, worker:
            yield

    @asynccontextmanager
    async def fulfillments_working(self) -> AsyncGenerator[None]:
        """The fulfillment's worker runs, and nobody works for the order."""
        async with fulfillment_worker.opened_worker(self.fulfillments) as worker, worker:
            yield

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[None]:
        """Both workers run."""
        async with (
            order_worker.opened_worker(self.orders) as one,
            fulfillment_worker.opened_worker(self.fulfillments) as other,
            one,
            other,
        ):
            yield

    def workflow(self, order_id: str) -> WorkflowHandle[Any, Outcome]:
        return self.client.get_workflow_handle_for(OrderApi.run, contract.workflow_id(order_id))

    def parcel(self, order_id: str) -> WorkflowHandle[Any, Any]:
        """The workflow of the order's first fulfillment."""
        name = fulfillment.workflow_id(fulfillment.fulfillment_id(order_id, 1))
        return self.parcels.get_workflow_handle(name)

    async def order(self, order_id: str) -> Order:
        change = await journal_of(self.database).read(contract.stream(order_id))
        assert change is not None
        return change.state

    async def goes_on(self, order_id: str) -> None:
        """No hold stands against the parcel any more."""

        async def is_free() -> bool:
            return (await self.parcel(order_id).query(FulfillmentApi.status)).status != "PAUSED"

        await eventually(is_free, what="the end of the hold")

    async def completes(self, order_id: str, step_key: str) -> None:
        """The warehouse has done this step, when it was its turn; what is in hand may end under a hold."""

        async def is_due() -> bool:
            return (await self.parcel(order_id).query(FulfillmentApi.progress)).current_step == step_key

        await eventually(is_due, what=step_key)
        wish = Wish(payload=WishPayload(step_key=step_key))
        await self.parcel(order_id).signal("completeStep", wish)

    async def begins(self, order_id: str, step_key: str) -> None:
        """The warehouse has this step in hand: a hold that comes now finds it begun."""
        stream = fulfillment.stream(fulfillment.fulfillment_id(order_id, 1))

        async def is_in_hand() -> bool:
            change = await parcels_of(self.warehouse).read(stream)
            return change is not None and change.state.open_step == step_key

        await eventually(is_in_hand, what=f"{step_key} in hand")

    async def replays(self, order_id: str) -> None:
        """Both histories lead to the same commands again. Raises when one does not."""
        settings = self.orders.temporal
        histories: list[tuple[Profile, WorkflowHandle[Any, Any]]] = [
            ("orders", self.workflow(order_id)),
            ("fulfillments", self.parcel(order_id)),
        ]
        for profile, handle in histories:
            plugin = temporal.plugin(temporal.key_ring(profile, settings), profile, settings)
            replayer = Replayer(workflows=[OrderWorkflow, FulfillmentWorkflow], plugins=[plugin])
            await replayer.replay_workflow(await handle.fetch_history())

    async def facts(self, order_id: str) -> list[str]:
        change = await journal_of(self.database).read(contract.stream(order_id))
        return [type(each.fact).__name__ for each in change.recorded] if change else []

    async def comes_to(self, order_id: str, step: Step) -> None:
        async def found() -> bool:
            return (await self.order(order_id)).step is step

        await eventually(found, what=step)

    async def effects(self, provider: str, order_id: str) -> list[str]:
        """What the payment or carrier sandbox truly did for the order."""
        rows: list[dict[str, Any]] = (await self.http.get(f"/ledgers/{provider}")).json()
        return [
            row["operation"]
            for row in rows
            if row["effect"] == "applied" and order_id in str(row.get("orderRef") or row.get("parcelRef"))
        ]


@asynccontextmanager
async def open_pair(
    engine: Stack, sandbox_url: str, orders_url: str, fulfillments_url: str, *, temporal_at: str = ""
) -> AsyncGenerator[Pair]:
    """Nothing runs yet. Temporal is the engine's own, or the one at that address."""
    rings = engine.state.key_rings()
    settings = TemporalSettings(
        codec_orders_keys=SecretStr(rings["TANDEM_CODEC_ORDERS_KEYS"]),
        codec_fulfillments_keys=SecretStr(rings["TANDEM_CODEC_FULFILLMENTS_KEYS"]),
        graceful_shutdown_seconds=1,
    )
    orders = OrderSettings(
        postgres=OrderPostgresSettings(url=orders_url),
        temporal=settings,
        payments=PaymentSettings(payments_url=f"{sandbox_url}/payments"),
    )
    fulfillments = FulfillmentSettings(
        postgres=FulfillmentPostgresSettings(url=fulfillments_url),
        temporal=settings,
        carrier=CarrierSettings(carrier_url=f"{sandbox_url}/carrier"),
    )
    async with AsyncExitStack() as opened:
        patch = opened.enter_context(pytest.MonkeyPatch.context())
        if temporal_at:
            patch.setenv("TEMPORAL_CONFIG_FILE", os.devnull)
            patch.setenv("TEMPORAL_ADDRESS", temporal_at)
        else:
            patch.setenv("TEMPORAL_CONFIG_FILE", engine.env["TEMPORAL_CONFIG_FILE"])
        yield Pair(
            orders,
            fulfillments,
            await opened.enter_async_context(Database(orders.postgres, "test")),
            await opened.enter_async_context(Database(fulfillments.postgres, "test")),
            await temporal.connect("orders", settings),
            await temporal.connect("fulfillments", settings),
            await opened.enter_async_context(httpx.AsyncClient(base_url=sandbox_url)),
        )
