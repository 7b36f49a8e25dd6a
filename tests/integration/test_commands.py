"""`GET /commands/{id}` and `Prefer: wait=N`: how a wish that the other service must answer is followed."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
import pytest_asyncio

import order_service.bootstrap as orders
from contracts import order as contract
from contracts.chassis.event_store import Cause
from contracts.chassis.postgres import Connection
from contracts.envelope import CommandOutcome, Wish
from contracts.order import FulfillmentCompleted
from contracts.values import Code, command_id
from order_service.activities import OrderActivities
from order_service.order import Order, payment, steps
from order_service.payments import Authorized
from tests.integration.doors import Doors, open_doors
from tests.integration.fulfillment.house import eventually
from tests.integration.hostile import ADDRESS, ORDER

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Till:
    """Authorizes whatever it is asked for."""

    async def authorize(self, provider_key: str, **_: Any) -> Authorized:
        return Authorized(f"ref-{provider_key}", datetime.now(UTC) + timedelta(days=7))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(orders_url: str, fulfillments_url: str) -> AsyncGenerator[Doors]:
    async with open_doors(orders_url, fulfillments_url) as doors:
        yield doors


def activities(doors: Doors, bridge: Any = None) -> OrderActivities:
    journal = orders.journal_of(doors.databases["orders"])
    return OrderActivities(journal, orders.intake_of(journal), cast("Any", Till()), bridge)


async def under_way(doors: Doors) -> str:
    """The id of an order whose parcel is the fulfillment's: every wish for it needs its answer."""
    order_id = await doors.order(ORDER)
    working = activities(doors)
    await working.hold_stock(order_id)
    await working.authorize(order_id, datetime.now(UTC))
    await working.confirm(order_id)

    async def started(_: Connection, order: Order | None) -> Any:
        assert order is not None
        return steps.fulfillment_started(order)

    journal = orders.journal_of(doors.databases["orders"])
    await journal.change(contract.stream(order_id), Cause("test"), started)
    return order_id


async def wish(doors: Doors, order_id: str, *, wait: str | None, key: str) -> httpx.Response:
    headers = {"Idempotency-Key": key, "X-Actor": "ada"} | ({"Prefer": wait} if wait else {})
    return await doors.http["orders"].request(
        "DELETE", f"/orders/{order_id}", json={"reason": "Adalia changed her mind"}, headers=headers
    )


async def received(doors: Doors, order_id: str) -> None:
    """The wish is stored, and whoever sent it waits."""

    async def is_stored() -> bool:
        answer = await doors.http["orders"].get(f"/commands/{command_id(f'/orders/{order_id}', 'k')}")
        return answer.status_code == 200

    await eventually(is_stored, what="the wish")


async def told(doors: Doors, of: str, prefer: str | None = None) -> dict[str, Any]:
    headers = {"Prefer": prefer} if prefer else {}
    answer = await doors.http["orders"].get(f"/commands/{of}", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def answer_of(order_id: str, key: str, **said: Any) -> CommandOutcome:
    return CommandOutcome(command_id=command_id(f"/orders/{order_id}", key), **said)


async def test_an_answer_that_comes_in_time_is_the_answer(doors: Doors):
    """202 becomes 200 while the caller waits, with the time that was granted for it."""
    order_id = await under_way(doors)
    waiting = asyncio.create_task(wish(doors, order_id, wait="wait=30", key="k"))
    await received(doors, order_id)
    assert not waiting.done()
    await activities(doors).record_answer(order_id, answer_of(order_id, "k", status="ACCEPTED"))
    answer = await waiting
    assert (answer.status_code, answer.json()["status"]) == (200, "ACCEPTED")
    assert answer.headers["Preference-Applied"] == "wait=30"
    assert "Location" not in answer.headers


async def test_a_rejection_that_comes_in_time_is_a_problem(doors: Doors):
    """409 with the fulfillment's own reason and its cut-off."""
    order_id = await under_way(doors)
    waiting = asyncio.create_task(wish(doors, order_id, wait="wait=30", key="k"))
    await received(doors, order_id)
    no = answer_of(
        order_id, "k", status="REJECTED", code=Code.HAND_OVER_IN_PROGRESS, cut_off="HandOverStarted"
    )
    await activities(doors).record_answer(order_id, no)
    answer = await waiting
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["cutOff"]) == (
        409, "HAND_OVER_IN_PROGRESS", "HandOverStarted",
    )  # fmt: skip
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert problem["commandId"] == no.command_id
    assert problem["currentStatus"] == "FULFILLMENT_IN_PROGRESS"


