"""Fifty scripts end the same on real engines as in the simulation."""

import asyncio
from collections.abc import AsyncGenerator

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr

import fulfillment_service.bootstrap as fulfillment_bootstrap
import order_service.bootstrap as order_bootstrap
from contracts.chassis.settings import TemporalSettings
from deploy.local.stack import Stack
from fulfillment_service.settings import CarrierSettings, FulfillmentPostgresSettings
from order_service.settings import OrderPostgresSettings, PaymentSettings
from tests.proof.checks import violations
from tests.proof.real import RealHouse, Run, open_house
from tests.proof.scripts import end_of, kept
from tests.proof.simulation.play import play

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(1200)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(
    temporal_engine: Stack, sandbox_url: str, orders_url: str, fulfillments_url: str
) -> AsyncGenerator[RealHouse]:
    rings = temporal_engine.state.key_rings()
    settings = TemporalSettings(
        codec_orders_keys=SecretStr(rings["TANDEM_CODEC_ORDERS_KEYS"]),
        codec_fulfillments_keys=SecretStr(rings["TANDEM_CODEC_FULFILLMENTS_KEYS"]),
    )
    orders = order_bootstrap.Settings(
        postgres=OrderPostgresSettings(url=orders_url),
        temporal=settings,
        payments=PaymentSettings(payments_url=f"{sandbox_url}/payments"),
    )
    parcels = fulfillment_bootstrap.Settings(
        postgres=FulfillmentPostgresSettings(url=fulfillments_url),
        temporal=settings,
        carrier=CarrierSettings(carrier_url=f"{sandbox_url}/carrier"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEMPORAL_CONFIG_FILE", temporal_engine.env["TEMPORAL_CONFIG_FILE"])
        async with open_house(orders, parcels) as house:
            yield house


async def test_a_script_ends_on_real_engines_as_in_the_simulation(house: RealHouse, sandbox_url: str):
    """The same outcomes, facts and receipts, and the same checks find nothing."""
    schedules = kept()
    runs: list[Run] = await asyncio.gather(
        *(house.play(schedule, number) for number, schedule in enumerate(schedules, start=1))
    )
    async with httpx.AsyncClient(base_url=sandbox_url) as ledgers:
        assert violations(await house.record(runs, ledgers)) == []
        ends = {str(run.schedule): end_of(await house.record([run], ledgers)) for run in runs}
    assert ends == {str(schedule): end_of(play(schedule).record) for schedule in schedules}
