"""Both workers on real engines, with the way between the services broken on purpose."""

from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

import order_service.bootstrap.worker as order_worker
from contracts.order import FulfillmentCompleted
from deploy.local.ports import Ports
from deploy.local.stack import Stack
from fulfillment_service.order_bridge import OrderBridge
from order_service import workflow
from order_service.demo import Scenario
from order_service.order import Step
from tests.integration.fulfillment.house import eventually
from tests.integration.pair import Pair, open_pair


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(
    temporal_engine: Stack, sandbox_url: str, orders_url: str, fulfillments_url: str
) -> AsyncGenerator[Pair]:
    async with open_pair(temporal_engine, sandbox_url, orders_url, fulfillments_url) as pair:
        yield pair


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("scenario", ["happy", "manual"])
async def test_an_end_that_nobody_told_of_is_found_by_the_safety_net(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, scenario: Scenario
):
    """The signal back is lost for good; the order asks by itself, and money follows the parcel."""

    async def lost(_: OrderBridge, _workflow_id: str, _news: FulfillmentCompleted) -> None: ...

    monkeypatch.setattr(OrderBridge, "completed", lost)
    monkeypatch.setattr(workflow, "SAFETY_NET", timedelta(seconds=0.3))
    async with pair.working():
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
    async with pair.working():
        assert await pair.workflow(order_id).result() == "SHIPPED"
        assert await pair.effects("carrier", order_id) == ["label", "hand-over"]
