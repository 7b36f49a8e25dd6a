"""The carrier's adapter against the sandbox: what was done without an answer is found, not done again."""

from collections.abc import AsyncGenerator

import httpx
import pytest
import pytest_asyncio

from contracts.chassis.errors import Unavailable
from contracts.chassis.external_calls import ExternalCalls
from contracts.chassis.postgres import Database
from contracts.values import Address
from fulfillment_service.carrier import REFUSALS, Booked, Carrier, NotTaken, Taken
from fulfillment_service.settings import FulfillmentPostgresSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def carrier(fulfillments_url: str, sandbox_url: str) -> AsyncGenerator[Carrier]:
    async with (
        Database(FulfillmentPostgresSettings(url=fulfillments_url), "test") as database,
        httpx.AsyncClient(base_url=f"{sandbox_url}/carrier", timeout=10) as http,
    ):
        yield Carrier(ExternalCalls(database, "carrier", http, refusals=REFUSALS))


async def book(carrier: Carrier, parcel: str, zip_code: str) -> Booked | NotTaken:
    address = Address(street="7 Canary Row", city="Ledgerville", state="IA", zip_code=zip_code, country="US")
    return await carrier.book(
        f"fulfillment-{parcel}:label:1", fulfillment_id=parcel, address=address, service_level="standard"
    )


async def effects(sandbox_url: str, parcel: str) -> list[tuple[str, str]]:
    async with httpx.AsyncClient(base_url=sandbox_url) as http:
        rows = (await http.get("/ledgers/carrier")).json()
    return [(row["operation"], row["effect"]) for row in rows if row["parcelRef"] == parcel]


async def test_a_label_without_an_answer_is_booked_once(carrier: Carrier, sandbox_url: str):
    """The connection was cut after it was booked; the next try asks what became of it."""
    with pytest.raises(Unavailable):
        await book(carrier, "P-1", "50400")
    booked = await book(carrier, "P-1", "50400")
    assert isinstance(booked, Booked)
    assert await book(carrier, "P-1", "50400") == booked
    assert await effects(sandbox_url, "P-1") == [("label", "applied")]


async def test_a_hand_over_without_an_answer_happens_once(carrier: Carrier, sandbox_url: str):
    """Asked again it would be refused as done; looked up it has its receipt."""
    booked = await book(carrier, "P-2", "50401")
    assert isinstance(booked, Booked)
    with pytest.raises(Unavailable):
        await carrier.hand_over("fulfillment-P-2:hand-over:1", booked.tracking_reference)
    taken = await carrier.hand_over("fulfillment-P-2:hand-over:1", booked.tracking_reference)
    assert isinstance(taken, Taken)
    assert await effects(sandbox_url, "P-2") == [("label", "applied"), ("hand-over", "applied")]


async def test_a_void_without_an_answer_happens_once(carrier: Carrier, sandbox_url: str):
    booked = await book(carrier, "P-3", "50402")
    assert isinstance(booked, Booked)
    with pytest.raises(Unavailable):
        await carrier.void("fulfillment-P-3:void-label:1", booked.tracking_reference)
    await carrier.void("fulfillment-P-3:void-label:1", booked.tracking_reference)
    assert await effects(sandbox_url, "P-3") == [("label", "applied"), ("void-label", "applied")]


async def test_a_label_that_is_not_known_needs_no_void(carrier: Carrier):
    """What the carrier never heard of is no more."""
    assert not await carrier.void("fulfillment-P-4:void-label:1", f"TRK-{0:016X}")


async def test_a_refused_label_stays_refused(carrier: Carrier, sandbox_url: str):
    """The second time the carrier is not even asked."""
    assert [await book(carrier, "P-5", "00001") for _ in range(2)] == [NotTaken("address_undeliverable")] * 2
    assert await effects(sandbox_url, "P-5") == [("label", "refused")]
