"""The fulfillment service alone on real engines."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.worker import Replayer

from contracts.chassis import temporal
from contracts.chassis.settings import TemporalSettings
from contracts.envelope import Wish, WishPayload
from contracts.fulfillment import FulfillmentApi
from contracts.values import Hold, HoldReason
from fulfillment_service.workflow import FulfillmentWorkflow
from tests.integration.fulfillment.house import ADDRESS, House, Parcel, eventually, going_to, open_house

pytestmark = pytest.mark.asyncio(loop_scope="module")

NEW_ADDRESS = {
    "street": "9 Elsewhere Way",
    "city": "Farther",
    "state": "NC",
    "zipCode": "54321",
    "country": "Nowhereland",
}
SHIPPED = [("label", "applied"), ("hand-over", "applied")]
STEPS = ["pick:1", "pick:2", "pick:3", "quality", "pack"]


async def test_a_parcel_ships_within_the_history_budget(house: House):
    """Automatic, pace 0, three lines: from the order's request to the signal back in 26 history events."""
    parcel = await house.parcel()
    assert await parcel.ended() == "SHIPPED"
    history = await parcel.history()
    kinds = Counter(EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in history.events)
    print(len(history.events), sum(event.ByteSize() for event in history.events), dict(kinds))
    assert len(history.events) <= 26
    assert await parcel.ledger() == SHIPPED
    told = await parcel.told()
    assert [(news.n, news.outcome, news.version) for news in told.completed] == [
        (1, "SHIPPED", len(await parcel.facts()))
    ]
    status = await parcel.handle.query(FulfillmentApi.status)
    assert (status.status, status.outcome) == ("SHIPPED", "SHIPPED")
    progress = await parcel.handle.query("getFulfillmentProgressQuery")
    assert progress["percent"] == 100


async def test_a_parcel_stops_at_each_step_and_goes_on_there(house: House):
    """A pause during each step lets that step end and nothing begin; a resume begins the very next one."""
    parcel = await house.parcel(pace_seconds=0.15)
    for step, following in zip(STEPS, [*STEPS[1:], "label:1"], strict=True):
        await parcel.until(f"StepStarted {step}")
        paused = await parcel.wish("/pause", json={"reason": "stock count"})
        await parcel.until_receipt(paused["commandId"], "EFFECTIVE")
        shown = await parcel.shown()
        assert (shown["status"], shown["currentStep"]) == ("PAUSED", following)
        assert shown["pausedFrom"] == shown["stage"]
        await asyncio.sleep(0.2)
        assert (await parcel.story())[-1] == f"StepCompleted {step}"
        resumed = await parcel.wish("/resume")
        await parcel.until_receipt(resumed["commandId"], "EFFECTIVE")
    assert await parcel.ended() == "SHIPPED"
    assert await parcel.ledger() == SHIPPED


async def test_a_parcel_that_is_born_held_waits(house: House):
    """Holds that the order had placed before stand from the start; each is lifted by its own handle."""
    holds = (Hold(handle="early"), Hold(handle="fraud", reason=HoldReason.FRAUD_RISK))
    parcel = await house.parcel(holds=holds)
    await parcel.until_status("PAUSED")
    await parcel.wish("/resume")
    assert [hold["handle"] for hold in (await parcel.shown())["holds"]] == ["fraud"]
    await parcel.wish("/holds", method="DELETE", params={"handle": "fraud"})
    assert await parcel.ended() == "SHIPPED"


