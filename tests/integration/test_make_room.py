"""A history that has grown long is left behind, and nothing of the order or its parcel is lost with it."""

import json
from collections.abc import AsyncGenerator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from temporalio.client import WorkflowHandle

from contracts.chassis.temporal.remembrance import HEADER
from contracts.envelope import Wish, WishPayload
from contracts.fulfillment import FulfillmentApi
from contracts.values import Hold
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
    await leaves_its_history(pair.workflow(order_id))


async def leaves_its_history(handle: WorkflowHandle[Any, Any]) -> None:
    """It has been knocked for until it goes on in another run."""
    first = (await handle.describe()).run_id

    async def is_another() -> bool:
        await handle.signal("knock")
        return (await handle.describe()).run_id != first

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
            await pair.goes_on(order_id)
            for step_key in ("pick:1", "pick:2", "pick:3", "quality", "pack", "hand-over"):
                await pair.completes(order_id, step_key)
            assert await pair.workflow(order_id).result() == "SHIPPED"
    assert await pair.receipt("resume") == "EFFECTIVE"
    assert await pair.receipt("pause") in ("EFFECTIVE", "SUPERSEDED")
    assert await pair.effects("payments", order_id) == ["authorize", "capture"]


async def knocks_in_vain(handle: WorkflowHandle[Any, Any]) -> None:
    """Its history is longer than the server likes, and still it goes on in the same run."""
    first = await handle.describe()
    while (await handle.describe()).history_length < first.history_length + 60:
        await handle.signal("knock")
    assert (await handle.describe()).run_id == first.run_id


async def test_a_parcel_goes_on_in_another_run_as_if_it_were_the_same(pair: Pair):
    """Held, with an end to the hold: no wish is decided twice, no step lost, and the timer is set anew."""
    async with pair.working():
        order_id = await pair.place("long-parcel", "manual")
        await pair.comes_to(order_id, Step.AWAIT_OUTCOME)
        await pair.completes(order_id, "pick:1")
        await pair.begins(order_id, "pick:2")
        parcel = pair.parcel(order_id)
        hold = Hold(handle="shelf", until=datetime.now(UTC) + timedelta(seconds=30))
        wish = Wish(command_id="shelf", payload=WishPayload(hold=hold))
        await parcel.signal("applyHold", wish)
        await parcel.signal("completeStep", Wish(payload=WishPayload(step_key="pick:2")))
        await comes_to(parcel, "pick:3")
        await leaves_its_history(parcel)
        await comes_to(parcel, "pick:3")
        before = await parcel.query(FulfillmentApi.status)
        assert (before.status, [each.handle for each in before.holds]) == ("PAUSED", ["shelf"])
        await parcel.signal("applyHold", wish)
        await leaves_its_history(parcel)
        await comes_to(parcel, "pick:3")
        assert await parcel.query(FulfillmentApi.status) == before
        await pair.goes_on(order_id)
        for step_key in ("pick:3", "quality", "pack", "hand-over"):
            await pair.completes(order_id, step_key)
        assert await pair.workflow(order_id).result() == "SHIPPED"
    assert await pair.effects("carrier", order_id) == ["label", "hand-over"]


async def test_a_parcel_stays_in_its_run_until_the_order_has_heard_everything(pair: Pair):
    """Another run would not know of whom to tell that a wish took effect just in between."""
    async with pair.working():
        order_id = await pair.place("long-and-waiting", "manual")
        await pair.comes_to(order_id, Step.AWAIT_OUTCOME)
        await pair.begins(order_id, "pick:1")
        parcel = pair.parcel(order_id)
        await pair.wishes(order_id, "pauseOrderFulfillment", "pause-it")

        async def said(status: str) -> None:
            async def is_said() -> bool:
                return await pair.receipt("pause-it") == status

            await eventually(is_said, what=status)

        await said("ACCEPTED")
        await knocks_in_vain(parcel)
        await parcel.signal("completeStep", Wish(payload=WishPayload(step_key="pick:1")))
        await said("EFFECTIVE")
        await leaves_its_history(parcel)
        await parcel.signal("cancelFulfillment")
        assert await pair.workflow(order_id).result() == "CANCELLED"


async def comes_to(parcel: WorkflowHandle[Any, Any], step_key: str) -> None:
    """Its workflow has seen that this step is next; a new run has first to read its stream."""

    async def is_next() -> bool:
        return (await parcel.query(FulfillmentApi.progress)).current_step == step_key

    await eventually(is_next, what=step_key)


async def test_a_held_order_stays_held_in_the_next_run(pair: Pair):
    """The hold is in the stream, and the run is told how far it was seen; released, the order goes on."""
    order_id = await pair.place("long-and-held")
    await pair.wishes(order_id, "applyHold", "hold")
    async with pair.working():
        await goes_on_in_another_run(pair, order_id)
        order = await pair.order(order_id)
        assert (order.is_stopped, order.step) == (True, Step.HOLD_STOCK)
        [started, *_] = (await pair.workflow(order_id).fetch_history()).events
        told = started.workflow_execution_started_event_attributes.header.fields[HEADER]
        assert json.loads(told.data) == [2, False]
        await pair.wishes(order_id, "releaseHold", "release")
        assert await pair.workflow(order_id).result() == "SHIPPED"
