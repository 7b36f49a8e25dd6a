"""The order at its provider, cut off at every place: real streams, a provider that keeps its word by key."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
import pytest_asyncio

from contracts.chassis.errors import Refused, Unavailable
from contracts.chassis.event_store import Cause
from contracts.chassis.postgres import Connection
from contracts.order import FulfillmentCompleted, PaymentStatus, stream
from contracts.values import Outcome
from order_service.activities import OrderActivities
from order_service.bootstrap import intake_of, journal_of
from order_service.events import OrderEvent
from order_service.order import Order, Step, steps
from order_service.payments import Authorized, Declined
from tests.integration.doors import Doors, open_doors
from tests.integration.hostile import ORDER

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)


@dataclass
class Provider:
    """Does each thing once for its key; from time to time nobody hears of it."""

    declines: set[str] = field(default_factory=set[str])
    """The ends of keys that are declined."""
    cut: int | None = None
    """The call, counted from 0, of which nobody hears."""
    before: bool = False
    """It is cut before anything was done, not after."""
    calls: int = 0
    done: dict[str, Any] = field(default_factory=dict[str, Any])
    made: Counter[str] = field(default_factory=Counter[str])
    voided: list[str] = field(default_factory=list[str])
    captured: list[str] = field(default_factory=list[str])

    async def authorize(self, provider_key: str, **_: Any) -> Authorized | Declined:
        n = provider_key.rsplit(":", 1)[-1]
        answer = Declined("card_declined") if n in self.declines else Authorized(f"auth_{n}", NOW + WEEK)
        return await self._once(provider_key, answer, lambda: self.made.update(["authorize"]))

    async def capture(self, provider_key: str, reference: str, **_: Any) -> Declined | None:
        answer = Declined("voided") if reference in self.voided else None
        return await self._once(provider_key, answer, lambda: self.captured.append(reference))

    async def void(self, provider_key: str, reference: str) -> Declined | None:
        answer = Declined("already_captured") if reference in self.captured else None
        return await self._once(provider_key, answer, lambda: self.voided.append(reference))

    async def _once(self, key: str, answer: Any, do: Callable[[], None]) -> Any:
        is_cut = self.calls == self.cut
        self.calls += 1
        if is_cut and self.before:
            raise Unavailable
        if key not in self.done:
            self.done[key] = answer
            if not isinstance(answer, Declined):
                do()
        # Another worker may come in between.
        await asyncio.sleep(0)
        if is_cut:
            raise Unavailable
        return self.done[key]


@dataclass
class Case:
    """One order at its provider."""

    doors: Doors
    provider: Provider
    order_id: str = ""

    @property
    def activities(self) -> OrderActivities:
        journal = journal_of(self.doors.databases["orders"])
        nobody = cast("Any", None)
        return OrderActivities(journal, intake_of(journal), cast("Any", self.provider), nobody)

    async def order(self) -> Order:
        change = await journal_of(self.doors.databases["orders"]).read(stream(self.order_id))
        assert change is not None
        return change.state

    async def decides(self, decision: Callable[[Order], Sequence[OrderEvent]]) -> None:
        async def decide(_: Connection, order: Order | None) -> Sequence[OrderEvent]:
            assert order is not None
            return decision(order)

        journal = journal_of(self.doors.databases["orders"])
        await journal.change(stream(self.order_id), Cause("test"), decide)

    async def is_under_way(self) -> None:
        """Authorized, and its parcel is the fulfillment's."""
        self.order_id = await self.doors.order(ORDER)
        await self.activities.hold_stock(self.order_id)
        await self.activities.authorize(self.order_id, NOW)
        await self.activities.confirm(self.order_id)
        await self.decides(steps.fulfillment_started)
        self.provider.calls = 0

    async def is_due(self) -> None:
        """The renewal is asked for."""
        await self.decides(lambda order: steps.elapse(order, order.renew_at or NOW))

    async def ends(self, outcome: Outcome) -> None:
        await self.decides(
            lambda order: steps.complete(order, FulfillmentCompleted(n=1, outcome=outcome, version=9))
        )

    async def insists(self, *activities: Callable[[str, datetime], Awaitable[Any]]) -> None:
        """As Temporal does: each one is tried again until it is done, all at the same time."""

        async def one(activity: Callable[[str, datetime], Awaitable[Any]]) -> None:
            for _ in range(5):
                try:
                    await activity(self.order_id, NOW)
                except Unavailable:
                    continue
                return
            raise AssertionError("it never ends")

        await asyncio.gather(*(one(activity) for activity in activities))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(orders_url: str, fulfillments_url: str) -> AsyncGenerator[Doors]:
    async with open_doors(orders_url, fulfillments_url) as doors:
        yield doors


