"""People in control of a parcel, each story over REST on the whole system."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from deploy.local.stack import Stack
from tests.e2e.people import Engineer, Operator, Shop, eventually

WORK = ("pick:1", "pick:2", "pick:3", "quality", "pack")


def test_a_hold_with_an_end_is_lifted_by_itself(shop: Shop, operator: Operator, engineer: Engineer):
    """The operator says until when; nobody has to come back for it, and both doors show it meanwhile."""
    order = shop.place("manual")
    operator.comes_to(order, "pick:1")
    until = datetime.now(UTC) + timedelta(seconds=10)
    held = operator.holds(order, "INVENTORY", until=until.isoformat())
    assert held.status_code == 200, held.text
    operator.works(order, "pick:1")
    seen = operator.sees(order, status="PAUSED", currentStep="pick:2", stepOpen=False)
    assert [hold["reason"] for hold in seen["holds"]] == ["INVENTORY"]
    shop.sees_parcel(order, status="PAUSED")
    operator.works(order, *WORK[1:], "hand-over")
    assert shop.sees_end(order)["status"] == "SHIPPED"
    assert engineer.parcel_facts(order).count("HoldReleased") == 1


def test_the_last_of_two_holds_returns_to_the_exact_step(shop: Shop, operator: Operator):
    """Each has its own handle and is lifted by it; only without any the very step begins."""
    order = shop.place("manual")
    operator.works(order, *WORK[:3])
    operator.comes_to(order, "quality")
    assert operator.holds(order, "QUALITY", handle="lab").status_code == 200
    assert operator.holds(order, "FRAUD_RISK", handle="fraud").status_code == 200
    operator.works(order, "quality")
    operator.sees(order, status="PAUSED", pausedFrom="PACKING", currentStep="pack", stepOpen=False)
    assert operator.resume(order).status_code == 200
    assert operator.releases(order, "lab").status_code == 200
    assert [hold["handle"] for hold in operator.parcel(order)["holds"]] == ["fraud"]
    assert operator.parcel(order)["status"] == "PAUSED"
    typo = operator.releases(order, "typo")
    assert (typo.status_code, typo.json()["code"]) == (409, "HOLD_NOT_FOUND")
    assert operator.releases(order, "fraud").status_code == 200
    operator.comes_to(order, "pack")
    operator.works(order, "pack", "hand-over")
    assert shop.sees_end(order)["status"] == "SHIPPED"


def test_a_standing_hold_freezes_who_is_there_and_who_comes_and_drains(
    shop: Shop, operator: Operator, engineer: Engineer
):
    """One call stops all of them without touching any; the lift lets them go, so many a second."""
    running = shop.place("manual")
    operator.comes_to(running, "pick:1")
    frozen = operator.freezes("sku", "TEA-ASSAM", handle="recall")
    assert frozen.status_code == 200, frozen.text
    later = [shop.place() for _ in range(3)]
    operator.works(running, "pick:1")
    for order in (running, *later):
        seen = operator.sees(order, status="PAUSED")
        assert [hold["handle"] for hold in seen["holds"]] == ["standing:recall"]
        shop.sees_parcel(order, status="PAUSED")
    assert all("StepStarted" not in engineer.parcel_facts(order) for order in later)
    refused = operator.resume(running)
    assert (refused.status_code, refused.json()["code"]) == (409, "STANDING_HOLD")
    (listed,) = operator.http.get("/standing-holds").json()["standingHolds"]
    assert (listed["value"], listed["parcels"]) == ("TEA-ASSAM", 4)
    lifted = operator.thaws("recall", per_second=2)
    assert (lifted["knocked"], lifted["drainSeconds"]) == (4, 2.0)
    operator.works(running, *WORK[1:], "hand-over")
    for order in (running, *later):
        assert shop.sees_end(order)["status"] == "SHIPPED"
        assert engineer.effects("carrier", order) == ["label", "hand-over"]


def test_an_address_before_the_hand_over_wastes_a_label_and_says_so(
    shop: Shop, operator: Operator, engineer: Engineer
):
    """What it costs is told before and shown afterwards; percent stays, and why steps fell is said."""
    order = shop.place("manual")
    operator.works(order, *WORK)
    before = operator.comes_to(order, "hand-over")
    change = operator.action(order, "updateAddress")
    assert (change["allowed"], change["untilStep"], change["cost"]["relabel"]) == (True, "hand-over", True)
    price = change["cost"]["voidMinor"]
    assert price == before["labelCosts"]["bookedMinor"] > 0
    assert shop.readdress(order, zip_code="54321").status_code in (200, 202)
    after = operator.sees(order, addressVersion=2, currentStep="hand-over", stepsDone=before["stepsDone"])
    assert (after["labelCosts"]["bookedMinor"], after["labelCosts"]["wastedMinor"]) == (2 * price, price)
    progress = operator.http.get(f"/fulfillments/{order}/progress").json()
    assert (progress["percent"], progress["setback"]["reason"]) == (before["percent"], "address")
    operator.works(order, "hand-over")
    assert shop.sees_end(order)["status"] == "SHIPPED"
    labels = [row["zipCode"] for row in engineer.ledger("carrier", order) if row["operation"] == "label"]
    assert labels == ["12345", "54321"]


# Where the warehouse's policy is to ask.


@pytest.fixture(scope="module")
def asking_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A system whose operators accept or reject what an order wants cancelled, within a few seconds."""
    settings = {
        "TANDEM_WAREHOUSE_CANCEL_POLICY": "ask",
        "TANDEM_WAREHOUSE_CANCEL_ANSWER_SECONDS": "4",
    }
    with Stack(tmp_path_factory.mktemp("asking"), settings=settings) as stack:
        yield stack


