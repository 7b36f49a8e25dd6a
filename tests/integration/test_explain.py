"""`GET …/explain` where no Temporal answers: the door says so within its bound, and knows its own rows."""

import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio

from deploy.local.ports import Ports
from fulfillment_service.activities import FulfillmentActivities
from fulfillment_service.bootstrap import journal_of
from tests.integration.doors import Doors, Service, open_doors
from tests.integration.hostile import ADDRESS, ORDER

pytestmark = pytest.mark.asyncio(loop_scope="module")

OLD = "now() - interval '1 minute'"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(
    orders_url: str, fulfillments_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Doors]:
    nowhere = Path(tmp_path_factory.mktemp("temporal")) / "temporal.toml"
    address = f"127.0.0.1:{Ports.anywhere()['temporal']}"
    nowhere.write_text(
        f'[profile.orders]\naddress = "{address}"\nnamespace = "orders"\n'
        f'[profile.fulfillments]\naddress = "{address}"\nnamespace = "fulfillments"\n'
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEMPORAL_CONFIG_FILE", str(nowhere))
        async with open_doors(orders_url, fulfillments_url) as doors:
            yield doors


async def explained(doors: Doors, service: Service, name: str) -> dict[str, Any]:
    answer = await doors.http[service].get(f"/{service}/{name}/explain")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_temporal_that_does_not_answer_is_a_finding(doors: Doors):
    """Both doors answer in time, and say what the wish for a hold did nevertheless."""
    order_id = await doors.order(ORDER)
    parcel = await doors.parcel(order_id, ADDRESS)
    hold = {"reason": "QUALITY", "handle": "shelf-7", "note": "Adalia looks at it"}
    await doors.http["fulfillments"].post(
        f"/fulfillments/{parcel}/holds", json=hold, headers={"X-Actor": "ada"}
    )
    began = time.monotonic()
    of_order = await explained(doors, "orders", order_id)
    of_parcel = await explained(doors, "fulfillments", order_id)
    assert time.monotonic() - began < 10
    assert [wait["kind"] for wait in of_order["waitsFor"]] == ["TEMPORAL"]
    assert [wait["kind"] for wait in of_parcel["waitsFor"]] == ["HOLD", "TEMPORAL"]
    assert 'by ada: "Adalia looks at it"' in of_parcel["summary"]
    lift = {
        "service": "fulfillment",
        "method": "DELETE",
        "path": f"/fulfillments/{parcel}/holds?handle=shelf-7",
    }
    assert lift in [way.get("call") for way in of_parcel["unblock"]]
    assert (await doors.http["fulfillments"].delete(lift["path"])).status_code == 200
    assert [wait["kind"] for wait in (await explained(doors, "fulfillments", parcel))["waitsFor"]] == [
        "TEMPORAL"
    ]


async def test_a_standing_hold_says_by_whom_and_why(doors: Doors):
    """The words are kept where it was placed; the parcel only met it."""
    parcel = await doors.parcel(await doors.order(ORDER), ADDRESS)
    body = {
        "kind": "sku",
        "value": "TEAPOT",
        "reason": "QUALITY",
        "handle": "lids",
        "note": "Adalia saw a crack",
    }
    door = doors.http["fulfillments"]
    assert (await door.post("/standing-holds", json=body, headers={"X-Actor": "ada"})).status_code == 200
    journal, nobody = journal_of(doors.databases["fulfillments"]), cast("Any", None)
    await FulfillmentActivities(journal, doors.warehouse, nobody, nobody).work(parcel, None)
    waits = (await explained(doors, "fulfillments", parcel))["waitsFor"][0]
    assert waits["kind"] == "STANDING_HOLD"
    assert waits["what"].startswith("the standing hold lids (QUALITY) by ada, which stops everything")
    assert waits["what"].endswith(': "Adalia saw a crack"')
    assert (await door.delete("/standing-holds/lids")).status_code == 200


async def test_what_has_not_left_or_come_in_is_told(doors: Doors):
    """An outbox that is behind, a record that Kafka does not take, an event that was set aside."""
    order_id = await doors.order(ORDER)
    database = doors.databases["orders"]
    await database.execute(f"update outbox set created_at = {OLD} where key = %(id)s", id=order_id)  # type: ignore[arg-type]
    await database.execute(
        """
        insert into parked (
            consumer, identity, topic, partition, record_offset, order_id, headers, body, reason
        )
        values ('order-view', 'x', 'fulfillments.events.v1', 0, 7, %(id)s, '{}', '', 'not an event of ours')
        """,
        id=order_id,
    )
    told = await explained(doors, "orders", order_id)
    assert [(wait["kind"], wait["stops"]) for wait in told["waitsFor"]] == [
        ("TEMPORAL", True),
        ("OUTBOX", False),
        ("EVENT_PARKED", False),
    ]
    assert "1 event of it could not be told on Kafka" in told["summary"]
    assert "(not an event of ours)" in told["summary"]


async def test_only_what_exists_is_explained(doors: Doors):
    """404 and 422 as everywhere."""
    assert (await doors.http["orders"].get("/orders/ORD-1700000000000-AAAAAAAAA/explain")).status_code == 404
    assert (await doors.http["fulfillments"].get("/fulfillments/x/explain")).status_code == 422
