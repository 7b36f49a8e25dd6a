"""Steps that do not go on wait for a person, on real engines: nothing fails, and wishes go on."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from contracts.chassis import exceptions
from contracts.chassis.errors import Away, Misunderstood, Unavailable
from contracts.chassis.postgres import Row
from contracts.envelope import Wish, WishPayload
from contracts.order import OrderApi, PaymentStatus
from contracts.values import Code
from deploy.local.stack import Stack
from fulfillment_service.bootstrap import intake_of as warehouse_of
from fulfillment_service.bootstrap import journal_of as parcels_of
from fulfillment_service.carrier import Carrier
from order_service import workflow
from order_service.payments import Payments
from tests.integration.fulfillment.house import eventually
from tests.integration.pair import Pair, open_pair

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(
    temporal_engine: Stack, sandbox_url: str, orders_url: str, fulfillments_url: str
) -> AsyncGenerator[Pair]:
    """Both services; two tries of a call to a provider, and a person is asked."""
    async with open_pair(temporal_engine, sandbox_url, orders_url, fulfillments_url) as pair:
        settings = pair.orders.temporal.model_copy(update={"provider_attempts": 2})
        yield replace(
            pair,
            orders=replace(pair.orders, temporal=settings),
            fulfillments=replace(pair.fulfillments, temporal=settings),
        )


@pytest_asyncio.fixture(loop_scope="module")
async def working(pair: Pair) -> AsyncGenerator[Pair]:
    async with pair.working():
        yield pair


class Breaks:
    """Stands before a method: what is raised in place of the first calls."""

    def __init__(self, patch: pytest.MonkeyPatch, kind: type, name: str, *errors: Exception) -> None:
        self._left = list(errors)
        self.calls = 0
        original = getattr(kind, name)

        async def called(*given: Any, **more: Any) -> Any:
            self.calls += 1
            if self._left:
                raise self._left.pop(0)
            return await original(*given, **more)

        patch.setattr(kind, name, called)

    def mend(self) -> None:
        self._left.clear()


async def waits(pair: Pair, subject: str, code: Code = Code.STEP_PARKED) -> Row:
    """The open exception of an order, or of its parcel."""
    database = pair.warehouse if subject.count("-") > 2 else pair.database

    async def found() -> Row | None:
        return next(iter(await exceptions.page(database, subject=subject, code=code)), None)

    return await eventually(found, what=f"{code} of {subject}")


async def resolves(pair: Pair, order_id: str, key: str, how: str = "retry") -> None:
    wish = Wish(payload=WishPayload.model_validate({"resolution": how}))
    await pair.wishes(order_id, "resolveException", key, wish)


async def test_spent_tries_park_the_step_and_a_retry_ends_it(working: Pair):
    """The workflow answers and takes wishes meanwhile; the table says what happened, and how it ended."""
    order_id = await working.place("spent", token="tok_500_3")
    row = await waits(working, order_id)
    assert (row["step"], row["fault"], row["evidence"]["attempts"]) == ("authorize", "dependency-down", 2)
    assert row["evidence"]["providerKey"] == f"order-{order_id}:authorize:1"
    assert row["resolutions"] == ["retry", "cancel"]
    seen = await working.workflow(order_id).query(OrderApi.status)
    assert (seen.status, seen.attention) == ("NEEDS_ATTENTION", Code.STEP_PARKED)
    pause = await working.wishes(order_id, "pauseOrderFulfillment", "spent-pause")
    await working.wishes(order_id, "resumeOrderFulfillment", "spent-resume")
    assert pause.receipt.status == "EFFECTIVE"
    await resolves(working, order_id, "spent-retry")
    assert await working.workflow(order_id).result() == "SHIPPED"
    row = await exceptions.find(working.database, row["id"])
    assert (row["resolution"], row["resolved_by"]) == ("retry", "operator")
    assert await working.effects("payments", order_id) == ["authorize", "capture"]
    await working.replays(order_id)


async def test_a_provider_that_is_known_to_be_away_uses_up_no_try(
    working: Pair, monkeypatch: pytest.MonkeyPatch
):
    """Three times nobody was asked, once nobody answered: that was the first of two tries."""
    call = Breaks(monkeypatch, Payments, "authorize", Away(), Away(), Away(), Unavailable())
    order_id = await working.place("away")
    assert await working.workflow(order_id).result() == "SHIPPED"
    assert call.calls == 5
    assert "ExceptionRaised" not in await working.facts(order_id)


async def test_what_the_provider_does_not_understand_waits_at_once(
    working: Pair, monkeypatch: pytest.MonkeyPatch
):
    """Asking again would not help; a cancel needs nobody to be asked any more, once a person left it out."""
    Breaks(monkeypatch, Payments, "authorize", *[Misunderstood() for _ in range(9)])
    order_id = await working.place("misunderstood")
    row = await waits(working, order_id)
    assert (row["fault"], row["resolutions"]) == ("bad-data", ["retry", "skip", "cancel"])
    await resolves(working, order_id, "misunderstood-skip", "skip")
    assert await working.workflow(order_id).result() == "FAILED"


async def test_a_mistake_of_ours_parks_the_parcel_until_it_is_mended(
    working: Pair, monkeypatch: pytest.MonkeyPatch
):
    """The carrier's answer makes us stumble; a person has it tried again, and the parcel ships."""
    carrier = Breaks(monkeypatch, Carrier, "book", *[KeyError("trackingReference") for _ in range(9)])
    order_id = await working.place("bug")
    parcel = f"{order_id}-1"
    row = await waits(working, parcel)
    assert (row["step"], row["fault"], row["evidence"]["error"]) == ("label:1", "bug", "KeyError")
    carrier.mend()
    warehouse = warehouse_of(parcels_of(working.warehouse), working.fulfillments)
    await warehouse.submit("resolveException", parcel, Wish(), command_id="bug-retry", actor="ada")
    await working.parcel(order_id).signal("knock")
    assert await working.workflow(order_id).result() == "SHIPPED"
    assert (await exceptions.find(working.warehouse, row["id"]))["resolution"] == "retry"