@pytest.mark.parametrize("step", ["WAITING", *STEPS, "label", "hand-over"])
async def test_a_cancel_settles_the_parcel_wherever_it_is(house: House, step: str):
    """A label is voided, what was picked is back, the order hears CANCELLED; nothing was handed over."""
    held = (Hold(handle="stop"),) if step == "WAITING" else ()
    address = going_to("40800") if step == "label" else ADDRESS
    is_late = step in ("label", "hand-over")
    parcel = await house.parcel(
        mode="manual" if step == "hand-over" else "automatic",
        pace_seconds=0 if is_late or step == "WAITING" else 0.15,
        holds=held,
        address=address,
    )
    if step == "WAITING":
        await parcel.until_status("PAUSED")
    elif step == "label":
        await parcel.until("LabelRequested 1")
    elif step == "hand-over":
        await pack(parcel)
        await parcel.until("LabelBooked 1")
    else:
        await parcel.until(f"StepStarted {step}")
    receipt = await parcel.wish("/cancel", json={"reason": "the customer changed her mind"})
    assert receipt["status"] == "ACCEPTED"
    assert await parcel.ended() == "CANCELLED"
    await parcel.until_receipt(receipt["commandId"], "EFFECTIVE")
    labels = [("label", "applied"), ("void-label", "applied")] if is_late else []
    assert await parcel.ledger() == labels
    story = await parcel.story()
    assert story[-1] == "FulfillmentCancelled"
    assert ("Restocked" in story) == (step not in ("WAITING", "pick:1"))
    assert [news.outcome for news in (await parcel.told()).completed] == ["CANCELLED"]
    problem = await parcel.refused("/pause")
    assert (problem["code"], problem["currentStatus"]) == ("ALREADY_ENDED", "CANCELLED")


async def pack(parcel: Parcel) -> None:
    """An operator takes a manual parcel through the warehouse."""
    for step in STEPS:
        await parcel.until(f"StepStarted {step}")
        await parcel.wish(f"/steps/{step}/complete")


async def test_in_manual_mode_an_operator_completes_each_step(house: House):
    """Nothing moves by itself but the label; the hand-over begins with the operator's word."""
    parcel = await house.parcel(mode="manual")
    problem = await eventually_refused(parcel, "/steps/quality/complete")
    assert (problem["code"], problem["currentStep"]) == ("STEP_NOT_OPEN", "pick:1")
    await pack(parcel)
    await parcel.until("LabelBooked 1")
    shown = await parcel.shown()
    assert (shown["status"], shown["currentStep"], shown["percent"]) == ("READY_TO_SHIP", "hand-over", 85)
    assert "HandOverStarted" not in await parcel.story()
    await parcel.signal("completeStep", Wish(payload=WishPayload(step_key="hand-over")))
    assert await parcel.ended() == "SHIPPED"
    assert await parcel.ledger() == SHIPPED


async def eventually_refused(parcel: Parcel, path: str) -> dict[str, Any]:
    """The problem, once the parcel exists."""

    async def found() -> dict[str, Any] | None:
        answer = await parcel.ask("POST", path)
        return answer.json() if answer.status_code == 409 else None

    return await eventually(found, what="a refusal")


async def test_a_step_that_fails_fails_the_fulfillment(house: House):
    """What was picked is back on the shelf, and the order hears FAILED and why."""
    parcel = await house.parcel(mode="manual")
    await parcel.until("StepStarted pick:1")
    await parcel.wish("/steps/pick:1/complete")
    await parcel.until("StepStarted pick:2")
    await parcel.wish("/steps/pick:2/fail", json={"reason": "dropped"})
    assert await parcel.ended() == "FAILED"
    told = await parcel.told()
    assert [(news.outcome, news.code) for news in told.completed] == [("FAILED", "STEP_FAILED")]
    assert (await parcel.story())[-3:] == ["StepFailed pick:2", "Restocked", "FulfillmentFailed"]


async def test_a_new_address_is_on_the_label_that_is_handed_over(house: House):
    """The booked label is voided and made anew; the order is told version and address."""
    parcel = await house.parcel(mode="manual")
    await pack(parcel)
    await parcel.until("LabelBooked 1")
    receipt = await parcel.wish("/shipping-address", method="PATCH", json=NEW_ADDRESS)
    await parcel.until("LabelBooked 2")
    await parcel.until_receipt(receipt["commandId"], "EFFECTIVE")
    assert (await parcel.shown())["addressVersion"] == 2
    await parcel.wish("/steps/hand-over/complete")
    assert await parcel.ended() == "SHIPPED"
    assert [operation for operation, _ in await parcel.ledger()] == [
        "label",
        "void-label",
        "label",
        "hand-over",
    ]
    answers = [each for each in (await parcel.told()).answers if each.command_id == receipt["commandId"]]
    assert {answer.address_version for answer in answers} == {2}
    assert answers[-1].status == "EFFECTIVE"
    assert answers[-1].address is not None
    assert answers[-1].address.zip_code == "54321"
    problem = await parcel.refused("/shipping-address", method="PATCH", json=NEW_ADDRESS)
    assert (problem["code"], problem["cutOff"]) == ("ADDRESS_CUTOFF_PASSED", "HandOverStarted")


