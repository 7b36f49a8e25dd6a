"""People in control of parcels on real engines; this warehouse's policy is to ask before it cancels."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from temporalio.worker import Replayer

from contracts.chassis import temporal
from contracts.chassis.settings import TemporalSettings
from contracts.envelope import Wish
from contracts.fulfillment import FulfillmentApi
from contracts.values import Hold, HoldReason
from deploy.local.stack import Stack
from fulfillment_service.events import HoldReleased
from fulfillment_service.settings import WarehouseSettings
from fulfillment_service.workflow import FulfillmentWorkflow
from tests.integration.fulfillment.house import House, Parcel, eventually, open_house

pytestmark = pytest.mark.asyncio(loop_scope="module")

ASKING = WarehouseSettings(cancel_policy="ask", cancel_answer_seconds=2)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(
    postgres_url: str, sandbox_url: str, temporal_engine: Stack, temporal_settings: TemporalSettings
) -> AsyncGenerator[House]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEMPORAL_CONFIG_FILE", temporal_engine.env["TEMPORAL_CONFIG_FILE"])
        async with open_house(postgres_url, sandbox_url, temporal_settings, ASKING) as house:
            yield house


def soon(seconds: float = 1.5) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def test_a_hold_that_came_with_the_parcel_ends_by_itself(house: House):
    """Nobody lifts it: a timer does, and the parcel goes its way."""
    until = soon()
    parcel = await house.parcel(holds=(Hold(handle="early", reason=HoldReason.INVENTORY, until=until),))
    assert await parcel.ended() == "SHIPPED"
    story = await parcel.story()
    assert story.index("HoldPlaced") < story.index("HoldReleased") < story.index("StepStarted pick:1")
    released = next(each for each in await parcel.facts() if isinstance(each.fact, HoldReleased))
    assert released.recorded_at >= until
    assert released.fact == HoldReleased(handle="early")


async def test_a_later_hold_with_an_earlier_end_rings_first(house: House):
    """The alarm moves with what stands; an end that was lifted rings for nobody."""
    parcel = await house.parcel(mode="manual")
    await parcel.until("StepStarted pick:1")
    for handle, seconds in (("long", 3600.0), ("short", 3.0)):
        body = {"reason": "INVENTORY", "handle": handle, "until": soon(seconds).isoformat()}
        await parcel.wish("/holds", json=body)
    await parcel.until("HoldReleased")
    assert [hold["handle"] for hold in (await parcel.shown())["holds"]] == ["long"]
    await parcel.wish("/holds", method="DELETE", params={"handle": "long"})
    await parcel.wish("/cancel")
    assert await parcel.ended() == "CANCELLED"


async def test_a_standing_hold_freezes_who_runs_and_who_comes_and_drains(house: House):
    """The step in flight ends, nothing begins; after the lift all of them ship."""
    running = await house.parcel(pace_seconds=0.3)
    await running.until("StepStarted pick:1")
    body = {"kind": "sku", "value": "TEAPOT", "reason": "QUALITY", "handle": "pots"}
    assert (await house.door.post("/standing-holds", json=body)).status_code == 200
    before = await running.story()
    later = await house.parcel()
    for parcel in (running, later):
        await parcel.until("HoldPlaced")
        assert (await parcel.shown())["status"] == "PAUSED"
    since = (await running.story())[len(before) :]
    assert not [fact for fact in since if fact.startswith("StepStarted")]
    lifted = await house.door.delete("/standing-holds/pots", params={"drainPerSecond": "2"})
    assert lifted.json()["knocked"] == 2
    assert [await parcel.ended() for parcel in (running, later)] == ["SHIPPED"] * 2


async def test_a_standing_hold_that_ends_by_itself_lets_everybody_go(house: House):
    body = {"kind": "sku", "value": "SPOON", "reason": "QUALITY", "until": soon(5).isoformat()}
    assert (await house.door.post("/standing-holds", json=body)).status_code == 200
    parcel = await house.parcel()
    await parcel.until("HoldPlaced")
    assert await parcel.ended() == "SHIPPED"


# Requests to cancel.


async def asked(house: House, command_id: str) -> Parcel:
    """A parcel in the middle of its first pick, whose order asks for the end."""
    parcel = await house.parcel(mode="manual")
    await parcel.until("StepStarted pick:1")
    await parcel.signal("cancelFulfillment", Wish(command_id=command_id, actor="order-service"))
    await parcel.until("CancelAsked")
    return parcel


async def answers(parcel: Parcel) -> list[tuple[str, str, Any]]:
    return [(each.command_id, each.status, each.code) for each in (await parcel.told()).answers]


async def test_a_request_that_is_accepted_ends_the_parcel_and_the_order_hears_it(house: House):
    """Nothing is told before the decision: RECEIVED is no answer."""
    parcel = await asked(house, "accepted")
    assert (await parcel.receipt("accepted"), await answers(parcel)) == ("RECEIVED", [])
    assert (await parcel.shown())["status"] == "CANCEL_REQUESTED"
    seen = await parcel.handle.query(FulfillmentApi.status)
    assert seen.cancellation_requests == ("accepted",)
    await parcel.wish("/cancellation-requests/accepted/accept")
    assert await parcel.ended() == "CANCELLED"
    told = [each for each in await answers(parcel) if each[0] == "accepted"]
    assert told[-1] == ("accepted", "EFFECTIVE", None)
    assert ("accepted", "RECEIVED", None) not in told


async def test_a_request_that_is_rejected_lets_the_parcel_go_on(house: House):
    """The order hears the refusal and its reason; the step goes on where it was."""
    parcel = await asked(house, "rejected")
    await parcel.wish("/cancellation-requests/rejected/reject", json={"reason": "too late for us"})

    async def heard() -> bool:
        return ("rejected", "REJECTED", "CANCEL_REJECTED") in await answers(parcel)

    await eventually(heard, what="the refusal")
    shown = await parcel.shown()
    assert (shown["status"], shown["currentStep"], shown["stepOpen"]) == ("PICKING", "pick:1", True)
    await parcel.wish("/cancel")
    assert await parcel.ended() == "CANCELLED"


async def test_a_request_that_nobody_answers_is_an_exception_and_can_still_be_answered(house: House):
    """Its deadline passes: it is listed for a person, who then decides."""
    parcel = await asked(house, "unanswered")
    await parcel.until("ExceptionRaised pick:1")
    listed = (await house.door.get("/exceptions")).json()["exceptions"]
    mine = [each["code"] for each in listed if each["fulfillmentId"] == parcel.fulfillment_id]
    assert mine == ["CANCEL_UNANSWERED"]
    problem = await parcel.refused("/exceptions/resolve")
    assert problem["code"] == "CANCEL_UNANSWERED"
    await parcel.wish("/cancellation-requests/unanswered/accept")
    assert await parcel.ended() == "CANCELLED"


async def test_an_alarm_is_not_lost_with_the_workflow(house: House):
    """The stream says what is due, so a run that starts anew sets its own timer."""
    body = {"reason": "INVENTORY", "until": soon(4).isoformat()}
    parcel = await house.parcel(mode="manual")
    await parcel.until("StepStarted pick:1")
    await parcel.wish("/holds", json=body)
    await parcel.handle.terminate("from outside")
    await parcel.wish("/steps/pick:1/complete")
    await parcel.until("HoldReleased")
    await parcel.until("StepStarted pick:2")
    await parcel.wish("/cancel")
    assert await parcel.ended() == "CANCELLED"


@pytest.mark.parametrize("sandbox", [False, True])
async def test_every_history_of_this_module_replays(
    house: House, temporal_settings: TemporalSettings, sandbox: bool
):
    """Timers that rang, were moved and were stopped: the workflow decides the same again."""
    settings = temporal_settings.model_copy(update={"workflow_sandbox": sandbox})
    plugin = temporal.plugin(temporal.key_ring("fulfillments", settings), "fulfillments", settings)
    replayer = Replayer(workflows=[FulfillmentWorkflow], plugins=[plugin])
    replayed = 0
    async for found in house.fulfillments.list_workflows("WorkflowType = 'fulfillmentWorkflow'", limit=100):
        handle = house.fulfillments.get_workflow_handle(found.id, run_id=found.run_id)
        await replayer.replay_workflow(await handle.fetch_history())
        replayed += 1
    assert replayed >= 8
