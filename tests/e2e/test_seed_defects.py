"""Every defect of the seed's public implementation, and the test that fails if it comes back.

Most of them are told by a story that is worth telling anyway; what no story shows is shown here."""

import ast
import asyncio
import json
from pathlib import Path

import pytest
from temporalio.client import Client

from contracts import fulfillment
from contracts import order as contract
from contracts.chassis import temporal
from contracts.chassis.settings import TemporalSettings
from contracts.fulfillment import StartFulfillment
from contracts.values import Address, Line
from deploy.local.stack import Stack
from order_service.fulfillment_bridge import FulfillmentBridge
from tests.e2e.people import Engineer, Json, Operator, Shop, eventually, parcel_workflow

STORIES, HERE = "tests/e2e/test_stories.py", "tests/e2e/test_seed_defects.py"
PAIR = "tests/integration/test_pair.py"

DEFECTS = {
    "a retried start makes a second fulfillment": (HERE, "test_a_start_that_is_asked_again_makes_no_second"),
    "crash between start and start-signal leaves an orphan": (HERE, "test_start_and_first_signal_are_one"),
    "start error swallowed": (PAIR, "test_a_start_that_fails_is_not_taken_for_a_start"),
    "fulfillment that cancels on its own leaves money or stock behind": (
        STORIES,
        "test_a_parcel_that_is_cancelled_in_the_warehouse_settles_the_order",
    ),
    "fulfillment that fails on its own leaves money or stock behind": (
        STORIES,
        "test_a_parcel_that_fails_in_the_warehouse_settles_the_order",
    ),
    "confirmed stock not released on a later cancel": (
        STORIES,
        "test_a_cancel_settles_money_and_stock_at_every_stage",
    ),
    "partial reservation leaks": (HERE, "test_stock_is_held_for_all_lines_or_for_none"),
    "pause before the fulfillment exists is lost": (
        STORIES,
        "test_a_pause_before_the_parcel_exists_is_kept_for_it",
    ),
    "pause not checked before label and hand-over": (HERE, "test_a_paused_parcel_gets_no_label_and_stays"),
    "resume jumps to PICKING instead of where it was": (STORIES, "test_resume_returns_to_the_step_it_left"),
    "a signal between two waits is seen late or lost": (HERE, "test_no_wish_of_a_storm_is_lost_or_late"),
    "an update may overwrite orderId or total": (
        HERE,
        "test_an_update_changes_neither_id_nor_lines_nor_total",
    ),
    "progress falls back to 0 %": (HERE, "test_progress_never_falls"),
    "signal-back lost, the order waits for ever": (
        PAIR,
        "test_an_end_that_nobody_told_of_is_found_by_the_safety_net",
    ),
    "payment activity without idempotency key charges twice": (
        STORIES,
        "test_a_provider_that_stumbles_costs_nothing_twice",
    ),
    "list endpoint empty": (STORIES, "test_orders_are_listed_newest_first_page_by_page"),
}

