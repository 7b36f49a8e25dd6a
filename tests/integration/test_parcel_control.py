"""What the operators' door says while people hold, freeze and cancel; PostgreSQL alone."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio

from contracts.envelope import Wish
from fulfillment_service import bootstrap
from fulfillment_service.activities import FulfillmentActivities
from fulfillment_service.bootstrap import Settings
from fulfillment_service.intake import Intake
from fulfillment_service.settings import WarehouseSettings
from tests.integration.doors import Doors, open_doors
from tests.integration.hostile import ADDRESS, ORDER

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(orders_url: str, fulfillments_url: str) -> AsyncGenerator[Doors]:
    async with open_doors(orders_url, fulfillments_url) as doors:
        yield doors


class Desk:
    """An operator and one parcel that nobody has begun to work at."""

    def __init__(self, doors: Doors, parcel: str) -> None:
        self.doors = doors
        self.parcel = parcel

    async def ask(self, method: str, path: str, **options: Any) -> Json:
        """The body of a good answer."""
        answer = await self.doors.http["fulfillments"].request(
            method, path.format(parcel=self.parcel), headers={"X-Actor": "anna"}, **options
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refused(self, method: str, path: str, status: int = 409, **options: Any) -> str:
        """The code of the problem."""
        answer = await self.doors.http["fulfillments"].request(
            method, path.format(parcel=self.parcel), **options
        )
        assert answer.status_code == status, answer.text
        return answer.json()["code"]

    async def wish(self, method: str, path: str, **options: Any) -> Json:
        return await self.ask(method, f"/fulfillments/{{parcel}}/{path}", **options)

    async def timed(self, path: str, body: Json, until: str, *, key: str) -> httpx.Response:
        headers = {"Idempotency-Key": f"{self.parcel}-{key}"}
        return await self.doors.http["fulfillments"].post(
            path, json={**body, "until": until}, headers=headers
        )

    async def shown(self) -> Json:
        return await self.ask("GET", "/fulfillments/{parcel}")

    async def receipt(self, command_id: str) -> Json:
        return await self.ask("GET", f"/commands/{command_id}")

    async def action(self, name: str) -> Json:
        found = (await self.ask("GET", "/fulfillments/{parcel}/actions"))["actions"]
        return next(action for action in found if action["name"] == name)


@pytest_asyncio.fixture(loop_scope="module")
async def desk(doors: Doors) -> Desk:
    return Desk(doors, await doors.parcel(await doors.order(ORDER), ADDRESS))


@pytest.fixture
def asking(doors: Doors) -> Intake:
    """A warehouse whose policy is to ask."""
    journal = bootstrap.journal_of(doors.databases["fulfillments"])
    return bootstrap.intake_of(journal, Settings(warehouse=WarehouseSettings(cancel_policy="ask")))


def later(**delta: float) -> str:
    return (datetime.now(UTC) + timedelta(**delta)).isoformat()


async def test_a_hold_shows_its_holder_and_its_end(desk: Desk):
    """Who placed it and until when; the past and a time without a zone are refused."""
    until = later(hours=1)
    await desk.wish("POST", "holds", json={"reason": "INVENTORY", "handle": "h", "until": until})
    (hold,) = (await desk.shown())["holds"]
    assert (hold["handle"], hold["holder"], hold["reason"]) == ("h", "anna", "INVENTORY")
    assert datetime.fromisoformat(hold["until"]) == datetime.fromisoformat(until)
    for wrong in (later(hours=-1), "2999-01-01T00:00:00", "soon"):
        body = {"reason": "OTHER", "until": wrong}
        assert await desk.refused("POST", "/fulfillments/{parcel}/holds", 422, json=body)
    body = {"reason": "QUALITY", "handle": "h"}
    assert await desk.refused("POST", "/fulfillments/{parcel}/holds", json=body) == "HANDLE_TAKEN"


async def test_a_pause_may_end_by_itself(desk: Desk):
    until = later(hours=1)
    await desk.wish("POST", "pause", json={"until": until})
    (hold,) = (await desk.shown())["holds"]
    assert hold["reason"] == "OPERATOR_PAUSE"
    assert datetime.fromisoformat(hold["until"]) == datetime.fromisoformat(until)


async def test_a_timed_hold_that_is_asked_for_again_after_its_end_has_the_stored_answer(desk: Desk):
    """A client that lost the answer may come back whenever it likes; under another key it is refused."""
    until = later(seconds=3)
    requests: dict[str, Json] = {
        f"/fulfillments/{desk.parcel}/pause": {},
        f"/fulfillments/{desk.parcel}/holds": {"reason": "QUALITY"},
        "/standing-holds": {"kind": "customer", "value": "customer-7", "reason": "QUALITY"},
    }
    first = {path: await desk.timed(path, body, until, key="once") for path, body in requests.items()}
    assert [answer.status_code for answer in first.values()] == [200] * 3
    await asyncio.sleep((datetime.fromisoformat(until) - datetime.now(UTC)).total_seconds() + 0.1)
    for path, body in requests.items():
        again = await desk.timed(path, body, until, key="once")
        assert (again.status_code, again.json()["commandId"]) == (200, first[path].json()["commandId"])
        assert again.headers["Idempotent-Replayed"] == "true"
        assert (await desk.timed(path, body, until, key="twice")).status_code == 422


# Standing holds.


async def test_a_standing_hold_is_placed_listed_and_lifted_once(desk: Desk):
    """Each with a receipt of its own; a lifted one is shown when all are asked for."""
    body = {"kind": "customer", "value": "customer-9", "reason": "FRAUD_RISK", "handle": "nine"}
    placed = await desk.ask("POST", "/standing-holds", json=body)
    assert (placed["status"], placed["handle"]) == ("EFFECTIVE", "nine")
    receipt = await desk.receipt(placed["commandId"])
    assert (receipt["name"], receipt["actor"]) == ("placeStandingHold", "anna")
    assert await desk.refused("POST", "/standing-holds", json=body) == "HANDLE_TAKEN"
    (listed,) = await standing(desk, "nine")
    assert (listed["status"], listed["holder"], listed["parcels"]) == ("STANDING", "anna", 0)
    lifted = await desk.ask("DELETE", "/standing-holds/nine")
    assert (lifted["status"], lifted["knocked"]) == ("EFFECTIVE", 0)
    assert await standing(desk, "nine") == []
    (listed,) = await standing(desk, "nine", all="true")
    assert (listed["status"], listed["liftedBy"]) == ("LIFTED", "anna")
    assert await desk.refused("DELETE", "/standing-holds/nobody", 404) == "NOT_FOUND"


async def standing(desk: Desk, handle: str, **query: str) -> list[Json]:
    listed = (await desk.ask("GET", "/standing-holds", params=query))["standingHolds"]
    return [each for each in listed if each["handle"] == handle]


async def test_a_parcel_that_met_a_standing_hold_says_so_and_cannot_lift_it(desk: Desk):
    """The actions know of it before the parcel met it; release and resume are refused."""
    body = {"kind": "sku", "value": "TEAPOT", "reason": "QUALITY", "handle": "pots"}
    assert (await desk.action("completeStep"))["allowed"]
    await desk.ask("POST", "/standing-holds", json=body)
    assert (await desk.action("completeStep"))["code"] == "ON_HOLD"
    refusal = await desk.refused("POST", "/fulfillments/{parcel}/steps/pick:1/complete")
    assert refusal == "ON_HOLD"
    await met(desk)
    shown = await desk.shown()
    assert (shown["status"], shown["holds"][0]["handle"]) == ("PAUSED", "standing:pots")
    assert await desk.refused("POST", "/fulfillments/{parcel}/resume") == "STANDING_HOLD"
    assert await desk.refused("DELETE", "/fulfillments/{parcel}/holds") == "STANDING_HOLD"
    assert (await standing(desk, "pots"))[0]["parcels"] == 1
    lifted = await desk.ask("DELETE", "/standing-holds/pots", params={"drainPerSecond": "0.5"})
    assert (lifted["knocked"], lifted["drainSeconds"]) == (1, 2.0)
    await desk.wish("POST", "steps/pick:1/complete")
    assert (await desk.shown())["holds"] == []


async def met(desk: Desk) -> None:
    """The parcel's workflow tried to begin a step."""
    nobody: Any = None
    journal = bootstrap.journal_of(desk.doors.databases["fulfillments"])
    activities = FulfillmentActivities(journal, desk.doors.warehouse, nobody, nobody)
    await activities.work(desk.parcel, None)


