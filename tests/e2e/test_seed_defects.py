"""The defects of the seed's public implementation: each has a test that fails if it comes back.

- a retried start makes a second fulfillment: `a_retried_start_makes_no_second_fulfillment`
- crash between start and start-signal leaves an orphan: `start_and_start_signal_are_one_call`
- start error swallowed: `a_start_that_fails_is_an_error`
- fulfillment that fails or cancels on its own leaves money or stock behind: the two stories `a_parcel_that_…`
- confirmed stock not released on a later cancel: story `a_cancel_settles_money_and_stock_at_every_stage`
- partial reservation leaks: `a_short_article_leaves_nothing_held`
- pause before the fulfillment exists is lost: story `a_pause_before_the_parcel_exists_is_kept_for_it`
- pause not checked before label and hand-over: `a_pause_holds_before_the_label`, `…_before_the_hand_over`
- resume jumps to PICKING instead of where it was: story `resume_returns_to_the_step_it_left`
- a signal between two waits is seen late or lost: `a_pause_between_two_steps_is_seen_at_once`
- an update may overwrite orderId or total: `an_update_cannot_touch_id_or_total`
- progress falls back to 0 %: `progress_never_falls`
- signal-back lost, the order waits for ever: `tests/integration/test_safety_net.py`
- payment activity without idempotency key charges twice: story `a_provider_that_stumbles_costs_nothing_twice`
- list endpoint empty: story `orders_are_listed_newest_first_page_by_page`
"""

import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from contracts import fulfillment
from contracts.chassis import temporal
from contracts.chassis.errors import Unavailable
from contracts.fulfillment import StartFulfillment
from contracts.order import workflow_id
from contracts.values import Address, Line
from deploy.local.stack import Stack
from order_service.fulfillment_bridge import FulfillmentBridge
from tests.e2e.people import Engineer, Operator, Shop, address, eventually
from tests.e2e.test_replay import temporal_settings

STEPS_TO_THE_LABEL = ("pick:1", "pick:2", "pick:3", "quality")


def _request(order_id: str) -> StartFulfillment:
    return StartFulfillment(
        order_id=order_id,
        n=1,
        lines=(Line(sku="SPOON", quantity=1),),
        address=Address.model_validate(address()),
        address_version=1,
        country="USA",
        customer_ref="demo-customer",
        reply_to=workflow_id(order_id),
    )


async def _client(stack: Stack) -> Client:
    settings = temporal_settings(stack, sandbox=False)
    ring = temporal.key_ring("fulfillments", settings)
    plugin = temporal.plugin(ring, "fulfillments", settings)
    return await Client.connect(stack.temporal_address, namespace="fulfillments", plugins=[plugin])


async def test_a_retried_start_makes_no_second_fulfillment(stack: Stack, shop: Shop, engineer: Engineer):
    """The start activity may run again at any time: the same workflow, one run, one parcel, one label."""
    order = shop.place("manual")
    shop.sees_parcel(order, stage="PICKING")
    client = await _client(stack)
    assert await FulfillmentBridge(client).start(_request(order)) is None
    shop.cancel(order)
    shop.sees_end(order)
    name = fulfillment.workflow_id(fulfillment.fulfillment_id(order, 1))
    assert await client.get_workflow_handle(name, result_type=str).result() == "CANCELLED"
    assert await FulfillmentBridge(client).start(_request(order)) == "CANCELLED"
    runs = [run async for run in client.list_workflows(f"WorkflowId = '{name}'")]
    assert len(runs) == 1
    assert engineer.parcel_facts(order).count("FulfillmentAccepted") == 1


async def test_start_and_start_signal_are_one_call(stack: Stack, shop: Shop):
    """No crash can come between them: each fulfillment's history begins with both, at the same moment."""
    order = shop.place()
    shop.sees_end(order)
    name = fulfillment.workflow_id(fulfillment.fulfillment_id(order, 1))
    history = await (await _client(stack)).get_workflow_handle(name).fetch_history()
    started, signaled = history.events[:2]
    assert started.HasField("workflow_execution_started_event_attributes")
    assert signaled.workflow_execution_signaled_event_attributes.signal_name == "startFulfillment"


