"""The operators' door, the view behind it, and what stays private."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from contracts import order
from contracts.chassis.roles.relay import knock_open
from contracts.envelope import Event
from fulfillment_service import consumer
from fulfillment_service.bootstrap.relay import HOME
from tests.integration.fulfillment.house import House, Parcel, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "Ask for Adalia at the back door"


async def waiting(house: House) -> Parcel:
    """A manual parcel whose first pick is open."""
    parcel = await house.parcel(mode="manual")
    await parcel.until("StepStarted pick:1")
    return parcel


async def test_the_same_key_gives_the_stored_answer(house: House):
    """Asked again, the same receipt; with another request under the same key, an error."""
    parcel = await waiting(house)
    first = await parcel.ask("POST", "/pause", key="k1", json={"reason": "a"})
    again = await parcel.ask("POST", "/pause", key="k1", json={"reason": "a"})
    other = await parcel.ask("POST", "/pause", key="k1", json={"reason": "b"})
    assert (first.status_code, again.status_code, other.status_code) == (200, 200, 422)
    assert first.json()["commandId"] == again.json()["commandId"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert other.json()["code"] == "KEY_REUSED"
    assert len((await parcel.shown())["holds"]) == 1


async def test_a_wish_can_be_tied_to_the_version_that_was_read(house: House):
    """With another version than the one shown nothing changes and the answer is 412."""
    parcel = await waiting(house)
    shown = await parcel.ask("GET", "/status")
    stale = await parcel.ask("POST", "/pause", headers={"If-Match": '"1"'})
    assert (stale.status_code, stale.json()["code"]) == (412, "VERSION_MISMATCH")
    fresh = await parcel.ask("POST", "/pause", headers={"If-Match": shown.headers["ETag"]})
    assert fresh.status_code == 200
    assert fresh.headers["ETag"] == f'"{shown.json()["version"] + 1}"'


async def test_every_answer_says_that_warehouse_and_carrier_are_simulated(house: House):
    """In a header of reads and wishes, and in the document."""
    parcel = await waiting(house)
    read, wish = await parcel.ask("GET", ""), await parcel.ask("POST", "/pause")
    assert read.headers["Tandem-Simulated"] == wish.headers["Tandem-Simulated"] == "true"
    assert read.json()["simulated"] is True


async def test_a_parcel_has_three_names(house: House):
    """Its own id, its workflow's id, and its order's, which means the newest parcel."""
    parcel = await waiting(house)
    names = (parcel.fulfillment_id, f"fulfillment-{parcel.fulfillment_id}", parcel.order_id)
    shown = [(await house.door.get(f"/fulfillments/{name}/progress")).json() for name in names]
    assert {each["fulfillmentId"] for each in shown} == {parcel.fulfillment_id}
    assert (shown[0]["currentStep"], shown[0]["percent"], shown[0]["stepsTotal"]) == ("pick:1", 0, 7)
    paused = await house.door.post(f"/fulfillments/{parcel.order_id}/pause")
    assert paused.json()["fulfillmentId"] == parcel.fulfillment_id


async def test_the_list_turns_its_pages_without_repeating(house: House):
    """Newest first, by a cursor that later parcels do not shift; filters narrow it."""
    parcels = [(await waiting(house)).fulfillment_id for _ in range(3)]
    query = {"status": "PICKING", "stage": "PICKING", "limit": "1"}
    seen: list[str] = []
    while len(seen) < 3:
        page = (await house.door.get("/fulfillments", params=query)).json()
        seen += [each["fulfillmentId"] for each in page["fulfillments"]]
        query["cursor"] = page.get("next", "")
    assert seen == parcels[::-1]
    own = await house.door.get("/fulfillments", params={"orderId": parcels[0].rsplit("-", 1)[0]})
    assert [each["fulfillmentId"] for each in own.json()["fulfillments"]] == parcels[:1]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/fulfillments/nonsense", None, 422),
        ("GET", "/fulfillments/ORD-1700000000000-AAAAAAAAA-1", None, 404),
        ("POST", "/fulfillments/ORD-1700000000000-AAAAAAAAA-1/pause", None, 404),
        ("POST", "/fulfillments/ORD-1700000000000-AAAAAAAAA/pause", None, 404),
        ("GET", "/fulfillments?limit=0", None, 422),
        ("GET", "/fulfillments?colour=red", None, 422),
        ("GET", "/fulfillments?cursor=bm9uc2Vuc2U", None, 422),
        ("GET", "/fulfillments?stage=LOST", None, 422),
        ("GET", "/commands/none", None, 404),
        ("POST", "{parcel}/pause", {"reason": ""}, 422),
        ("POST", "{parcel}/pause", {"reasons": "typo"}, 422),
        ("POST", "{parcel}/pause", [], 422),
        ("POST", "{parcel}/pause", {"reason": "x" * 501}, 422),
        ("POST", "{parcel}/holds", {"reason": "BOREDOM"}, 422),
        ("POST", "{parcel}/holds", {"reason": "QUALITY", "handle": "a b"}, 422),
        ("POST", "{parcel}/holds", None, 422),
        ("DELETE", "{parcel}/holds?handle=%20", None, 422),
        ("PATCH", "{parcel}/shipping-address", {"street": "only"}, 422),
        ("POST", "{parcel}/steps/pick:%00/complete", None, 404),
        ("POST", "{parcel}/steps/pick:1%20/complete", None, 422),
        ("POST", "{parcel}/steps/pick:2/complete", None, 409),
        ("DELETE", "{parcel}/pause", None, 405),
    ],
)
async def test_what_cannot_be_understood_is_said_and_stores_nothing(
    house: House, method: str, path: str, body: Any, status: int
):
    """A problem document with a code and a detail, never a 5xx; the stream stays as it was."""
    parcel = await waiting(house)
    before = len(await parcel.facts())
    answer = await house.door.request(
        method, path.replace("{parcel}", f"/fulfillments/{parcel.fulfillment_id}"), json=body
    )
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"]
    assert answer.json()["detail"]
    assert len(await parcel.facts()) == before


@pytest.mark.parametrize("name", ["ORD-1700000000000-AAAAAAAAA-1", "ORD-1700000000000-AAAAAAAAA"])
@pytest.mark.parametrize(("method", "behind"), [("GET", ""), ("GET", "/explain"), ("POST", "/pause")])
async def test_who_finds_no_parcel_is_told_where_its_order_is(
    house: House, method: str, behind: str, name: str
):
    """It may not have been asked for yet."""
    answer = await house.door.request(method, f"/fulfillments/{name}{behind}")
    assert "GET /orders/ORD-1700000000000-AAAAAAAAA/status" in answer.json()["detail"]


async def test_a_command_can_be_looked_up(house: House):
    """What it was, who sent it, and what became of it."""
    parcel = await waiting(house)
    receipt = await parcel.wish("/pause")
    found = (await house.door.get(f"/commands/{receipt['commandId']}")).json()
    assert (found["name"], found["actor"], found["status"]) == ("pauseFulfillment", "operator", "ACCEPTED")


async def test_the_view_shows_the_order_as_kafka_last_told_it(house: House):
    """Also when the order spoke before its parcel existed, and never an older word after a newer one."""
    parcel = await waiting(house)
    assert (await parcel.shown())["order"] is None

    def event(sequence: int, status: str) -> Event:
        return Event(
            id=uuid4(),
            type="tandem.order.order-confirmed.v1",
            source=order.SOURCE,
            subject=order.stream(parcel.order_id),
            time=datetime.now(UTC),
            sequence=sequence,
            correlation_id=parcel.order_id,
            data={"status": status, "paymentStatus": "AUTHORIZED"},
        )

    for told in (event(4, "CONFIRMED"), event(6, "FULFILLMENT_IN_PROGRESS"), event(5, "FULFILLMENT_STARTED")):
        async with house.database.transaction() as connection:
            await consumer.effect(connection, told)
    shown = (await parcel.shown())["order"]
    assert (shown["status"], shown["version"], shown["source"]) == ("FULFILLMENT_IN_PROGRESS", 6, "kafka")


async def test_only_open_fulfillments_are_knocked_when_their_workflow_was_ended(house: House):
    """One whose stream has ended needs nobody any more."""
    ended, running = await house.parcel(), await waiting(house)
    await ended.ended()
    runs = {f"fulfillment-{each.fulfillment_id}": each.fulfillment_id for each in (ended, running)}
    await running.handle.terminate("from outside")
    # Every relay finds it; it is knocked once for the run that ended.
    assert [await knock_open(HOME, house.database, runs) for _ in range(2)] == [1, 0]

    async def runs_again() -> bool:
        status = (await running.handle.describe()).status
        return status is not None and status.name == "RUNNING"

    await eventually(runs_again, what="a second run")


async def test_nothing_personal_leaves_the_personal_table(house: House):
    """No street and no word of a person in facts, records, receipts, views or knocks."""
    parcel = await waiting(house)
    await parcel.wish("/cancel", json={"reason": SECRET})
    assert await parcel.ended() == "CANCELLED"
    for table in ("events", "outbox", "receipts", "knocks", "fulfillment_view"):
        row = await house.database.fetch_one(
            f"select count(*) as found from {table} as row where row::text ~ 'Rehearsal|Adalia'"  # type: ignore[arg-type]
        )
        assert row == {"found": 0}, table
    outbox = await house.database.fetch("select body from outbox")
    assert not any(word in row["body"] for row in outbox for word in (b"Rehearsal", b"Adalia"))
    kept = await house.database.fetch_one("select count(*) as kept from pii where content::text ~ 'Adalia'")
    assert kept == {"kept": 1}
    history = (await parcel.history()).to_json()
    assert "Rehearsal" not in history
    assert "Adalia" not in history
