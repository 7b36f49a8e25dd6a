"""The histories of every ending replay without a difference, sandboxed and not."""

import asyncio
from collections.abc import Callable

import pytest
from temporalio.client import Client, WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from contracts import fulfillment
from contracts import order as contract
from contracts.chassis import temporal
from contracts.chassis.settings import Profile, TemporalSettings
from deploy.local.stack import Stack
from fulfillment_service.workflow import FulfillmentWorkflow
from order_service.workflow import OrderWorkflow
from tests.e2e.people import Operator, Shop


def temporal_settings(stack: Stack, *, sandbox: bool) -> TemporalSettings:
    rings = stack.state.key_rings()
    return TemporalSettings.model_validate(
        {
            "codec_orders_keys": rings["TANDEM_CODEC_ORDERS_KEYS"],
            "codec_fulfillments_keys": rings["TANDEM_CODEC_FULFILLMENTS_KEYS"],
            "workflow_sandbox": sandbox,
        }
    )


def _ships(shop: Shop, _: Operator) -> str:
    return shop.place()


def _is_declined(shop: Shop, _: Operator) -> str:
    return shop.place("declined")


def _is_out_of_stock(shop: Shop, _: Operator) -> str:
    return shop.place("out-of-stock")


def _is_cancelled_early(shop: Shop, _: Operator) -> str:
    order = shop.place(speed="slow")
    shop.cancel(order)
    return order


def _is_cancelled_while_picking(shop: Shop, operator: Operator) -> str:
    order = shop.place("manual")
    operator.comes_to(order, "pick:1")
    shop.cancel(order)
    return order


def _fails_in_the_warehouse(shop: Shop, operator: Operator) -> str:
    order = shop.place("manual")
    operator.comes_to(order, "pick:1")
    operator.fails(order, "pick:1")
    return order


def _is_paused_readdressed_and_ships(shop: Shop, operator: Operator) -> str:
    order = shop.place(speed="fast")
    shop.pause(order)
    operator.sees(order, status="PAUSED")
    shop.readdress(order)
    operator.sees(order, addressVersion=2)
    shop.resume(order)
    return order


def _has_its_label_refused_first(shop: Shop, operator: Operator) -> str:
    order = shop.place("label-refused")
    operator.sees(order, status="EXCEPTION")
    shop.readdress(order)
    return order


ENDINGS: tuple[tuple[Callable[[Shop, Operator], str], str], ...] = (
    (_ships, "SHIPPED"),
    (_is_declined, "FAILED"),
    (_is_out_of_stock, "FAILED"),
    (_is_cancelled_early, "CANCELLED"),
    (_is_cancelled_while_picking, "CANCELLED"),
    (_fails_in_the_warehouse, "FAILED"),
    (_is_paused_readdressed_and_ships, "SHIPPED"),
    (_has_its_label_refused_first, "SHIPPED"),
)


@pytest.mark.parametrize(("story", "ending"), ENDINGS, ids=lambda value: getattr(value, "__name__", value))
async def test_every_ending_replays(
    stack: Stack, shop: Shop, operator: Operator, story: Callable[[Shop, Operator], str], ending: str
):
    """Both workflows come to the same commands again, in the sandbox as well as outside of it."""
    order = await asyncio.to_thread(story, shop, operator)
    seen = await asyncio.to_thread(shop.sees_end, order)
    assert seen["status"] == ending
    histories: list[tuple[Profile, str]] = [("orders", contract.workflow_id(order))]
    if seen["fulfillmentId"]:
        histories.append(("fulfillments", fulfillment.workflow_id(seen["fulfillmentId"])))
    for profile, workflow_id in histories:
        history = await _history(stack, profile, workflow_id)
        for sandbox in (False, True):
            settings = temporal_settings(stack, sandbox=sandbox)
            plugin = temporal.plugin(temporal.key_ring(profile, settings), profile, settings)
            replayer = Replayer(workflows=[OrderWorkflow, FulfillmentWorkflow], plugins=[plugin])
            await replayer.replay_workflow(history)


async def _history(stack: Stack, profile: Profile, workflow_id: str) -> WorkflowHistory:
    client = await Client.connect(
        stack.temporal_address, namespace=profile, data_converter=pydantic_data_converter
    )
    return await client.get_workflow_handle(workflow_id).fetch_history()


async def test_the_happy_path_of_the_pair_stays_within_its_history_budget(stack: Stack, shop: Shop):
    """At most 60 events and 32 KB for both workflows together: automatic, no pace, three lines."""
    order = await asyncio.to_thread(shop.place)
    seen = await asyncio.to_thread(shop.sees_end, order)
    names: tuple[tuple[Profile, str], ...] = (
        ("orders", contract.workflow_id(order)),
        ("fulfillments", fulfillment.workflow_id(seen["fulfillmentId"])),
    )
    events = [event for name in names for event in (await _history(stack, *name)).events]
    assert len(events) <= 60
    assert sum(event.ByteSize() for event in events) <= 32 * 1024
