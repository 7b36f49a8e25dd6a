"""A selection of the explorer's schedules ends the same on the real server as in the simulation."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass

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
from tests.proof.record import Record
from tests.proof.simulation.play import play
from tests.proof.simulation.schedule import Schedule

SCHEDULES = (
    "manual: nothing",
    "manual: order.hold_stock#1 cancel@order-rest",
    "manual: order.hold_stock#1 hold@order-rest",
    "manual: order.authorize#1 cancel@order-signal",
    "manual: order.confirm#1 pause@order-rest",
    "manual: order.confirm#1 address@order-rest",
    "manual: order.startFulfillmentWorkflow#1 address@order-rest",
    "manual: parcel.work#1 cancel@order-rest",
    "manual: parcel.work#2 hold@parcel-rest",
    "manual: parcel.work#2 pause@parcel-signal x2",
    "manual: parcel.work#2 pause@order-rest; parcel.submit#2 release@parcel-signal",
    "manual: parcel.book_label#1 address@order-rest",
    "manual: parcel.book_label#1 cancel@parcel-signal",
    "manual: parcel.hand_over#1 cancel@parcel-rest",
    "manual: parcel.hand_over#1 address@parcel-rest",
    "manual: parcel.hand_over#1 hold@parcel-rest",
    "manual: order.record_outcome#1 cancel@order-rest",
    "manual: order.capture#1 cancel@order-rest",
    "held: parcel.accept#1 resume@order-rest",
)
"""Every message, every door, before and after the cut-offs of both services."""

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]


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


@dataclass(frozen=True)
class End:
    """How a schedule ended, without what time may reorder and without the names that differ."""

    outcomes: tuple[str | None, ...]
    facts: Counter[tuple[str, str]]
    receipts: Counter[tuple[str, str, str]]


def end_of(record: Record) -> End:
    answers = [fact for fact in record.facts if fact.type == "FulfillmentAnswered"]
    facts = Counter((fact.service, fact.type) for fact in record.facts if fact.type != "FulfillmentAnswered")
    # A wish that is accepted and takes effect at once is answered once or twice: that is a matter of time.
    facts["orders", "FulfillmentAnswered"] = len({fact.data["command_id"] for fact in answers})
    return End(
        tuple(ended.outcome for ended in record.workflows),
        facts,
        Counter((each.service, _plain(each.command_id), each.status) for each in record.receipts),
    )


def _plain(command_id: str) -> str:
    """The command's name without its order's or its run's."""
    if command_id.startswith("place"):
        return "place"
    return re.sub(r"^.*/", "bare/", command_id.rpartition("ORD-")[2].partition(".")[2] or command_id)


async def test_a_schedule_ends_on_the_real_server_as_in_the_simulation(house: RealHouse, sandbox_url: str):
    """The same outcomes, facts and receipts, and the same checks find nothing."""
    schedules = [Schedule.parse(line) for line in SCHEDULES]
    runs: list[Run] = await asyncio.gather(
        *(house.play(schedule, number) for number, schedule in enumerate(schedules, start=1))
    )
    async with httpx.AsyncClient(base_url=sandbox_url) as ledgers:
        assert violations(await house.record(runs, ledgers)) == []
        ends = {str(run.schedule): end_of(await house.record([run], ledgers)) for run in runs}
    assert ends == {str(schedule): end_of(play(schedule).record) for schedule in schedules}
