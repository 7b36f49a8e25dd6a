"""What shops and operators live through, each story over REST on the whole system."""

import pytest

from tests.e2e.people import Engineer, Operator, Shop


def test_an_order_ships_and_is_paid_for_once(shop: Shop, engineer: Engineer):
    """The happy path: authorized, picked, labelled, handed over, captured; and the view knows all of it."""
    order = shop.place()
    seen = shop.sees_end(order)
    assert (seen["status"], seen["paymentStatus"], seen["percent"]) == ("SHIPPED", "CAPTURED", 100)
    parcel = shop.sees_parcel(order, status="SHIPPED")
    assert (parcel["percent"], parcel["itemsPicked"], parcel["source"]) == (100, 7, "kafka")
    assert engineer.effects("payments", order) == ["authorize", "capture"]
    assert engineer.effects("carrier", order) == ["label", "hand-over"]


@pytest.mark.parametrize("scenario", ["payment-timeout", "payment-flaky", "label-timeout"])
def test_a_provider_that_stumbles_costs_nothing_twice(shop: Shop, engineer: Engineer, scenario: str):
    """A provider that fails, or does it and does not say so, is asked again under the same name.

    Defect of the seed: a payment activity without idempotency key charges twice."""
    order = shop.place(scenario)
    assert shop.sees_end(order)["status"] == "SHIPPED"
    assert engineer.effects("payments", order) == ["authorize", "capture"]
    assert engineer.effects("carrier", order) == ["label", "hand-over"]


@pytest.mark.parametrize(
    ("scenario", "failure"), [("declined", "PAYMENT_DECLINED"), ("out-of-stock", "OUT_OF_STOCK")]
)
def test_an_order_that_cannot_be_fulfilled_fails_and_leaves_nothing(shop: Shop, scenario: str, failure: str):
    """A declined card or a missing article ends the order with its reason; nothing stays held."""
    order = shop.place(scenario)
    seen = shop.sees_end(order)
    assert (seen["status"], seen["failure"], seen["fulfillmentId"]) == ("FAILED", failure, None)
    assert seen["paymentStatus"] == "NONE"


def test_a_capture_that_is_refused_asks_for_a_person(shop: Shop):
    """The parcel has left: the order stays shipped and says that the money is missing."""
    order = shop.place("capture-refused")
    seen = shop.sees(order, "NEEDS_ATTENTION")
    assert (seen["stage"], seen["attention"], seen["paymentStatus"]) == (
        "SHIPPED",
        "CAPTURE_FAILED",
        "AUTHORIZED",
    )


def test_a_pause_before_the_parcel_exists_is_kept_for_it(shop: Shop, operator: Operator):
    """A pause right after placing holds the parcel at its start, while payment goes on.

    Defect of the seed: a pause before the fulfillment exists is lost."""
    order = shop.place()
    assert shop.pause(order).status_code in (200, 202)
    operator.sees(order, status="PAUSED")
    assert shop.status(order)["paymentStatus"] == "AUTHORIZED"
    assert shop.resume(order).status_code in (200, 202)
    assert shop.sees_end(order)["status"] == "SHIPPED"


def test_resume_returns_to_the_step_it_left(shop: Shop, operator: Operator):
    """Paused while packing, resumed while packing: nothing is picked twice.

    Defect of the seed: resume jumps to PICKING instead of where it was."""
    order = shop.place("manual")
    operator.works(order, "pick:1", "pick:2", "pick:3", "quality")
    operator.comes_to(order, "pack")
    assert operator.pause(order).status_code == 200
    assert operator.sees(order, status="PAUSED")["pausedFrom"] == "PACKING"
    assert operator.resume(order).status_code == 200
    operator.sees(order, status="PACKING", currentStep="pack")
    operator.works(order, "pack", "hand-over")
    assert shop.sees_end(order)["status"] == "SHIPPED"


@pytest.mark.parametrize("steps_done", [0, 1, 4, 5])
def test_a_cancel_settles_money_and_stock_at_every_stage(
    shop: Shop, operator: Operator, engineer: Engineer, steps_done: int
):
    """Cancelled before, while and after picking and after the label: voided, released, label voided.

    Defect of the seed: confirmed stock is not released on a later cancel."""
    steps = ("pick:1", "pick:2", "pick:3", "quality", "pack", "hand-over")
    order = shop.place("manual")
    operator.works(order, *steps[:steps_done])
    operator.comes_to(order, steps[steps_done])
    answer = shop.cancel(order)
    assert answer.status_code in (200, 202)
    assert shop.sees_end(order)["status"] == "CANCELLED"
    assert engineer.effects("payments", order) == ["authorize", "void"]
    assert engineer.effects("carrier", order) == (["label", "void-label"] if steps_done == 5 else [])
    held = engineer.rows("orders", "select state from stock_ledger where order_id = %s", order)
    assert {row["state"] for row in held} == {"RELEASED"}
    assert shop.receipt(answer.json()["commandId"])["status"] == "EFFECTIVE"


