"""Orders that wait for days: database, activities and Temporal's protocol are real, time is skipped."""

from collections.abc import AsyncGenerator
from datetime import timedelta

import pytest
import pytest_asyncio

from contracts.envelope import Wish, WishPayload
from contracts.order import PaymentStatus
from contracts.values import Hold, HoldReason
from deploy.local.stack import Stack
from order_service.order import Step
from tests.integration.fulfillment.house import eventually
from tests.integration.month import Month, open_month

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

RENEWAL = ["authorize", "void"]
BUDGET = 150
"""Further events that thirty paused days may cost, both histories together."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def month(
    engines: Stack, orders_url: str, fulfillments_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Month]:
    folder = tmp_path_factory.mktemp("sandbox")
    async with open_month(engines, orders_url, fulfillments_url, folder) as month:
        yield month


async def test_a_paused_order_survives_a_month_and_goes_on_from_the_very_step(month: Month):
    """Renewed all the time, in few events; resumed it picks the third line, ships and is paid."""
    pair = month.pair
    async with pair.working():
        order_id = await pair.place("a-month", "manual")
        await pair.comes_to(order_id, Step.AWAIT_OUTCOME)
        await month.completes(order_id, "pick:1")
        await pair.begins(order_id, "pick:2")
        await pair.wishes(order_id, "pauseOrderFulfillment", "pause")
        await month.has("pause", "ACCEPTED")
        await month.completes(order_id, "pick:2")
        await month.has("pause", "EFFECTIVE")
        before = await month.events(order_id)

        await month.passes(timedelta(days=30))
        after = await month.events(order_id)
        print(f"30 paused days: order {before[0]} + {after[0] - before[0]} events,")
        print(f"parcel {before[1]} + {after[1] - before[1]} events")
        assert sum(after) - sum(before) <= BUDGET
        effects = await pair.effects("payments", order_id)
        assert effects[1:] == RENEWAL * (len(effects) // 2)
        assert len(effects) >= 1 + 2 * 4

        await pair.wishes(order_id, "resumeOrderFulfillment", "resume")
        await month.has("resume", "EFFECTIVE")
        await month.completes(order_id, "pick:3", "quality", "pack", "hand-over")
        assert await pair.workflow(order_id).result() == "SHIPPED"
        assert await pair.effects("payments", order_id) == [*effects, "capture"]
    await pair.replays(order_id)


async def test_a_held_order_survives_a_month_before_it_asks_for_its_parcel(month: Month):
    """Held while it is authorized, it stays authorized, and goes on to the parcel when it is released."""
    pair = month.pair
    order_id = await pair.place("held-a-month", token="tok_slow_1500")
    asked = Wish(payload=WishPayload(hold=Hold(handle="fraud", reason=HoldReason.FRAUD_RISK)))
    async with pair.working():

        async def is_authorizing() -> bool:
            return (await pair.order(order_id)).is_authorizing

        await eventually(is_authorizing, what="the first authorization")
        await pair.wishes(order_id, "applyHold", "held", asked)
        assert await pair.receipt("held") == "ACCEPTED"
        await month.has("held", "EFFECTIVE")
        history = await pair.workflow(order_id).fetch_history()

        await month.passes(timedelta(days=30, hours=1))
        order = await pair.order(order_id)
        assert (order.status, order.step, order.payment) == (
            "PAUSED", Step.CONFIRM, PaymentStatus.AUTHORIZED,
        )  # fmt: skip
        now = await pair.workflow(order_id).fetch_history()
        assert len(now.events) - len(history.events) <= BUDGET
        await pair.wishes(order_id, "releaseHold", "released")
        assert await pair.workflow(order_id).result() == "SHIPPED"
        assert await pair.effects("payments", order_id) == ["authorize", *RENEWAL * 5, "capture"]


async def test_a_declined_renewal_holds_the_parcel_until_the_bank_relents(month: Month):
    """A day later it is asked again; then the hold goes by itself, and the parcel ships."""
    pair = month.pair
    async with pair.working():
        order_id = await pair.place("declined-later", "manual", token="tok_declined_later_1")
        await pair.comes_to(order_id, Step.AWAIT_OUTCOME)
        await month.completes(order_id, "pick:1")
        await pair.begins(order_id, "pick:2")
        await month.passes(timedelta(days=6, hours=1))
        place, release = (f"order-{order_id}:{name}" for name in ("awaiting-payment:2", "payment-renewed:3"))
        await month.has(place, "ACCEPTED")
        await month.completes(order_id, "pick:2")
        await month.has(place, "EFFECTIVE")
        assert (await pair.order(order_id)).unpaid == 2

        await month.passes(timedelta(days=1))
        await month.has(release, "EFFECTIVE")
        order = await pair.order(order_id)
        assert (order.unpaid, order.authorizations) == (None, (order.reference,))
        await month.completes(order_id, "pick:3", "quality", "pack", "hand-over")
        assert await pair.workflow(order_id).result() == "SHIPPED"
        assert await pair.effects("payments", order_id) == ["authorize", *RENEWAL, "capture"]


async def test_an_authorization_that_lapsed_before_the_parcel_left_is_replaced_by_another(month: Month):
    """Too short to be renewed in time: it is asked for anew and captured, and nobody is alarmed."""
    pair = month.pair
    async with pair.working():
        order_id = await pair.place("lapsed", "manual", token="tok_expires_30")
        await pair.comes_to(order_id, Step.AWAIT_OUTCOME)
        await month.completes(order_id, "pick:1", "pick:2", "pick:3", "quality", "pack")
        await month.passes(timedelta(seconds=40))
        await month.completes(order_id, "hand-over")
        assert await pair.workflow(order_id).result() == "SHIPPED"
    assert await pair.effects("payments", order_id) == ["authorize", "authorize", "capture"]
    facts = await pair.facts(order_id)
    assert "CaptureRefused" in facts
    assert "ExceptionRaised" not in facts


async def test_a_refused_capture_is_asked_for_again_once_a_day(month: Month):
    """A person knows of it, and the provider is not pestered meanwhile."""
    pair = month.pair
    async with pair.working():
        order_id = await pair.place("refused", token="tok_capture_refused_3")

        async def refusals() -> int:
            return (await pair.facts(order_id)).count("CaptureRefused")

        async def is_refused() -> bool:
            return await refusals() == 1

        await eventually(is_refused, what="the refusal")
        await month.passes(timedelta(hours=23))
        assert await refusals() == 1
        await month.passes(timedelta(days=1, hours=2))
        assert await refusals() == 3
        await month.passes(timedelta(days=1))
        assert await pair.workflow(order_id).result() == "SHIPPED"
    assert await pair.effects("payments", order_id) == ["authorize", "capture"]


async def test_a_provider_that_is_away_keeps_no_wish_waiting(month: Month):
    """A renewal that is tried again and again stands in nobody's way, and ends when it can."""
    pair = month.pair
    async with pair.working():
        order_id = await pair.place("provider-away", "manual")
        await pair.comes_to(order_id, Step.AWAIT_OUTCOME)
        await month.completes(order_id, "pick:1")
        month.is_away.set()
        await month.passes(timedelta(days=6, minutes=2))
        assert (await pair.order(order_id)).is_renewing
        await pair.wishes(order_id, "cancelOrder", "cancel")
        await pair.comes_to(order_id, Step.UNDO)
        assert await pair.receipt("cancel") == "ACCEPTED"
        month.is_away.clear()
        assert await pair.workflow(order_id).result() == "CANCELLED"
    assert await pair.effects("payments", order_id) == ["authorize", "authorize", "void", "void"]
    assert await pair.receipt("cancel") == "EFFECTIVE"