@pytest.fixture
def asking_shop(asking_stack: Stack) -> Shop:
    return Shop(asking_stack.url("order_service"))


@pytest.fixture
def asked_operator(asking_stack: Stack) -> Operator:
    return Operator(asking_stack.url("fulfillment_service"))


def asked(shop: Shop, operator: Operator) -> tuple[str, str]:
    """An order whose parcel is being picked and whose customer wants it cancelled: its id, the command's."""
    order = shop.place("manual")
    operator.works(order, "pick:1")
    operator.comes_to(order, "pick:2")
    answer = shop.cancel(order)
    assert answer.status_code == 202
    command: str = answer.json()["commandId"]
    seen = operator.sees(order, status="CANCEL_REQUESTED")
    assert [each["commandId"] for each in seen["cancellationRequests"]] == [command]
    assert shop.receipt(command)["status"] in ("RECEIVED", "ACCEPTED")
    return order, command


def test_an_operator_accepts_a_cancel(asking_shop: Shop, asked_operator: Operator, asking_stack: Stack):
    """Only then the parcel is taken apart, and money and stock are settled before CANCELLED is said."""
    order, command = asked(asking_shop, asked_operator)
    assert asked_operator.answers(order, command, "accept").status_code == 200
    assert asking_shop.sees_end(order)["status"] == "CANCELLED"
    assert asking_shop.receipt(command)["status"] == "EFFECTIVE"
    engineer = Engineer(asking_stack)
    assert engineer.effects("payments", order) == ["authorize", "void"]
    assert engineer.stock_states(order) == {"RELEASED"}
    assert "Restocked" in engineer.parcel_facts(order)


def test_an_operator_rejects_a_cancel(asking_shop: Shop, asked_operator: Operator, asking_stack: Stack):
    """The customer's receipt says who refused, and the parcel goes on with the very step and ships."""
    order, command = asked(asking_shop, asked_operator)
    assert asked_operator.answers(order, command, "reject").status_code == 200
    receipt = eventually(
        lambda: asking_shop.receipt(command), lambda receipt: receipt["status"] == "REJECTED"
    )
    assert receipt["code"] == "CANCEL_REJECTED"
    asked_operator.comes_to(order, "pick:2")
    asked_operator.works(order, *WORK[1:], "hand-over")
    assert asking_shop.sees_end(order)["status"] == "SHIPPED"
    assert Engineer(asking_stack).effects("payments", order) == ["authorize", "capture"]


def test_a_cancel_that_nobody_answers_is_an_exception(asking_shop: Shop, asked_operator: Operator):
    """After its deadline it is listed for a person, who can still decide."""
    order, command = asked(asking_shop, asked_operator)
    seen = eventually(lambda: asked_operator.parcel(order), lambda seen: seen["exception"] is not None)
    assert seen["exception"]["code"] == "CANCEL_UNANSWERED"
    listed = asked_operator.http.get("/exceptions").json()["exceptions"]
    assert [each["orderId"] for each in listed] == [order]
    assert asked_operator.answers(order, command, "accept").status_code == 200
    assert asking_shop.sees_end(order)["status"] == "CANCELLED"