def test_a_cancel_after_the_hand_over_is_refused(shop: Shop):
    """What the carrier has cannot be called back; the answer says so and names the cut-off."""
    order = shop.place()
    shop.sees_end(order)
    answer = shop.cancel(order)
    assert answer.status_code == 409
    problem = answer.json()
    assert (problem["code"], problem["cutOff"]) == ("ALREADY_ENDED", "HandOverStarted")
    assert problem["allowedActions"] == []


def test_a_parcel_that_is_cancelled_in_the_warehouse_settles_the_order(
    shop: Shop, operator: Operator, engineer: Engineer
):
    """The fulfillment cancels on its own; the order voids and releases without being asked.

    Defect of the seed: a fulfillment that cancels on its own leaves money or stock behind."""
    order = shop.place("manual")
    operator.works(order, "pick:1")
    assert operator.cancel(order).status_code == 200
    assert shop.sees_end(order)["status"] == "CANCELLED"
    assert engineer.effects("payments", order) == ["authorize", "void"]
    assert engineer.stock_states(order) == {"RELEASED"}


def test_a_parcel_that_fails_in_the_warehouse_settles_the_order(
    shop: Shop, operator: Operator, engineer: Engineer
):
    """A failed quality check ends fulfillment and order as FAILED, with nothing left behind.

    Defect of the seed: a fulfillment that fails on its own leaves money or stock behind."""
    order = shop.place("manual")
    operator.works(order, "pick:1", "pick:2", "pick:3")
    operator.comes_to(order, "quality")
    assert operator.fails(order, "quality").status_code == 200
    seen = shop.sees_end(order)
    assert seen["status"] == "FAILED"
    assert engineer.effects("payments", order) == ["authorize", "void"]
    assert engineer.stock_states(order) == {"RELEASED"}


def test_an_address_change_before_the_hand_over_reaches_the_label(
    shop: Shop, operator: Operator, engineer: Engineer
):
    """With a label already booked the old one is voided, and the parcel leaves under the new address."""
    order = shop.place("manual")
    operator.works(order, "pick:1", "pick:2", "pick:3", "quality", "pack")
    operator.sees(order, currentStep="hand-over")
    answer = shop.readdress(order, zip_code="54321")
    assert answer.status_code == 202
    operator.sees(order, addressVersion=2, currentStep="hand-over")
    operator.works(order, "hand-over")
    assert shop.sees_end(order)["status"] == "SHIPPED"
    labels = [row for row in engineer.ledger("carrier", order) if row["operation"] == "label"]
    assert [row["zipCode"] for row in labels] == ["12345", "54321"]
    assert engineer.effects("carrier", order) == ["label", "void-label", "label", "hand-over"]
    assert shop.readdress(order).status_code == 409


def test_an_address_the_carrier_refuses_waits_for_a_better_one(shop: Shop, operator: Operator):
    """A refused label is an exception with an exit: a new address, and the parcel ships."""
    order = shop.place("label-refused")
    operator.sees(order, status="EXCEPTION")
    assert shop.readdress(order, zip_code="54321").status_code == 202
    assert shop.sees_end(order)["status"] == "SHIPPED"


def test_the_same_key_places_one_order(shop: Shop):
    """A retried request is answered with the order of the first one."""
    first = shop.http.post(
        "/orders/demo", params={"speed": "instant"}, headers={"Idempotency-Key": "retry-1"}
    )
    again = shop.http.post(
        "/orders/demo", params={"speed": "instant"}, headers={"Idempotency-Key": "retry-1"}
    )
    other = shop.http.post("/orders/demo", params={"speed": "slow"}, headers={"Idempotency-Key": "retry-1"})
    assert first.json() == again.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (422, "KEY_REUSED")


def test_orders_are_listed_newest_first_page_by_page(shop: Shop):
    """A placed order is in the list at once; pages neither repeat nor skip one.

    Defect of the seed: the list endpoint is empty."""
    placed = [shop.place() for _ in range(3)]
    first = shop.http.get("/orders", params={"limit": 2}).json()
    second = shop.http.get("/orders", params={"limit": 2, "cursor": first["next"]}).json()
    listed = [row["orderId"] for row in (*first["orders"], *second["orders"])]
    assert listed[:3] == placed[::-1]
    assert len(set(listed)) == len(listed)