async def test_a_void_that_is_refused_is_settled_by_a_person(working: Pair):
    """Compensation does not give up: it waits, and goes on once a person says that nothing stands."""
    order_id = await working.place("void", "manual", token="tok_void_refused")
    await working.begins(order_id, "pick:1")
    await working.wishes(order_id, "cancelOrder", "void-cancel")
    row = await waits(working, order_id, Code.VOID_FAILED)
    assert (row["step"], row["fault"], row["resolutions"]) == ("undo", "refusal", ["retry", "skip"])
    await resolves(working, order_id, "void-skip", "skip")
    assert await working.workflow(order_id).result() == "CANCELLED"
    assert (await working.order(order_id)).payment is PaymentStatus.VOIDED
    assert await working.receipt("void-cancel") == "EFFECTIVE"


async def test_compensation_goes_on_by_itself_once_it_can(working: Pair, monkeypatch: pytest.MonkeyPatch):
    """Parked and tried again after its pause; the exception is over without anybody's help."""
    monkeypatch.setattr(workflow, "PARKED", timedelta(seconds=0.5))
    Breaks(monkeypatch, Payments, "void", *[ValueError("a mistake") for _ in range(2)])
    order_id = await working.place("undo", "manual")
    await working.begins(order_id, "pick:1")
    await working.wishes(order_id, "cancelOrder", "undo-cancel")
    assert await working.workflow(order_id).result() == "CANCELLED"
    facts = await working.facts(order_id)
    assert facts.count("ExceptionRaised") == facts.count("ExceptionResolved") == 1
    [row] = await exceptions.page(working.database, subject=order_id, resolved=True)
    assert (row["step"], row["fault"], row["resolution"]) == ("undo", "bug", "passed")
