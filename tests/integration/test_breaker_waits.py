"""An order whose payment provider is not asked: it waits, and goes on by itself."""

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from contracts import order as contract
from contracts.chassis import breakers
from contracts.chassis.temporal.inspection import Inspector
from deploy.local.stack import Stack
from tests.integration.fulfillment.house import eventually
from tests.integration.pair import Pair, open_pair

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(
    temporal_engine: Stack, sandbox_url: str, orders_url: str, fulfillments_url: str
) -> AsyncGenerator[Pair]:
    async with open_pair(temporal_engine, sandbox_url, orders_url, fulfillments_url) as pair:
        yield pair


async def test_while_the_breaker_is_open_the_order_waits_and_goes_on_by_itself(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
):
    """Nothing is asked or begun; Temporal knows why, on which queue and when it comes again."""
    monkeypatch.setattr(breakers, "TRIPPED_SECONDS", 1.0)
    await breakers.set_by_hand(pair.database, "payments", "OPEN", reason="maintenance", actor="ada")
    async with pair.working():
        order_id = await pair.place("waits")

        async def is_kept() -> bool:
            told = await Inspector("orders", contract.TASK_QUEUE).inspect(contract.workflow_id(order_id))
            return [(each.queue, each.failure) for each in told.pending] == [
                (contract.PAYMENTS_QUEUE, "CIRCUIT_OPEN")
            ]

        await eventually(is_kept, what="the order that is kept waiting")
        calls = "select * from external_calls where stream = %(stream)s"
        assert await pair.database.fetch(calls, stream=contract.stream(order_id)) == []
        await breakers.set_by_hand(pair.database, "payments", "CLOSED", reason="done", actor="ada")
        assert await pair.workflow(order_id).result() == "SHIPPED"
        assert await pair.effects("payments", order_id) == ["authorize", "capture"]
