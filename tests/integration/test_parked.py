"""`/ops/parked` of both services, over the effects that really fill their views."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_asyncio

from contracts.chassis import inbox
from contracts.chassis.inbox import Inbox
from contracts.chassis.kafka.records import IncomingRecord
from contracts.chassis.postgres import Connection
from contracts.envelope import Event
from fulfillment_service import consumer as fulfillments_consumer
from order_service import consumer as orders_consumer
from tests.integration.doors import Doors, open_doors
from tests.integration.hostile import ADDRESS, ORDER

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(orders_url: str, fulfillments_url: str) -> AsyncGenerator[Doors]:
    async with open_doors(orders_url, fulfillments_url) as doors:
        yield doors


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "RETRY_PAUSES", ())


async def fails(_connection: Connection, _event: Event) -> None:
    raise KeyError("Adalia Doe")


async def parked(doors: Doors, order_id: str) -> list[dict[str, Any]]:
    answer = await doors.http["orders"].get("/ops/parked", params={"order": order_id})
    assert answer.status_code == 200
    return answer.json()["parked"]


async def order_with_parked_news(doors: Doors) -> str:
    """The order service could not read what was told of the order's parcel, three events long."""
    order_id = await doors.order(ORDER)
    parcel = await doors.parcel(order_id, ADDRESS)
    for verb in ("pause", "resume"):
        answer = await doors.http["fulfillments"].post(f"/fulfillments/{parcel}/{verb}")
        assert answer.status_code == 200
    told = await doors.databases["fulfillments"].fetch(
        "select * from outbox where key = %(id)s order by id", id=order_id
    )
    assert len(told) == 3
    box = Inbox(doors.databases["orders"], orders_consumer.CONSUMER, fails)
    await box.apply([doors.record(row) for row in told])
    return order_id


async def test_a_view_moves_forward_over_a_gap(doors: Doors):
    """What is discarded is missing from the story, and the view shows what came last all the same."""
    order_id = await order_with_parked_news(doors)
    listed = await parked(doors, order_id)
    assert [each["isFirst"] for each in listed] == [True, False, False]
    assert [each["reason"] for each in listed] == ["KeyError", inbox.BEHIND, inbox.BEHIND]
    answer = await doors.http["orders"].post(
        f"/ops/parked/{listed[0]['id']}/discard", json={"reason": "broken"}, headers={"X-Actor": "ada"}
    )
    done = answer.json()
    assert (answer.status_code, done["outcome"], done["left"], done["stoppedAt"]) == (
        200,
        "DISCARDED",
        0,
        None,
    )
    assert done["settled"]["by"] == "ada"
    heard = await doors.databases["orders"].fetch(
        "select sequence from heard where order_id = %(id)s order by sequence", id=order_id
    )
    assert [row["sequence"] for row in heard] == [2, 3]
    view = await doors.databases["orders"].fetch_one(
        "select fulfillment_sequence from order_view where order_id = %(id)s", id=order_id
    )
    assert view == {"fulfillment_sequence": 3}
    assert await parked(doors, order_id) == []


async def test_a_replay_shows_what_was_missing(doors: Doors):
    """And the same again has nothing left to do."""
    order_id = await order_with_parked_news(doors)
    first = (await parked(doors, order_id))[0]["id"]
    for applied in (3, 0):
        answer = await doors.http["orders"].post(f"/ops/parked/{first}/replay")
        assert answer.status_code == 200
        assert (answer.json()["outcome"], len(answer.json()["applied"])) == ("REPLAYED", applied)
    settled = await doors.http["orders"].get("/ops/parked", params={"order": order_id, "outcome": "REPLAYED"})
    assert len(settled.json()["parked"]) == 3


async def test_nothing_that_a_stranger_sent_is_shown(doors: Doors):
    """Neither body, nor headers, nor key; an error's own words are no reason either."""
    secret = b"Adalia Doe"
    record = IncomingRecord("orders.events.v1", 0, 77, secret, {"x": secret}, secret)
    box = Inbox(doors.databases["fulfillments"], fulfillments_consumer.CONSUMER, fails)
    await box.apply([record])
    http = doors.http["fulfillments"]
    listed = await http.get("/ops/parked")
    one = listed.json()["parked"][-1]
    shown = await http.get(f"/ops/parked/{one['id']}")
    assert shown.json()["bytes"] == len(secret)
    assert shown.json()["event"] is None
    stopped = await http.post(f"/ops/parked/{one['id']}/replay")
    assert stopped.json()["stoppedAt"] == {"id": one["id"], "reason": "not an event of ours"}
    assert not any("Adalia" in answer.text for answer in (listed, shown, stopped))


async def test_pages_go_on_where_the_last_one_ended(doors: Doors):
    """By the number of the last record."""
    order_id = await order_with_parked_news(doors)
    seen: list[int] = []
    after: int | None = 0
    while after is not None:
        asked = {"order": order_id, "limit": 2, "after": after}
        page = (await doors.http["orders"].get("/ops/parked", params=asked)).json()
        seen += [each["id"] for each in page["parked"]]
        after = page.get("next")
    assert seen == sorted(set(seen))
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/ops/parked?outcome=LOST", None, 422),
        ("GET", "/ops/parked?what=ever", None, 422),
        ("GET", "/ops/parked/4711", None, 404),
        ("GET", "/ops/parked/x", None, 422),
        ("POST", f"/ops/parked/{2**63}/replay", None, 422),
        ("POST", "/ops/parked/4711/replay", None, 404),
        ("POST", "/ops/parked/1/replay?dry_run=true", None, 422),
        ("POST", "/ops/parked/1/discard", None, 422),
        ("POST", "/ops/parked/1/discard", {"reason": " "}, 422),
    ],
)
async def test_what_cannot_be_asked_is_a_problem(
    doors: Doors, method: str, path: str, body: dict[str, str] | None, status: int
):
    """As everywhere; a rehearsal that does not exist is not taken for the deed."""
    answer = await doors.http["orders"].request(method, path, json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