async def test_an_address_that_changes_while_the_label_is_made_is_not_lost(house: House):
    """The label in flight is booked, voided at once and made anew."""
    parcel = await house.parcel(address=going_to("40800"))
    await parcel.until("LabelRequested 1")
    await parcel.wish("/shipping-address", method="PATCH", json=NEW_ADDRESS)
    assert await parcel.ended() == "SHIPPED"
    state = await parcel.state()
    assert state is not None
    assert state.label is not None
    assert state.label.address_version == 2
    assert [operation for operation, _ in await parcel.ledger()][-2:] == ["label", "hand-over"]


async def test_a_refused_label_is_an_exception_until_the_address_is_right(house: House):
    """The carrier does not go there: the parcel waits, is listed, and ships after an address change."""
    parcel = await house.parcel(address=going_to("00001"))
    await parcel.until_status("EXCEPTION")
    listed = (await house.door.get("/exceptions")).json()["exceptions"]
    [seen] = [each for each in listed if each["fulfillmentId"] == parcel.fulfillment_id]
    assert (seen["stepKey"], seen["code"], seen["fault"]) == ("label:1", "LABEL_REFUSED", "refusal")
    assert seen["resolutions"] == ["retry", "cancel", "change-data"]
    await parcel.wish("/exceptions/resolve")
    await parcel.until("ExceptionRaised label:2")
    await parcel.wish("/shipping-address", method="PATCH", json=NEW_ADDRESS)
    assert await parcel.ended() == "SHIPPED"
    assert [effect for _, effect in await parcel.ledger()] == ["refused", "refused", "applied", "applied"]


async def test_a_label_that_was_made_but_not_answered_is_made_once(house: House):
    """The connection was cut after the carrier had booked it: the lookup finds the label."""
    parcel = await house.parcel(address=going_to("50400"))
    assert await parcel.ended() == "SHIPPED"
    assert [each for each in await parcel.ledger() if each[1] == "applied"] == SHIPPED


async def test_a_hand_over_that_was_done_but_not_answered_is_done_once(house: House):
    """The connection was cut after the carrier had taken the parcel: no wish gets in between."""
    parcel = await house.parcel(address=going_to("50401"))
    assert await parcel.ended() == "SHIPPED"
    assert [each for each in await parcel.ledger() if each[1] == "applied"] == SHIPPED


async def test_a_carrier_that_fails_for_a_while_is_asked_again(house: House):
    """Two answers of 500 later there is one label."""
    parcel = await house.parcel(address=going_to("50002"))
    assert await parcel.ended() == "SHIPPED"
    assert [each for each in await parcel.ledger() if each[1] == "applied"] == SHIPPED


async def test_a_refused_hand_over_is_tried_again_later(house: House):
    """The driver left without the parcel; wishes are heard until he is called again, by another name."""
    parcel = await house.parcel(address=going_to("40900"))
    await parcel.until("HandOverRefused")
    assert (await parcel.shown())["status"] == "READY_TO_SHIP"
    paused = await parcel.wish("/pause")
    assert paused["status"] == "EFFECTIVE"
    await parcel.wish("/resume")
    assert await parcel.ended() == "SHIPPED"
    assert (await parcel.story()).count("HandOverStarted") == 2


