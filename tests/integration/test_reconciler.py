"""The reconcilers of the pair on a real Temporal: one schedule, and what was lost is found and goes on."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from temporalio.client import Client, ScheduleActionStartWorkflow, ScheduleOverlapPolicy
from temporalio.service import RPCError

import fulfillment_service.bootstrap.housekeeping as parcels_housekeeping
import order_service.bootstrap.housekeeping as orders_housekeeping
from contracts import order as contract
from contracts.chassis import exceptions
from contracts.chassis.housekeeping import Housekeeping, keep_schedule, schedule_id
from contracts.chassis.knocks import KnockRelay
from contracts.chassis.postgres import Database
from contracts.chassis.roles import housekeeping as roles
from contracts.chassis.settings import HousekeepingSettings, Profile, RelaySettings, TemporalSettings
from contracts.chassis.temporal import Delivery, presence
from deploy.local.ports import Ports
from deploy.local.stack import Stack
from fulfillment_service.bootstrap import relay as parcels_relay
from fulfillment_service.intake import Intake as ParcelIntake
from order_service.bootstrap.relay import HOME
from order_service.fulfillment_bridge import FulfillmentBridge
from order_service.intake import Intake as OrderIntake
from order_service.order import Step
from order_service.workflow import OrderWorkflow
from tests.integration.fulfillment.house import eventually
from tests.integration.pair import Pair, open_pair

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOUBTS = HousekeepingSettings(reconcile_quiet_seconds=0.000001, reconcile_interval_seconds=3600)
"""Nothing is too fresh to be asked about, and no look comes by itself."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(
    temporal_engine: Stack, sandbox_url: str, orders_url: str, fulfillments_url: str
) -> AsyncGenerator[Pair]:
    async with open_pair(temporal_engine, sandbox_url, orders_url, fulfillments_url) as pair:
        yield replace(
            pair,
            orders=replace(pair.orders, housekeeping=DOUBTS),
            fulfillments=replace(pair.fulfillments, housekeeping=DOUBTS),
        )


@asynccontextmanager
async def both(pair: Pair) -> AsyncGenerator[tuple[Housekeeping, Housekeeping]]:
    """The housekeeping of both services, as their workers would run it."""
    async with AsyncExitStack() as opened:
        payments, carrier = [
            await opened.enter_async_context(httpx.AsyncClient(base_url=str(url)))
            for url in (pair.orders.payments.payments_url, pair.fulfillments.carrier.carrier_url)
        ]
        bridge = FulfillmentBridge(pair.parcels)
        yield (
            orders_housekeeping.housekeeping_of(pair.orders, pair.database, pair.client, bridge, payments),
            parcels_housekeeping.housekeeping_of(pair.fulfillments, pair.warehouse, pair.parcels, carrier),
        )


async def deliver(pair: Pair) -> None:
    """Whatever is due has been knocked, in both services."""
    for database, client, target in (
        (pair.database, pair.client, HOME.target),
        (pair.warehouse, pair.parcels, parcels_relay.HOME.target),
    ):
        while await KnockRelay(database, Delivery(client, target).deliver, RelaySettings()).turn():
            pass


async def found(database: Database) -> list[tuple[str, str, str]]:
    rows = await database.fetch("select kind, subject, action from reconciliations order by id")
    return [(row["kind"], row["subject"], row["action"]) for row in rows]


async def test_a_healthy_pair_under_load_has_no_findings(pair: Pair):
    """Whatever orders do just now: looked at again and again while they come, move, are held and end."""
    async with pair.working(), both(pair) as kept:
        scenarios = ("happy", "happy", "declined", "out-of-stock", "happy", "manual")
        orders = [await pair.place(f"healthy-{place}", name) for place, name in enumerate(scenarios)]
        await deliver(pair)
        held = orders[-1]
        await pair.comes_to(held, Step.AWAIT_OUTCOME)
        await pair.wishes(held, "pauseOrderFulfillment", "pause-1")
        await deliver(pair)
        ending = [pair.workflow(order_id).result() for order_id in orders[:-1]]
        ended = asyncio.ensure_future(asyncio.gather(*ending))
        looks = 0
        while not ended.done() or looks < 3:
            await pair.database.execute("delete from reconciler_rules where rule = 'stock'")
            for each in kept:
                assert await each.reconcile() == {}
            looks += 1
        assert set(await ended) == {"SHIPPED", "FAILED"}
        assert await found(pair.database) == await found(pair.warehouse) == []
        await pair.wishes(held, "cancelOrder", "cancel-1")
        await deliver(pair)
        assert await pair.workflow(held).result() == "CANCELLED"
        for each in kept:
            assert await each.reconcile() == {}


async def test_what_was_ended_and_forgotten_is_found_and_ships(pair: Pair):
    """Both workflows are terminated, and no knock is left anywhere: the look knocks them, once."""
    async with pair.working(), both(pair) as (of_orders, of_parcels):
        order_id = await pair.place("forgotten", "manual")
        await deliver(pair)
        await pair.begins(order_id, "pick:1")
        await pair.workflow(order_id).terminate("tidying up")
        await pair.parcel(order_id).terminate("tidying up")
        for database in (pair.database, pair.warehouse):
            await database.execute("delete from knocks")
        before = len(await found(pair.database))
        for _ in range(2):
            await asyncio.gather(of_orders.reconcile(), of_orders.reconcile(), of_parcels.reconcile())
        assert (await found(pair.database))[before:] == [("WORKFLOW_MISSING", order_id, "KNOCKED")]
        assert await found(pair.warehouse) == [("WORKFLOW_MISSING", f"{order_id}-1", "KNOCKED")]
        await deliver(pair)
        for step in ("pick:1", "pick:2", "pick:3", "quality", "pack", "hand-over"):
            await pair.completes(order_id, step)
        assert await pair.workflow(order_id).result() == "SHIPPED"
        assert await pair.effects("payments", order_id) == ["authorize", "capture"]
        assert await pair.effects("carrier", order_id) == ["label", "hand-over"]