async def test_a_start_that_fails_is_an_error() -> None:
    """With Temporal away the start raises, so the activity is tried again; nothing claims that it worked."""
    client = await Client.connect(
        "127.0.0.1:9", namespace="fulfillments", lazy=True, data_converter=pydantic_data_converter
    )
    with pytest.raises(Unavailable):
        await FulfillmentBridge(client).start(_request("ORD-1234567890123-ABCDEFGHI"))


def test_a_short_article_leaves_nothing_held(shop: Shop, engineer: Engineer):
    """Two articles are in stock and the third is not: the order fails and none of them stays held."""
    order = shop.place("out-of-stock")
    assert shop.sees_end(order)["failure"] == "OUT_OF_STOCK"
    assert engineer.rows("orders", "select * from stock_ledger where order_id = %s", order) == []


def test_a_pause_holds_before_the_label(shop: Shop, operator: Operator, engineer: Engineer):
    """Paused while packing: the packing ends, and the carrier is not asked before the resume."""
    order = shop.place("manual")
    operator.works(order, *STEPS_TO_THE_LABEL)
    operator.comes_to(order, "pack")
    operator.pause(order)
    operator.completes(order, "pack")
    operator.sees(order, status="PAUSED", pausedFrom="READY_TO_SHIP")
    assert "LabelRequested" not in engineer.parcel_facts(order)
    operator.resume(order)
    operator.sees(order, currentStep="hand-over")
    assert "LabelBooked" in engineer.parcel_facts(order)


def test_a_pause_holds_before_the_hand_over(shop: Shop, operator: Operator, engineer: Engineer):
    """Paused with the label on: the operator cannot hand over before the resume."""
    order = shop.place("manual")
    operator.works(order, *STEPS_TO_THE_LABEL, "pack")
    operator.comes_to(order, "hand-over")
    operator.pause(order)
    operator.sees(order, status="PAUSED")
    assert operator.completes(order, "hand-over").status_code == 409
    assert "HandOverStarted" not in engineer.parcel_facts(order)
    operator.resume(order)
    assert eventually(lambda: operator.completes(order, "hand-over").status_code, lambda code: code == 200)
    assert shop.sees_end(order)["status"] == "SHIPPED"


def test_a_pause_between_two_steps_is_seen_at_once(shop: Shop, operator: Operator, engineer: Engineer):
    """A pause that comes while a step takes its time stops the parcel before the next one, not later."""
    order = shop.place(speed="fast")
    shop.sees_parcel(order, stage="PICKING")
    assert operator.pause(order).status_code == 200
    held = operator.sees(order, status="PAUSED")
    begun = engineer.parcel_facts(order).count("StepStarted")
    eventually(lambda: operator.parcel(order)["stepOpen"], lambda is_open: not is_open)
    assert engineer.parcel_facts(order).count("StepStarted") == begun
    assert held["stage"] == operator.parcel(order)["stage"]
    operator.resume(order)
    assert shop.sees_end(order)["status"] == "SHIPPED"


@pytest.mark.parametrize("smuggled", [{"orderId": "ORD-1"}, {"totalMinor": 1}, {"items": []}])
def test_an_update_cannot_touch_id_or_total(shop: Shop, smuggled: dict[str, object]):
    """An update that names them is refused as a whole."""
    order = shop.place("manual")
    before = shop.status(order)
    answer = shop.http.patch(f"/orders/{order}", json={"instructions": "ring twice", **smuggled})
    assert answer.status_code == 422
    after = shop.status(order)
    assert (after["orderId"], after["totalMinor"], after["lines"]) == (
        order,
        before["totalMinor"],
        before["lines"],
    )
    assert after["instructionsVersion"] == 0
    shop.cancel(order)


def test_progress_never_falls(shop: Shop, operator: Operator):
    """Whoever watches the percent, through a pause and a new address, never sees it go back."""
    order = shop.place(speed="fast")
    seen: list[int] = []

    def watch() -> str:
        parcel = operator.parcel(order)
        seen.append(parcel.get("percent", 0))
        return parcel.get("stage", "")

    eventually(watch, lambda stage: stage == "PACKING")
    operator.pause(order)
    shop.readdress(order)
    operator.sees(order, addressVersion=2)
    operator.resume(order)
    eventually(watch, lambda stage: stage == "SHIPPED")
    assert seen == sorted(seen)
    assert seen[-1] == 100