async def test_a_terminated_workflow_goes_on_from_its_stream(house: House):
    """A knock starts it again under the same name; nothing is done twice."""
    parcel = await house.parcel(mode="manual")
    await parcel.until("StepStarted pick:1")
    await parcel.handle.terminate("from outside")
    await parcel.wish("/steps/pick:1/complete")
    await parcel.until("StepStarted pick:2")
    assert (await parcel.story()).count("StepStarted pick:1") == 1
    await parcel.wish("/cancel")
    assert await parcel.ended() == "CANCELLED"


async def test_the_order_may_ask_twice(house: House):
    """A second request of an order that is not sure of the first changes nothing."""
    parcel = await house.parcel(mode="manual")
    await parcel.until("StepStarted pick:1")
    await house.ask(parcel, mode="automatic", address=going_to("99999"))
    await parcel.wish("/cancel")
    assert await parcel.ended() == "CANCELLED"
    assert (await parcel.story()).count("FulfillmentAccepted") == 1


async def test_wishes_by_signal_have_receipts_whatever_they_are(house: House):
    """Bare, with the seed's suffix, malformed or unknown: each is answered, and the order hears of it."""
    parcel = await house.parcel(mode="manual")
    await parcel.until("StepStarted pick:1")
    run_id = (await parcel.handle.describe()).run_id
    await parcel.handle.signal("pauseFulfillmentSignal")
    await parcel.handle.signal("updateShippingAddress", {"street": "only a street"})
    await parcel.handle.signal("updateShippingAddress", ADDRESS)
    await parcel.handle.signal("abracadabra", {"commandId": "magic"})
    await parcel.handle.signal("cancelFulfillment", args=["too late", "and", "more"])
    assert await parcel.ended() == "CANCELLED"
    receipts = [await parcel.receipt(f"{run_id}/{k}") for k in range(1, 6)]
    assert receipts == ["EFFECTIVE", "NOT_UNDERSTOOD", "EFFECTIVE", "NOT_UNDERSTOOD", "EFFECTIVE"]
    answers = (await parcel.told()).answers
    assert {answer.command_id for answer in answers} == {f"{run_id}/{k}" for k in range(1, 6)}


async def test_an_order_that_is_gone_does_not_keep_the_parcel(house: House):
    """The signal back is tried some times, for an order that its own service starts again meanwhile."""
    parcel = await house.parcel(with_order=False)
    await parcel.until("HandedOver")
    await asyncio.sleep(1)
    await house.start_order(parcel)
    assert await parcel.ended() == "SHIPPED"
    assert [news.outcome for news in (await parcel.told()).completed] == ["SHIPPED"]


@pytest.mark.parametrize("sandbox", [False, True])
async def test_every_history_of_this_module_replays(
    house: House, temporal_settings: TemporalSettings, sandbox: bool
):
    """Shipped, cancelled, failed and terminated: the workflow decides the same again, sandboxed or not."""
    settings = temporal_settings.model_copy(update={"workflow_sandbox": sandbox})
    plugin = temporal.plugin(temporal.key_ring("fulfillments", settings), "fulfillments", settings)
    replayer = Replayer(workflows=[FulfillmentWorkflow], plugins=[plugin])
    replayed = 0
    async for found in house.fulfillments.list_workflows("WorkflowType = 'fulfillmentWorkflow'", limit=100):
        handle = house.fulfillments.get_workflow_handle(found.id, run_id=found.run_id)
        await replayer.replay_workflow(await handle.fetch_history())
        replayed += 1
    assert replayed >= 20


async def test_a_sandboxed_worker_does_the_same(
    postgres_url: str, sandbox_url: str, temporal_settings: TemporalSettings, house: House
):
    """What tests run sandboxed and production does not is one and the same workflow."""
    settings = temporal_settings.model_copy(update={"workflow_sandbox": True})
    async with open_house(postgres_url, sandbox_url, settings) as sandboxed:
        parcels = [await sandboxed.parcel(address=going_to("40900")) for _ in range(4)]
        for parcel in parcels:
            await parcel.until("HandOverRefused")
            await parcel.wish("/cancel")
        assert [await parcel.ended() for parcel in parcels] == ["CANCELLED"] * 4