@pytest.mark.parametrize("prefer", ["wait=1", "respond-async, wait=1", 'Wait="1"; x=y', None])
async def test_without_an_answer_in_time_the_wish_stays_open(doors: Doors, prefer: str | None):
    """202 with the place where it can be followed."""
    order_id = await under_way(doors)
    answer = await wish(doors, order_id, wait=prefer, key="k")
    assert (answer.status_code, answer.json()["status"]) == (202, "RECEIVED")
    assert answer.headers["Location"] == f"/commands/{answer.json()['commandId']}"
    assert answer.headers.get("Preference-Applied") == ("wait=1" if prefer else None)


async def test_a_longer_wait_than_we_grant_is_cut(doors: Doors):
    """What was granted is said; a wish that is answered at once does not use it."""
    answer = await wish(doors, await doors.order(ORDER), wait="wait=3600", key="k")
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (200, "wait=60")


class Handed:
    """A fulfillment that was handed over and closed at that moment, as whoever asks it is told."""

    def __init__(self, closed_at: datetime | None) -> None:
        self._closed_at = closed_at

    async def status(self, fulfillment_id: str) -> Any:
        return SimpleNamespace(outcome="SHIPPED", version=9, code=None)

    async def closed_at(self, fulfillment_id: str) -> datetime | None:
        return self._closed_at


@pytest.mark.parametrize("is_closed", [True, False])
async def test_an_end_that_was_asked_for_waits_for_the_answers_before_it(doors: Doors, is_closed: bool):
    """A fulfillment tells its answers first, and they may be on their way when somebody sees that it has
    ended; refused now, the same wish would be REJECTED here and EFFECTIVE there."""
    order_id = await under_way(doors)
    sent = (await wish(doors, order_id, wait=None, key="k")).json()["commandId"]
    now = datetime.now(UTC)
    working = activities(doors, Handed(now if is_closed else None))
    for quiet_since in (None, now - timedelta(seconds=1)):
        assert (await working.query_fulfillment_status(order_id, quiet_since)).lane == (sent,)
    await working.record_answer(
        order_id, answer_of(order_id, "k", status="REJECTED", code=Code.HAND_OVER_IN_PROGRESS)
    )
    assert (await working.query_fulfillment_status(order_id)).outcome is None
    assert (await doors.http["orders"].get(f"/orders/{order_id}")).json()["stage"] == "SHIPPED"
    assert (await told(doors, sent))["code"] == "HAND_OVER_IN_PROGRESS"


async def test_what_a_fulfillment_can_never_answer_is_refused(doors: Doors):
    """It closed before our workflow began to hear nothing: whatever it told has been heard."""
    order_id = await under_way(doors)
    sent = (await wish(doors, order_id, wait=None, key="k")).json()["commandId"]
    closed_at = datetime.now(UTC)
    working = activities(doors, Handed(closed_at))
    await working.query_fulfillment_status(order_id, closed_at + timedelta(minutes=10))
    assert (await told(doors, sent))["code"] == "ALREADY_ENDED"


async def test_a_receipt_tells_its_whole_way_across_both_services(doors: Doors):
    """Statuses with their times, the facts it led to, what the fulfillment said, and why it was asked."""
    order_id = await under_way(doors)
    asked = (await wish(doors, order_id, wait=None, key="k")).json()["commandId"]
    open_ = await told(doors, asked)
    assert [step["status"] for step in open_["walk"]] == ["RECEIVED"]
    assert [fact["type"] for fact in open_["facts"]] == ["CancelRequested", "FulfillmentInstructed"]
    assert (open_["fulfillment"]["status"], open_["actor"]) == ("RECEIVED", "ada")
    assert open_["reason"] == "Adalia changed her mind"
    assert open_["links"] == {"order": f"/orders/{order_id}"}

    working = activities(doors)
    await working.record_answer(order_id, answer_of(order_id, "k", status="ACCEPTED"))
    until_final = asyncio.create_task(told(doors, asked, "wait=30"))
    await asyncio.sleep(0.3)
    assert not until_final.done()
    await working.record_outcome(order_id, FulfillmentCompleted(n=1, outcome="CANCELLED", version=9))
    journal = orders.journal_of(doors.databases["orders"])

    for decision in (payment.request_void, payment.voided, steps.undone):

        async def decide(_: Connection, order: Order | None, decision: Any = decision) -> Any:
            return decision(order)

        await journal.change(contract.stream(order_id), Cause("test"), decide)
    settled = await until_final
    assert [step["status"] for step in settled["walk"]] == ["RECEIVED", "ACCEPTED", "EFFECTIVE"]
    times = [step["at"] for step in settled["walk"]]
    assert times == sorted(times)
    facts = [fact["type"] for fact in settled["facts"]]
    assert facts == ["CancelRequested", "FulfillmentInstructed", "FulfillmentAnswered", "OrderCancelled"]
    assert settled["fulfillment"]["status"] == "ACCEPTED"


