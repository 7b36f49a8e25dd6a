"""A payment provider that hangs for many orders at once, and what goes on beside it."""

from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest
import pytest_asyncio

from deploy.local.stack import Stack
from order_service.settings import PaymentSettings
from tests.integration.fulfillment.house import eventually
from tests.integration.pair import Pair, open_pair

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLOTS = 2
HANGING = 6


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(
    temporal_engine: Stack, sandbox_url: str, orders_url: str, fulfillments_url: str
) -> AsyncGenerator[Pair]:
    """As many places for all else as for the provider: in one queue the hanging calls would take them all."""
    async with open_pair(temporal_engine, sandbox_url, orders_url, fulfillments_url) as pair:
        payments = PaymentSettings(
            payments_url=f"{sandbox_url}/payments", payments_timeout_seconds=39, payments_slots=SLOTS
        )
        temporal = pair.orders.temporal.model_copy(update={"activity_slots": SLOTS})
        yield replace(pair, orders=replace(pair.orders, payments=payments, temporal=temporal))


async def hangs(pair: Pair) -> bool:
    rows = await pair.database.fetch("select * from external_calls where status = 'INTENT'")
    return len(rows) >= SLOTS


async def test_a_provider_that_hangs_starves_nobody(pair: Pair):
    """All its places are taken, more orders wait; parcels are paused, shipped and cancelled all the same."""
    async with pair.working():
        ships, cancels = [await pair.place(name, "manual") for name in ("ships", "cancels")]
        for order_id in (ships, cancels):
            await pair.begins(order_id, "pick:1")
        slow = [await pair.place(f"hangs-{n}", token="tok_slow_60000") for n in range(HANGING)]
        await eventually(lambda: hangs(pair), what="calls that hang")

        await pair.wishes(ships, "pauseOrderFulfillment", "pause")

        async def is_paused() -> bool:
            return await pair.receipt("pause") != "RECEIVED"

        await eventually(is_paused, what="the pause")
        await pair.wishes(ships, "resumeOrderFulfillment", "resume")
        await pair.goes_on(ships)
        for step_key in ("pick:1", "pick:2", "pick:3", "quality", "pack", "hand-over"):
            await pair.completes(ships, step_key)
        await pair.wishes(cancels, "cancelOrder", "cancel")
        assert await pair.parcel(ships).result() == "SHIPPED"
        assert await pair.parcel(cancels).result() == "CANCELLED"
        assert [await pair.effects("payments", order_id) for order_id in slow] == [[]] * HANGING
