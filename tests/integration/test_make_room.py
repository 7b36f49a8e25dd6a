"""A history that has grown long is left behind, and nothing of the order is lost with it."""

from collections.abc import AsyncGenerator, Iterator

import pytest
import pytest_asyncio

from contracts.envelope import Wish
from deploy.local.stack import Stack
from order_service.order import Step
from tests.integration.fulfillment.house import eventually
from tests.integration.pair import Pair, open_pair

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def short_histories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A Temporal server that suggests to continue as new after 40 events."""
    with pytest.MonkeyPatch.context() as patch:
        options = ("limit.historyCount.suggestContinueAsNew=40", 'history.timerProcessorMaxTimeShift="10ms"')
        patch.setattr("deploy.local.temporal._DYNAMIC", options)
        with Stack(tmp_path_factory.mktemp("temporal"), engines={"temporal"}, services=False) as stack:
            yield stack


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(
    short_histories: Stack, sandbox_url: str, orders_url: str, fulfillments_url: str
) -> AsyncGenerator[Pair]:
    async with open_pair(short_histories, sandbox_url, orders_url, fulfillments_url) as pair:
        yield pair


async def goes_on_in_another_run(pair: Pair, order_id: str) -> None:
    """The order's workflow has been knocked for until its history was left behind."""
    first = (await pair.workflow(order_id).describe()).run_id

    async def is_another() -> bool:
        await pair.workflow(order_id).signal("knock")
        return (await pair.workflow(order_id).describe()).run_id != first

    await eventually(is_another, what="another run")


async def test_pending_wishes_and_seen_commands_outlive_the_history(pair: Pair):
    """A pause that nobody answered is answered in the next run, and asked for again it is the same one."""
    async with pair.orders_working():
        async with pair.fulfillments_working():
            order_id = await pair.place("long", "manual")
            await pair.comes_to(order_id, Step.AWAIT_OUTCOME)
        await pair.wishes(order_id, "pauseOrderFulfillment", "pause")
        await goes_on_in_another_run(pair, order_id)
        assert [wish.command_id for wish in (await pair.order(order_id)).lane] == ["pause"]
        before = await pair.facts(order_id)
        await pair.workflow(order_id).signal("pauseOrderFulfillment", Wish(command_id="pause"))
        await goes_on_in_another_run(pair, order_id)
        assert await pair.facts(order_id) == before
        assert await pair.receipt("pause") == "RECEIVED"

        async with pair.fulfillments_working():

            async def is_answered() -> bool:
                return await pair.receipt("pause") == "ACCEPTED"

            await eventually(is_answered, what="the fulfillment's answer")
            await pair.wishes(order_id, "resumeOrderFulfillment", "resume")
            for step_key in ("pick:1", "pick:2", "pick:3", "quality", "pack", "hand-over"):
                await pair.completes(order_id, step_key)
            assert await pair.workflow(order_id).result() == "SHIPPED"
    assert await pair.receipt("resume") == "EFFECTIVE"
    assert await pair.receipt("pause") in ("EFFECTIVE", "SUPERSEDED")
    assert await pair.effects("payments", order_id) == ["authorize", "capture"]


async def test_a_held_order_stays_held_in_the_next_run(pair: Pair):
    """The hold is in the stream; released, the order goes on from the very step."""
    order_id = await pair.place("long-and-held")
    await pair.wishes(order_id, "applyHold", "hold")
    async with pair.working():
        await goes_on_in_another_run(pair, order_id)
        order = await pair.order(order_id)
        assert (order.is_stopped, order.step) == (True, Step.HOLD_STOCK)
        await pair.wishes(order_id, "releaseHold", "release")
        assert await pair.workflow(order_id).result() == "SHIPPED"