PACKED = ("pick:1", "pick:2", "pick:3", "quality", "pack")


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_of_the_seed_has_its_test(defect: str):
    """The table above points at tests that exist."""
    path, name = DEFECTS[defect]
    tree = ast.parse((Path(__file__).parents[2] / path).read_text())
    assert name in {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


async def test_a_start_that_is_asked_again_makes_no_second(
    stack: Stack, shop: Shop, operator: Operator, engineer: Engineer, monkeypatch: pytest.MonkeyPatch
):
    """The order's own way to start a parcel, taken again by a retry: while it runs, and after its end."""
    for name, value in {**stack.state.key_rings(), **stack.env}.items():
        monkeypatch.setenv(name, value)
    bridge = FulfillmentBridge(await temporal.connect("fulfillments", TemporalSettings()))
    order = shop.place("manual")
    operator.comes_to(order, "pick:1")
    assert await bridge.start(_request(order)) is None
    operator.works(order, *PACKED, "hand-over")
    assert shop.sees_end(order)["status"] == "SHIPPED"
    assert await bridge.start(_request(order)) == "SHIPPED"

    client = await Client.connect(stack.temporal_address, namespace=fulfillment.NAMESPACE)
    runs = [run.id async for run in client.list_workflows(f"WorkflowId = '{parcel_workflow(order)}'")]
    assert runs == [parcel_workflow(order)]
    assert engineer.parcel_facts(order).count("FulfillmentAccepted") == 1
    assert engineer.effects("carrier", order) == ["label", "hand-over"]
    streams = engineer.rows(
        "fulfillments", "select distinct stream from events where stream like %s", f"fulfillment-{order}-%"
    )
    assert streams == [{"stream": fulfillment.stream(fulfillment.fulfillment_id(order, 1))}]


async def test_start_and_first_signal_are_one(stack: Stack, shop: Shop):
    """Signal-with-start: in both histories the first signal stands directly behind the start."""
    order = shop.place()
    shop.sees_end(order)
    for namespace, workflow_id, signal in (
        (contract.NAMESPACE, contract.workflow_id(order), "knock"),
        (fulfillment.NAMESPACE, parcel_workflow(order), "startFulfillment"),
    ):
        client = await Client.connect(stack.temporal_address, namespace=namespace)
        history = await client.get_workflow_handle(workflow_id).fetch_history()
        assert history.events[0].HasField("workflow_execution_started_event_attributes")
        signaled = history.events[1].workflow_execution_signaled_event_attributes
        assert signaled.signal_name == signal


def test_stock_is_held_for_all_lines_or_for_none(shop: Shop, engineer: Engineer):
    """Two lines are there and one is not: the order fails, and nothing of the two stays held or is moved."""
    before = shop.stock()
    order = shop.place("out-of-stock")
    assert shop.sees_end(order)["failure"] == "OUT_OF_STOCK"
    assert engineer.rows("orders", "select * from stock_ledger where order_id = %s", order) == []
    after = shop.stock()
    for sku in ("TEAPOT", "TEA-ASSAM"):
        assert after[sku]["initial"] == sum(after[sku][place] for place in ("available", "held", "shipped"))
        assert after[sku]["held"] <= before[sku]["held"]
    # The last five: whoever comes too late gets none of them, and takes nothing else either.
    for quantity, ending in ((4, "SHIPPED"), (4, "FAILED"), (1, "SHIPPED")):
        answer = shop.http.post("/orders", json=_kettles(quantity))
        assert answer.status_code == 201, answer.text
        assert shop.sees_end(answer.json()["orderId"])["status"] == ending
    assert shop.stock()["KETTLE-LAST"]["available"] == 0
    assert shop.stock()["KETTLE-LAST"]["shipped"] == 5


def test_a_paused_parcel_gets_no_label_and_stays(shop: Shop, operator: Operator, engineer: Engineer):
    """Paused while packing: no label is booked; paused with the label on: nobody hands it over."""
    order = shop.place("manual")
    operator.works(order, *PACKED[:-1])
    operator.comes_to(order, "pack")
    operator.pause(order)
    assert operator.completes(order, "pack").status_code == 200
    operator.sees(order, status="PAUSED", currentStep="label:1")
    _nothing_moves(engineer, order)
    assert engineer.effects("carrier", order) == []
    operator.resume(order)

    operator.sees(order, currentStep="hand-over", status="READY_TO_SHIP")
    operator.pause(order)
    operator.sees(order, status="PAUSED", pausedFrom="READY_TO_SHIP")
    refused = operator.completes(order, "hand-over")
    assert (refused.status_code, refused.json()["code"]) == (409, "ON_HOLD")
    assert engineer.effects("carrier", order) == ["label"]
    operator.resume(order)
    operator.sees(order, status="READY_TO_SHIP")
    operator.completes(order, "hand-over")
    assert shop.sees_end(order)["status"] == "SHIPPED"


async def test_no_wish_of_a_storm_is_lost_or_late(
    stack: Stack, shop: Shop, operator: Operator, engineer: Engineer
):
    """As many pauses and resumes as a minute allows, over REST and as bare signals, while steps end every
    200 ms: each is answered, no step begins between a pause and the resume after it, the last pause holds."""
    order = shop.place(speed="fast")
    first = shop.pause(order).json()["commandId"]
    operator.sees(order, status="PAUSED")
    client = await Client.connect(stack.temporal_address, namespace=fulfillment.NAMESPACE)
    handle = client.get_workflow_handle(parcel_workflow(order))
    for _ in range(7):
        await handle.signal("resumeFulfillment")
        await handle.signal("pauseFulfillment")
        assert operator.resume(order).status_code == 200
        assert operator.pause(order).status_code == 200
        await asyncio.sleep(0.05)

    receipts = eventually(
        lambda: engineer.rows(
            "fulfillments",
            """
            select status
            from receipts
            where stream = %s
              and name in ('pauseFulfillment', 'resumeFulfillment')
              and command_id <> %s
            """,
            fulfillment.stream(fulfillment.fulfillment_id(order, 1)),
            first,
        ),
        lambda rows: len(rows) == 28 and all(row["status"] not in ("RECEIVED", "ACCEPTED") for row in rows),
    )
    assert {row["status"] for row in receipts} <= {"EFFECTIVE", "SUPERSEDED"}
    operator.sees(order, status="PAUSED")
    held: set[str] = set()
    for fact, data in _parcel_story(engineer, order):
        if fact == "HoldPlaced":
            held.add(data["handle"])
        elif fact == "HoldReleased":
            held.discard(data["handle"])
        elif fact in ("StepStarted", "LabelRequested", "HandOverStarted"):
            assert not held, "a step began while the parcel was held"
    assert held
    operator.resume(order)
    assert shop.sees_end(order)["status"] == "SHIPPED"


@pytest.mark.parametrize(
    "body",
    [
        {"orderId": "ORD-1234567890123-AAAAAAAAA"},
        {"totalMinor": 1},
        {"total": 0, "contact": {"name": "A", "email": "a@b"}},
        {"items": []},
        {"status": "SHIPPED", "instructions": "hurry"},
    ],
)
def test_an_update_changes_neither_id_nor_lines_nor_total(shop: Shop, body: Json):
    """What an update may not change is an error that changes nothing at all."""
    order = shop.place("manual")
    before = shop.status(order)
    answer = shop.http.patch(f"/orders/{order}", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    after = shop.status(order)
    for what in ("orderId", "totalMinor", "currency", "lines", "contactVersion", "instructionsVersion"):
        assert after[what] == before[what]
    assert shop.cancel(order).status_code in (200, 202)


def test_progress_never_falls(shop: Shop, operator: Operator, engineer: Engineer):
    """Paused, resumed, labelled anew, cancelled: every event of order and parcel says at least as much."""
    shipped, cancelled = shop.place("manual"), shop.place("manual")
    for order in (shipped, cancelled):
        for step in PACKED:
            operator.comes_to(order, step)
            operator.pause(order)
            operator.resume(order)
            operator.works(order, step)
        operator.comes_to(order, "hand-over")
    shop.readdress(shipped)
    operator.sees(shipped, addressVersion=2, currentStep="hand-over")
    operator.works(shipped, "hand-over")
    shop.cancel(cancelled)
    for order in (shipped, cancelled):
        shop.sees_end(order)
        for database in ("orders", "fulfillments"):
            percents = _percents(engineer, database, order)
            assert percents == sorted(percents)
            assert percents[-1] > 0
    assert _percents(engineer, "fulfillments", shipped)[-1] == 100


def _nothing_moves(engineer: Engineer, order: str) -> None:
    """The parcel's facts end with the completed step."""
    facts = engineer.parcel_facts(order)
    assert "LabelRequested" not in facts
    assert facts[-1] == "StepCompleted"


def _percents(engineer: Engineer, database: str, order: str) -> list[int]:
    rows = engineer.rows(database, "select body from outbox where key = %s order by id", order)
    return [json.loads(bytes(row["body"]))["percent"] for row in rows]


def _parcel_story(engineer: Engineer, order: str) -> list[tuple[str, Json]]:
    stream = fulfillment.stream(fulfillment.fulfillment_id(order, 1))
    rows = engineer.rows(
        "fulfillments", "select type, data from events where stream = %s order by version", stream
    )
    return [(row["type"], row["data"]) for row in rows]


def _request(order: str) -> StartFulfillment:
    """What a retried activity would send."""
    return StartFulfillment(
        order_id=order,
        n=1,
        lines=(Line(sku="TEAPOT", quantity=1),),
        address=Address(street="1 Retry Road", city="Again", state="NC", zip_code="12345", country="USA"),
        address_version=1,
        country="USA",
        customer_ref="demo-customer",
        reply_to=contract.workflow_id(order),
    )


def _kettles(quantity: int) -> Json:
    return {
        "customerId": "kettle-fan",
        "items": [
            {"sku": "MUG-GREEN", "quantity": 1, "unitPriceMinor": 1290},
            {"sku": "KETTLE-LAST", "quantity": quantity, "unitPriceMinor": 7900},
        ],
        "currency": "USD",
        "shippingAddress": {
            "street": "5 Boiling Way",
            "city": "Steamton",
            "state": "NC",
            "zipCode": "12345",
            "country": "USA",
        },
        "contact": {"name": "Kettle Fan", "email": "kettle@example.com"},
        "payment": {"token": "tok_ok"},
    }
