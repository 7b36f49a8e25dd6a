"""The stories, through REST only, on the images: each is looked at from all sides once it is over."""

import pytest

from tests.e2e.containers.evidence import Auditor
from tests.e2e.people import Engineer, Operator, Shop
from tests.e2e.traces import roots, whole_trace_of

STEPS = ("pick:1", "pick:2", "pick:3", "quality", "pack", "hand-over")


def test_orders_ship(shop: Shop, auditor: Auditor):
    """Placed, paid, picked, labelled, handed over, captured."""
    orders = [shop.place() for _ in range(5)]
    auditor.audit("orders ship", orders, shipped=True)


def test_paused_and_resumed(shop: Shop, operator: Operator, auditor: Auditor):
    """By either door, before the parcel exists and while it is packed: it goes on where it was."""
    early = shop.place()
    assert shop.pause(early).status_code in (200, 202)
    operator.sees(early, status="PAUSED")
    assert shop.resume(early).status_code in (200, 202)
    late = shop.place("manual")
    operator.works(late, *STEPS[:4])
    operator.comes_to(late, "pack")
    assert operator.pause(late).status_code == 200
    assert operator.sees(late, status="PAUSED")["pausedFrom"] == "PACKING"
    assert operator.resume(late).status_code == 200
    operator.works(late, "pack", "hand-over")
    auditor.audit("paused and resumed", [early, late], shipped=True)


@pytest.mark.parametrize("steps_done", [0, 1, 3, 4, 5])
def test_cancelled_at_each_stage(shop: Shop, operator: Operator, auditor: Auditor, steps_done: int):
    """At the pick, at quality, while packing, with a label: money, stock and label go back."""
    order = shop.place("manual")
    operator.works(order, *STEPS[:steps_done])
    operator.comes_to(order, STEPS[steps_done])
    answer = shop.cancel(order)
    assert answer.status_code in (200, 202)
    assert shop.sees_end(order)["status"] == "CANCELLED"
    auditor.audit(f"cancelled at {STEPS[steps_done]}", [order])
    assert shop.receipt(answer.json()["commandId"])["status"] == "EFFECTIVE"


def test_a_cancel_comes_too_late(shop: Shop, auditor: Auditor):
    """What the carrier has cannot be called back, and the answer names the cut-off."""
    order = shop.place()
    shop.sees_end(order)
    answer = shop.cancel(order)
    assert (answer.status_code, answer.json()["cutOff"]) == (409, "HandOverStarted")
    auditor.audit("a cancel comes too late", [order], shipped=True)


def test_readdressed_before_and_after_the_cut_off(
    shop: Shop, operator: Operator, engineer: Engineer, auditor: Auditor
):
    """A booked label is voided and made anew; after the hand-over the change is refused."""
    order = shop.place("manual")
    operator.works(order, *STEPS[:5])
    operator.sees(order, currentStep="hand-over")
    assert shop.readdress(order, zip_code="54321").status_code == 202
    operator.sees(order, addressVersion=2, currentStep="hand-over")
    operator.works(order, "hand-over")
    shop.sees_end(order)
    assert shop.readdress(order).status_code == 409
    auditor.audit("readdressed before and after the cut-off", [order], shipped=True)
    labels = [row["zipCode"] for row in engineer.ledger("carrier", order) if row["operation"] == "label"]
    assert labels == ["12345", "54321"]


def test_a_declined_payment(shop: Shop, auditor: Auditor):
    """Ends the order, with nothing held and nothing charged."""
    order = shop.place("declined")
    seen = shop.sees_end(order)
    assert (seen["status"], seen["failure"]) == ("FAILED", "PAYMENT_DECLINED")
    auditor.audit("a declined payment", [order])


def test_one_order_is_one_trace_at_the_collector(shop: Shop, engineer: Engineer, auditor: Auditor):
    """Over OTLP, a real collector and its file: every part of both services, one root, no loose end."""
    order = shop.place()
    auditor.audit("one trace", [order], shipped=True)
    trace = whole_trace_of(engineer, order)
    assert roots(trace) == [("order-service", "api", "SERVER")]