async def test_a_wish_for_a_parcel_names_its_parcel(doors: Doors):
    """The fulfillment's receipts have the same shape; one that was settled at once was nothing in between."""
    order_id = await doors.order(ORDER)
    parcel = await doors.parcel(order_id, ADDRESS)
    door = doors.http["fulfillments"]
    paused = await door.post(f"/fulfillments/{parcel}/pause", json={"note": "Adalia has a look"})
    receipt = (await door.get(f"/commands/{paused.json()['commandId']}")).json()
    assert [step["status"] for step in receipt["walk"]] == ["RECEIVED", "EFFECTIVE"]
    assert [fact["type"] for fact in receipt["facts"]] == ["HoldPlaced"]
    assert receipt["links"] == {"fulfillment": f"/fulfillments/{parcel}"}
    assert receipt["note"] == "Adalia has a look"
    assert "fulfillment" not in receipt


class Messenger:
    """Writes down what it should bring to the fulfillment."""

    def __init__(self) -> None:
        self.brought: list[Wish] = []

    async def signal(self, _fulfillment_id: str, _instruction: str, wish: Wish) -> None:
        self.brought.append(wish)


@pytest.mark.parametrize("path", ["holds", "fulfillment/pause"])
async def test_a_wish_that_is_passed_on_names_who_asked(doors: Doors, path: str):
    """The fulfillment hears of ada, not of the service that passes it on."""
    order_id, messenger = await under_way(doors), Messenger()
    body = {"reason": "QUALITY"} if path == "holds" else {}
    asked = await doors.http["orders"].post(
        f"/orders/{order_id}/{path}", json=body, headers={"X-Actor": "ada"}
    )
    command_id = asked.json()["commandId"]
    await activities(doors, messenger).signal_fulfillment_workflow(order_id, command_id)
    [wish] = messenger.brought
    assert (wish.command_id, wish.actor) == (command_id, "ada")
    assert wish.payload.hold
    assert wish.payload.hold.holder == "ada"


async def test_nobody_waits_for_a_command_that_nobody_gave(doors: Doors):
    """404 at once."""
    answer = await doors.http["orders"].get("/commands/none", headers={"Prefer": "wait=60"})
    assert answer.status_code == 404


async def test_what_the_reconciler_found_is_told_newest_first(doors: Doors):
    """A page at a time, of one kind or one order, and when it looked at everything."""
    await doors.databases["orders"].execute(
        """
        insert into reconciliations (kind, subject, mark, found, action)
        values
            ('NO_PROGRESS', 'a', '', '{"step": "undo"}', 'KNOCKED'),
            ('STOCK_SUM', 'b', '', '{}', 'RAISED'),
            ('NO_PROGRESS', 'c', '', '{}', 'KNOCKED')
        """
    )

    async def ask(query: str) -> Any:
        return (await doors.http["orders"].get(f"/ops/reconciliations?{query}")).json()

    first = await ask("limit=2")
    assert first["lookedAt"]
    assert [each["subject"] for each in first["reconciliations"]] == ["c", "b"]
    (last,) = (await ask(f"limit=2&before={first['next']}"))["reconciliations"]
    assert (last["action"], last["found"], last["exceptionId"]) == ("KNOCKED", {"step": "undo"}, None)
    assert [each["subject"] for each in (await ask("kind=NO_PROGRESS"))["reconciliations"]] == ["c", "a"]
    assert [each["subject"] for each in (await ask("subject=b"))["reconciliations"]] == ["b"]
