"""Holds and deadlines of an order on real engines: where it stops, what time changes, where it goes on."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from contracts.envelope import Wish, WishPayload
from contracts.order import OrderApi
from contracts.values import Code, Hold, HoldReason
from deploy.local.stack import Stack
from order_service.bootstrap import journal_of
from order_service.events import HoldReleased
from order_service.order import Order, Step
from tests.integration.fulfillment.house import eventually
from tests.integration.pair import Pair, open_pair

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(
    temporal_engine: Stack, sandbox_url: str, orders_url: str, fulfillments_url: str
) -> AsyncGenerator[Pair]:
    async with open_pair(temporal_engine, sandbox_url, orders_url, fulfillments_url) as pair:
        yield pair


def holding(handle: str, until: datetime | None = None) -> Wish:
    return Wish(payload=WishPayload(hold=Hold(handle=handle, reason=HoldReason.FRAUD_RISK, until=until)))


async def comes_true(pair: Pair, order_id: str, what: str) -> Order:
    """The order once this is true of it, such as `is_stopped`."""

    async def found() -> Order | None:
        order = await pair.order(order_id)
        return order if getattr(order, what) else None

    return await eventually(found, what=what)


async def test_a_held_order_waits_and_goes_on_from_the_very_step(pair: Pair):
    """Held before anything began nothing is asked of anybody; the last release lets it ship."""
    order_id = await pair.place("held")
    await pair.wishes(order_id, "applyHold", "hold-1", holding("fraud"))
    await pair.wishes(order_id, "applyHold", "hold-2", holding("quality"))
    async with pair.working():

        async def says_so() -> bool:
            seen = await pair.workflow(order_id).query(OrderApi.status)
            return seen.status == "PAUSED" and [hold.handle for hold in seen.holds] == ["fraud", "quality"]

        await eventually(says_so, what="PAUSED")
        await pair.wishes(order_id, "releaseHold", "release-1", Wish(payload=WishPayload(handle="fraud")))
        order = await pair.order(order_id)
        assert (order.step, order.is_stopped) == (Step.HOLD_STOCK, True)
        assert await pair.effects("payments", order_id) == []
        await pair.wishes(order_id, "releaseHold", "release-2", Wish(payload=WishPayload(handle="quality")))
        assert await pair.workflow(order_id).result() == "SHIPPED"
    assert [await pair.receipt(key) for key in ("hold-1", "hold-2", "release-1", "release-2")] == [
        "EFFECTIVE"
    ] * 4


async def test_a_hold_ends_by_itself_and_a_bare_signal_holds_too(pair: Pair):
    """The workflow sleeps until the end of the hold; nobody has to lift it."""
    order_id = await pair.place("until")
    until = datetime.now(UTC) + timedelta(seconds=2)
    await pair.wishes(order_id, "applyHold", "hold-until", holding("short", until))
    await pair.workflow(order_id).signal("applyHold", {"reason": "fraud?"})
    async with pair.working():

        async def is_alone() -> bool:
            return [hold.handle != "short" for hold in (await pair.order(order_id)).holds] == [True]

        await eventually(is_alone, what="the end of the hold")
        change = await journal_of(pair.database).read((await pair.order(order_id)).stream)
        assert change is not None
        [released] = [each for each in change.recorded if isinstance(each.fact, HoldReleased)]
        assert released.recorded_at >= until
        await pair.workflow(order_id).signal("releaseHold")
        assert await pair.workflow(order_id).result() == "SHIPPED"


async def test_a_cancelled_order_does_not_wait_for_its_hold(pair: Pair):
    """Undoing is never stopped."""
    order_id = await pair.place("held-and-cancelled")
    await pair.wishes(order_id, "applyHold", "hold-c", holding("fraud"))
    async with pair.working():
        await comes_true(pair, order_id, "is_stopped")
        await pair.wishes(order_id, "cancelOrder", "cancel-c")
        assert await pair.workflow(order_id).result() == "CANCELLED"
    assert await pair.receipt("cancel-c") == "EFFECTIVE"


async def test_after_the_boundary_a_hold_is_passed_on_with_all_it_says(pair: Pair):
    """The parcel has it under its handle, and is released by it."""
    order_id = await pair.place("passed-on", "manual")
    until = datetime.now(UTC) + timedelta(days=3)
    async with pair.working():
        await comes_true(pair, order_id, "fulfillment_started")
        await pair.wishes(order_id, "applyHold", "hold-p", holding("fraud", until))

        async def is_answered() -> bool:
            return await pair.receipt("hold-p") != "RECEIVED"

        await eventually(is_answered, what="the fulfillment's answer")
        [hold] = (await pair.parcel(order_id).query("getFulfillmentStatus"))["holds"]
        assert (hold["handle"], hold["reason"]) == ("fraud", "FRAUD_RISK")
        await pair.wishes(order_id, "releaseHold", "release-p", Wish(payload=WishPayload(handle="fraud")))
        await pair.wishes(order_id, "cancelOrder", "cancel-p")
        assert await pair.workflow(order_id).result() == "CANCELLED"


async def test_a_cancel_without_an_answer_is_for_a_person(pair: Pair):
    """With nobody at the fulfillment's queue the deadline passes; the answer that comes later clears it."""
    order_id = await pair.place("unanswered", "manual")
    hurried = pair.hurried(cancel_answer_seconds=1)
    async with pair.working():
        await comes_true(pair, order_id, "fulfillment_started")
    async with hurried.orders_working():
        await hurried.wishes(order_id, "cancelOrder", "cancel-u")
        order = await comes_true(pair, order_id, "attention")
        assert order.attention is Code.CANCEL_UNANSWERED
        assert (order.status, await pair.receipt("cancel-u")) == ("CANCEL_REQUESTED", "RECEIVED")
    async with pair.working():
        assert await pair.workflow(order_id).result() == "CANCELLED"
    assert (await pair.order(order_id)).attention is None
    assert await pair.receipt("cancel-u") == "EFFECTIVE"
