"""A signal-back that is lost does not lose the order: the safety net asks, and finds what nobody told."""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta

import pytest
import pytest_asyncio
from pydantic import SecretStr
from temporalio.client import Client

import fulfillment_service.bootstrap as fulfillments
import order_service.bootstrap as orders
import order_service.workflow
from contracts import order as contract
from contracts.chassis import temporal
from contracts.chassis.knocks import KnockRelay
from contracts.chassis.postgres import Database
from contracts.chassis.settings import RelaySettings, TemporalSettings
from contracts.chassis.temporal import Delivery
from deploy.local.stack import Stack
from fulfillment_service.bootstrap import worker as fulfillment_worker
from fulfillment_service.order_bridge import OrderBridge
from fulfillment_service.settings import CarrierSettings, FulfillmentPostgresSettings
from order_service.bootstrap import worker as order_worker
from order_service.bootstrap.relay import HOME
from order_service.demo import demo_order
from order_service.intake import Intake
from order_service.settings import OrderPostgresSettings, PaymentSettings


@dataclass
class Pair:
    """Both workers on real engines, and the way in."""

    intake: Intake
    knocks: KnockRelay
    client: Client
    database: Database

    async def place(self) -> str:
        """The id of an order whose workflow has been started."""
        granted = await self.intake.place(
            demo_order("happy"), command_id=secrets.token_hex(8), actor="test", request_hash="one"
        )
        await self.knocks.turn()
        assert granted.answer is not None
        return granted.answer["orderId"]


@pytest_asyncio.fixture
async def pair(
    orders_url: str,
    fulfillments_url: str,
    sandbox_url: str,
    temporal_engine: Stack,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncGenerator[Pair]:
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", temporal_engine.env["TEMPORAL_CONFIG_FILE"])
    rings = temporal_engine.state.key_rings()
    shared = TemporalSettings(
        codec_orders_keys=SecretStr(rings["TANDEM_CODEC_ORDERS_KEYS"]),
        codec_fulfillments_keys=SecretStr(rings["TANDEM_CODEC_FULFILLMENTS_KEYS"]),
        graceful_shutdown_seconds=1,
    )
    order_settings = orders.Settings(
        postgres=OrderPostgresSettings(url=orders_url),
        temporal=shared,
        payments=PaymentSettings(payments_url=f"{sandbox_url}/payments"),
    )
    parcel_settings = fulfillments.Settings(
        postgres=FulfillmentPostgresSettings(url=fulfillments_url),
        temporal=shared,
        carrier=CarrierSettings(carrier_url=f"{sandbox_url}/carrier"),
    )
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database(order_settings.postgres, "test"))
        for opened in (
            order_worker.opened_worker(order_settings),
            fulfillment_worker.opened_worker(parcel_settings),
        ):
            await stack.enter_async_context(await stack.enter_async_context(opened))
        client = await temporal.connect("orders", shared)
        knocks = KnockRelay(database, Delivery(client, HOME.target).deliver, RelaySettings())
        yield Pair(orders.intake_of(orders.journal_of(database)), knocks, client, database)


async def test_the_order_ships_although_the_signal_back_was_lost(pair: Pair, monkeypatch: pytest.MonkeyPatch):
    """The fulfillment believes that it told the order; after the safety net's patience the order asks."""
    lost: list[str] = []

    async def lose(_: OrderBridge, workflow_id: str, news: contract.FulfillmentCompleted) -> None:
        lost.append(f"{workflow_id} {news.outcome}")

    monkeypatch.setattr(OrderBridge, "completed", lose)
    monkeypatch.setattr(order_service.workflow, "SAFETY_NET", timedelta(seconds=1))
    order_id = await pair.place()
    workflow = pair.client.get_workflow_handle(contract.workflow_id(order_id), result_type=str)
    outcome = await asyncio.wait_for(workflow.result(), 30)
    assert lost == [f"{contract.workflow_id(order_id)} SHIPPED"]
    assert outcome == "SHIPPED"
    rows = await pair.database.fetch(
        "select status, payment_status from order_view where order_id = %(id)s", id=order_id
    )
    assert rows == [{"status": "SHIPPED", "payment_status": "CAPTURED"}]