async def test_a_standing_hold_can_be_rehearsed(desk: Desk):
    """Placing and lifting: the facts are told, nothing stays."""
    before = await desk.doors.stored()
    body = {"kind": "sku", "value": "SPOON", "reason": "QUALITY", "handle": "dry"}
    rehearsed = await desk.ask("POST", "/standing-holds", params={"dryRun": "true"}, json=body)
    assert [fact["type"] for fact in rehearsed["facts"]] == ["StandingHoldPlaced"]
    assert await desk.doors.stored() == before
    assert await standing(desk, "dry", all="true") == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "planet"},
        {"value": ""},
        {"handle": "x" * 56},
        {"handle": "with space"},
        {"until": "2001-01-01T00:00:00Z"},
        {"reason": "BOREDOM"},
        {"colour": "red"},
    ],
)
async def test_a_standing_hold_that_cannot_be_understood_is_refused(desk: Desk, wrong: Json):
    body = {"kind": "sku", "value": "SPOON", "reason": "QUALITY", **wrong}
    assert await desk.refused("POST", "/standing-holds", 422, json=body) == "INVALID_REQUEST"


# Requests to cancel.


async def asks(asking: Intake, desk: Desk, command_id: str) -> str:
    """The order asks for the end, and is told what its receipt says."""
    granted = await asking.submit(
        "cancelFulfillment",
        desk.parcel,
        Wish(),
        command_id=command_id,
        actor="order-service",
        asked_at=datetime.now(UTC),
    )
    return granted.receipt.status