class _Mistake(Exception): ...


async def test_a_mistake_in_an_activity_is_told_and_once_it_is_mended_all_goes_on(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
):
    """Tried without limit by Temporal while a hold stands: the look names what fails, in both services."""

    async def broken(*_: Any, **__: Any) -> Any:
        raise _Mistake

    async with pair.working(), both(pair) as (of_orders, of_parcels):
        order_id = await pair.place("mistaken", "manual")
        await deliver(pair)
        await pair.begins(order_id, "pick:1")
        with monkeypatch.context() as patch:
            for kind in (OrderIntake, ParcelIntake):
                patch.setattr(kind, "submit", broken)
            await pair.workflow(order_id).signal("cancelOrder")
            await pair.parcel(order_id).signal("pauseFulfillment")
            for kept, database, subject in (
                (of_orders, pair.database, order_id),
                (of_parcels, pair.warehouse, f"{order_id}-1"),
            ):
                told = await eventually(partial(_told, kept, database, subject), what="the exception")
                assert told["fails"] == "submit"
                assert told["error"] == "_Mistake"
        await pair.completes(order_id, "pick:1")
        assert await pair.workflow(order_id).result() == "CANCELLED"


async def test_a_mistake_in_a_workflow_is_told_too(pair: Pair, monkeypatch: pytest.MonkeyPatch):
    """Its task fails each time, so no activity of it does; nothing that is wished of it would be heard."""

    def broken(_: OrderWorkflow) -> None:
        raise _Mistake

    async with pair.working(), both(pair) as (of_orders, _):
        with monkeypatch.context() as patch:
            patch.setattr(OrderWorkflow, "_hold_stock", broken)
            patch.setattr(presence, "TRIES_OF_A_BUG", 1)  # Temporal tries it every ten seconds
            order_id = await pair.place("mistaken-workflow")
            await deliver(pair)
            told = await eventually(partial(_told, of_orders, pair.database, order_id), what="the exception")
            assert told["fails"] == "workflow task"
        assert await pair.workflow(order_id).result() == "SHIPPED"


async def _told(kept: Housekeeping, database: Database, subject: str) -> Mapping[str, Any] | None:
    """What a person is told of it after another look."""
    await kept.reconcile()
    rows = await exceptions.page(database, subject=subject)
    return rows[0]["evidence"] if rows else None


async def test_any_number_of_workers_keep_one_schedule(pair: Pair):
    """Started, started again, with another interval: one schedule, which skips what would overlap."""
    every = timedelta(hours=1)
    queue = contract.HOUSEKEEPING_QUEUE
    await asyncio.gather(*(keep_schedule(pair.client, "orders", queue, every) for _ in range(4)))
    handle = pair.client.get_schedule_handle(schedule_id("orders"))
    await handle.pause(note="by a person")
    await keep_schedule(pair.client, "orders", queue, timedelta(hours=2))
    kept = (await handle.describe()).schedule
    assert isinstance(kept.action, ScheduleActionStartWorkflow)
    assert (kept.action.workflow, kept.action.task_queue) == ("reconcileWorkflow", queue)
    assert [each.every for each in kept.spec.intervals] == [timedelta(hours=2)]
    assert kept.policy.overlap is ScheduleOverlapPolicy.SKIP
    assert kept.state.paused
    assert kept.state.note == "by a person"
    await handle.unpause()


async def test_a_worker_starts_while_temporal_is_away_and_looks_once_it_is_back(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Two of them wait, and keep nothing else from running; then there is one schedule, and it is served."""
    monkeypatch.setattr(roles, "AGAIN_SECONDS", 0.1)
    hurried = pair.orders.temporal.model_copy(update={"connect_attempts": 1})
    settings = replace(pair.orders, temporal=hurried)
    with contextlib.suppress(RPCError):
        await pair.client.get_schedule_handle(schedule_id("orders")).delete()
    tries: list[str] = []
    connect = roles.connect

    async def connecting(profile: Profile, given: TemporalSettings) -> Client:
        tries.append(profile)
        return await connect(profile, given)

    monkeypatch.setattr(roles, "connect", connecting)
    nowhere = tmp_path / "nowhere.toml"
    nowhere.write_text(f'[profile.orders]\naddress = "127.0.0.1:{Ports.anywhere()["temporal"]}"\n')
    with monkeypatch.context() as patch:
        patch.setenv("TEMPORAL_CONFIG_FILE", str(nowhere))
        loops = [asyncio.create_task(orders_housekeeping.loop(settings)()) for _ in range(2)]
        await eventually(lambda: _is(len(tries) >= 4), what="tries in vain")
        assert not any(loop.done() for loop in loops)
    schedule = pair.client.get_schedule_handle(schedule_id("orders"))

    async def is_there() -> bool:
        with contextlib.suppress(RPCError):
            return bool(await schedule.describe())
        return False

    await eventually(is_there, what="the schedule")
    before = await looked_at(pair.database)
    await schedule.trigger()
    await eventually(lambda: _has_looked(pair.database, before), what="a look")
    for loop in loops:
        loop.cancel()
    await asyncio.gather(*loops, return_exceptions=True)
    await schedule.delete()


async def _is(value: bool) -> bool:
    return value


async def _has_looked(database: Database, before: datetime) -> bool:
    return await looked_at(database) > before


async def looked_at(database: Database) -> datetime:
    row = await database.fetch_one("select looked_at from reconciler_rules where rule = 'all'")
    assert row is not None
    return row["looked_at"]
