"""Both workers on real engines, with the way between the services broken on purpose."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr
from temporalio.client import Client, WorkflowHandle

import fulfillment_service.bootstrap.worker as fulfillment_worker
import order_service.bootstrap.worker as order_worker
from contracts import fulfillment
from contracts import order as contract
from contracts.chassis import temporal
from contracts.chassis.knocks import DueKnock
from contracts.chassis.postgres import Database
from contracts.chassis.settings import TemporalSettings
from contracts.chassis.temporal import Delivery
from contracts.order import FulfillmentCompleted, OrderApi
from contracts.values import Outcome
from deploy.local.ports import Ports
from deploy.local.stack import Stack
from fulfillment_service.bootstrap import Settings as FulfillmentSettings
from fulfillment_service.order_bridge import OrderBridge
from fulfillment_service.settings import CarrierSettings, FulfillmentPostgresSettings
from order_service import workflow
from order_service.bootstrap import Settings as OrderSettings
from order_service.bootstrap import intake_of, journal_of
from order_service.bootstrap.relay import HOME
from order_service.demo import Scenario, demo_order, mode_of
from order_service.order import Order, Step
from order_service.settings import OrderPostgresSettings, PaymentSettings
from tests.integration.fulfillment.house import eventually


@dataclass
class Pair:
    """Both databases, both namespaces and the providers."""

    orders: OrderSettings
    fulfillments: FulfillmentSettings
    database: Database
    client: Client
    parcels: Client
    http: httpx.AsyncClient

    async def place(self, key: str, scenario: Scenario = "happy") -> str:
        """The id of an order whose workflow runs."""
        granted = await intake_of(journal_of(self.database)).place(
            demo_order(scenario),
            command_id=key,
            actor="shop",
            request_hash=key,
            mode=mode_of(scenario),
            pace_seconds=0,
        )
        order_id = str((granted.answer or {})["orderId"])
        await Delivery(self.client, HOME.target).deliver(DueKnock(contract.workflow_id(order_id)))
        return order_id

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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(
    temporal_engine: Stack, sandbox_url: str, orders_url: str, fulfillments_url: str
) -> AsyncGenerator[Pair]:
    rings = temporal_engine.state.key_rings()
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
        patch.setenv("TEMPORAL_CONFIG_FILE", temporal_engine.env["TEMPORAL_CONFIG_FILE"])
        yield Pair(
            orders,
            fulfillments,
            await opened.enter_async_context(Database(orders.postgres, "test")),
            await temporal.connect("orders", settings),
            await temporal.connect("fulfillments", settings),
            await opened.enter_async_context(httpx.AsyncClient(base_url=sandbox_url)),
        )


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("scenario", ["happy", "manual"])
async def test_an_end_that_nobody_told_of_is_found_by_the_safety_net(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, scenario: Scenario
):
    """The signal back is lost for good; the order asks by itself, and money follows the parcel."""

    async def lost(_: OrderBridge, _workflow_id: str, _news: FulfillmentCompleted) -> None: ...

    monkeypatch.setattr(OrderBridge, "completed", lost)
    monkeypatch.setattr(workflow, "SAFETY_NET", timedelta(seconds=0.3))
    async with (
        order_worker.opened_worker(pair.orders) as one,
        fulfillment_worker.opened_worker(pair.fulfillments) as other,
        one,
        other,
    ):
        order_id = await pair.place(f"lost-{scenario}", scenario)
        if scenario == "manual":
            await pair.comes_to(order_id, Step.AWAIT_OUTCOME)
            await pair.parcel(order_id).signal("cancelFulfillment")
        outcome = await pair.workflow(order_id).result()
        assert outcome == ("SHIPPED" if scenario == "happy" else "CANCELLED")
        last = "capture" if scenario == "happy" else "void"
        assert await pair.effects("payments", order_id) == ["authorize", last]
        history = await pair.workflow(order_id).fetch_history()
        signals = [event.workflow_execution_signaled_event_attributes.signal_name for event in history.events]
        assert "fulfillmentCompleted" not in signals


async def test_a_start_that_fails_is_not_taken_for_a_start(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, temporal_address: str, tmp_path: Path
):
    """While the other namespace cannot be reached the order says so and waits; afterwards it ships once."""
    nowhere = tmp_path / "nowhere.toml"
    nowhere.write_text(
        f'[profile.orders]\naddress = "{temporal_address}"\nnamespace = "orders"\n'
        f'[profile.fulfillments]\naddress = "127.0.0.1:{Ports.anywhere()["temporal"]}"\n'
        'namespace = "fulfillments"\n'
    )
    with monkeypatch.context() as patch:
        patch.setenv("TEMPORAL_CONFIG_FILE", str(nowhere))
        async with order_worker.opened_worker(pair.orders) as worker, worker:
            order_id = await pair.place("no-start")
            await pair.comes_to(order_id, Step.START_FULFILLMENT)

            async def tried() -> bool:
                pending = (await pair.workflow(order_id).describe()).raw_description.pending_activities
                return any(each.attempt > 1 for each in pending)

            await eventually(tried, what="a second attempt")
            assert not (await pair.order(order_id)).fulfillment_started
            assert await pair.effects("carrier", order_id) == []
    async with (
        order_worker.opened_worker(pair.orders) as one,
        fulfillment_worker.opened_worker(pair.fulfillments) as other,
        one,
        other,
    ):
        assert await pair.workflow(order_id).result() == "SHIPPED"
        assert await pair.effects("carrier", order_id) == ["label", "hand-over"]