CUTS = [(None, False), *((call, before) for call in range(4) for before in (True, False))]


@pytest.mark.parametrize(("cut", "before"), CUTS)
async def test_a_renewal_that_is_cut_off_anywhere_ends_with_one_authorization(
    doors: Doors, cut: int | None, before: bool
):
    """Before or after the provider did it: asked again under the same name, nothing is done twice."""
    case = Case(doors, Provider())
    await case.is_under_way()
    await case.is_due()
    case.provider.cut, case.provider.before = cut, before
    await case.insists(case.activities.renew)
    order = await case.order()
    assert (order.authorizations, order.is_renewing) == (("auth_2",), False)
    assert (case.provider.made["authorize"], case.provider.voided) == (2, ["auth_1"])


@pytest.mark.parametrize(("cut", "before"), CUTS)
@pytest.mark.parametrize("outcome", ["SHIPPED", "CANCELLED", "FAILED"])
@pytest.mark.parametrize("declined", [False, True])
async def test_the_end_of_the_parcel_may_come_into_a_renewal_anywhere(
    doors: Doors, cut: int | None, before: bool, outcome: Outcome, declined: bool
):
    """Renewal and capture or undoing go on side by side; one authorization is captured, or none is left."""
    case = Case(doors, Provider(declines={"2"} if declined else set()))
    await case.is_under_way()
    await case.is_due()
    case.provider.cut, case.provider.before = cut, before
    await case.ends(outcome)
    settle = case.activities.capture if outcome == "SHIPPED" else case.activities.undo
    await case.insists(case.activities.renew, settle, settle)
    order, provider = await case.order(), case.provider
    assert order.step is Step.END
    standing = {f"auth_{n + 1}" for n in range(provider.made["authorize"])} - {*provider.voided}
    if outcome == "SHIPPED":
        assert order.payment is PaymentStatus.CAPTURED
        assert provider.captured == ["auth_1" if declined else "auth_2"]
        assert standing == {*provider.captured}
    else:
        assert (provider.captured, standing) == ([], set())
    assert len(provider.voided) == len({*provider.voided})


async def test_three_workers_renew_once(doors: Doors):
    """A worker that was taken for dead goes on, too."""
    case = Case(doors, Provider())
    await case.is_under_way()
    await case.is_due()
    await case.insists(*[case.activities.renew] * 3)
    assert (await case.order()).authorizations == ("auth_2",)
    assert (case.provider.made["authorize"], case.provider.voided) == (2, ["auth_1"])


async def test_the_renewals_of_a_month_leave_one_authorization(doors: Doors):
    """Five in a row: six authorizations, five voids."""
    case = Case(doors, Provider())
    await case.is_under_way()
    for _ in range(5):
        await case.is_due()
        await case.insists(case.activities.renew)
    assert (await case.order()).authorizations == ("auth_6",)
    assert case.provider.voided == [f"auth_{n}" for n in range(1, 6)]


async def test_what_the_order_wishes_by_itself_has_a_receipt(doors: Doors):
    """A hold for want of money can be looked up like any other command, and is answered like one."""
    case = Case(doors, Provider(declines={"2"}))
    await case.is_under_way()
    await case.is_due()
    await case.insists(case.activities.renew)
    [asked] = (await case.order()).lane
    told = await doors.http["orders"].get(f"/commands/{asked.command_id}")
    assert (told.status_code, told.json()["status"], told.json()["name"]) == (200, "RECEIVED", "applyHold")
    await case.ends("SHIPPED")
    told = await doors.http["orders"].get(f"/commands/{asked.command_id}")
    assert (told.json()["status"], told.json()["code"]) == ("REJECTED", "ALREADY_ENDED")


async def test_without_its_token_an_order_is_not_declined(doors: Doors):
    """Erased is not declined: the provider is not asked, and a person sees why it does not go on."""
    case = Case(doors, Provider())
    case.order_id = await doors.order(ORDER)
    await case.activities.hold_stock(case.order_id)
    await doors.databases["orders"].execute("delete from pii where kind = 'payment'")
    with pytest.raises(Refused, match="erased"):
        await case.activities.authorize(case.order_id, NOW)
    assert case.provider.calls == 0