async def test_an_operator_accepts_what_the_order_asked_for(desk: Desk, asking: Intake):
    """RECEIVED until then; afterwards ACCEPTED, and the parcel is taken apart."""
    command = f"{desk.parcel}/c 1".replace(" ", "")
    assert await asks(asking, desk, command) == "RECEIVED"
    shown = await desk.shown()
    assert shown["status"] == "CANCEL_REQUESTED"
    assert [each["commandId"] for each in shown["cancellationRequests"]] == [command]
    accept = await desk.action("acceptCancellation")
    assert accept["call"]["path"].endswith(f"/cancellation-requests/{command}/accept")
    answer = await desk.ask("POST", accept["call"]["path"])
    assert answer["status"] == "EFFECTIVE"
    assert (await desk.receipt(command))["status"] == "ACCEPTED"
    assert (await desk.shown())["cancellationRequests"] == []


async def test_an_operator_rejects_what_the_order_asked_for(desk: Desk, asking: Intake):
    """The receipt says who said no; the parcel is where it was, and another answer is refused."""
    await asks(asking, desk, f"{desk.parcel}/c")
    path = f"/fulfillments/{{parcel}}/cancellation-requests/{desk.parcel}/c"
    assert (await desk.ask("POST", f"{path}/reject"))["status"] == "EFFECTIVE"
    receipt = await desk.receipt(f"{desk.parcel}/c")
    assert (receipt["status"], receipt["code"]) == ("REJECTED", "CANCEL_REJECTED")
    assert (await desk.shown())["status"] == "WAITING"
    assert await desk.refused("POST", f"{path}/accept") == "NO_SUCH_REQUEST"


async def test_an_operators_cancel_decides_at_once_also_where_the_policy_is_to_ask(
    desk: Desk, asking: Intake
):
    """Whoever asked before has the same answer."""
    await asks(asking, desk, f"{desk.parcel}/c")
    assert (await desk.wish("POST", "cancel"))["status"] == "ACCEPTED"
    assert (await desk.receipt(f"{desk.parcel}/c"))["status"] == "ACCEPTED"


# Actions and progress.


async def test_every_allowed_action_has_a_call_that_is_granted(desk: Desk):
    """The call that an action shows is one that the door takes, dry."""
    await desk.wish("POST", "pause")
    seen = await desk.ask("GET", "/fulfillments/{parcel}/actions")
    assert seen["allowedActions"] == (await desk.shown())["allowedActions"]
    for action in seen["actions"]:
        assert ("call" in action) == action["allowed"]
        if not action["allowed"]:
            assert action["detail"]
            continue
        call = action["call"]
        body = ADDRESS if action["name"] == "updateAddress" else call["body"]
        rehearsed = await desk.ask(call["method"], call["path"], params={"dryRun": "true"}, json=body)
        assert rehearsed["facts"], action


async def test_the_actions_say_until_when_and_at_what_cost(desk: Desk):
    cancel = await desk.action("cancel")
    assert (cancel["untilStep"], cancel["cutOff"]) == ("hand-over", "HandOverStarted")
    assert cancel["cost"]["payment"] == "void"


async def test_progress_says_when_the_parcel_should_leave(desk: Desk):
    """Budgets of a person's work; no estimate while a hold without an end stands."""
    progress = await desk.wish("GET", "progress")
    assert (progress["stepBudgetSeconds"], progress["stepStartedAt"]) == (120, None)
    left = datetime.fromisoformat(progress["estimatedAt"]) - datetime.now(UTC)
    assert timedelta(seconds=880) < left <= timedelta(seconds=905)
    await met(desk)
    assert (await desk.wish("GET", "progress"))["stepStartedAt"] is not None
    await desk.wish("POST", "pause")
    assert (await desk.wish("GET", "progress"))["estimatedAt"] is None
