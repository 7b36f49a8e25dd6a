"""What may be done with an order, until when, who answers, and what it costs: state by state."""

import pytest

from contracts.values import Code
from order_service.order import Order, horizon
from order_service.order.horizon import Action, Cost
from tests.unit.orders import (
    EVERY_STATE,
    authorized,
    authorizing,
    cancelling,
    completed,
    confirmed,
    held,
    in_stock,
    paused,
    placed,
    under_way,
)

ALWAYS = ["cancel", "pause", "hold", "updateAddress", "updateContact"]


def action(order: Order, name: str) -> Action:
    [found] = [each for each in horizon.actions(order) if each.name == name]
    return found


def test_before_the_parcel_everything_is_the_orders_to_decide():
    """Instructions too; what would change nothing is not offered."""
    assert horizon.allowed_actions(placed()) == [*ALWAYS, "updateInstructions"]
    assert {each.answered_by for each in horizon.actions(placed())} == {"order"}
    assert action(placed(), "resume") == Action("resume", allowed=False, detail="it would change nothing")


def test_what_is_held_can_be_released():
    """A pause by a resume, a hold by a release."""
    assert "release" in horizon.allowed_actions(held(in_stock()))
    assert "resume" not in horizon.allowed_actions(held(in_stock()))
    assert {"release", "resume"} <= {*horizon.allowed_actions(paused(in_stock()))}


def test_after_the_boundary_the_fulfillment_answers():
    """All but the contact, which stays with the order; instructions are fixed."""
    told = {each.name: each for each in horizon.actions(under_way())}
    assert [name for name, each in told.items() if each.answered_by == "order"] == [
        "updateContact", "updateInstructions", "resolveException", "skipException",
    ]  # fmt: skip
    assert told["updateInstructions"].cut_off == "FulfillmentRequested"
    assert (told["cancel"].until_step, told["cancel"].cut_off) == ("hand-over", "HandOverStarted")


def test_each_action_says_until_when():
    """The step with which it ends, and the fact that is its cut-off."""
    instructions = action(authorized(), "updateInstructions")
    assert (instructions.until_step, instructions.cut_off) == ("confirm", "FulfillmentRequested")
    assert action(confirmed(), "updateInstructions").cut_off == instructions.cut_off
    assert action(completed("SHIPPED"), "cancel").cut_off == action(placed(), "cancel").cut_off


@pytest.mark.parametrize(
    ("order", "cost"),
    [
        (placed(), None),
        (in_stock(), Cost(restock_items=2)),
        (authorizing(), Cost(payment="void", payment_minor=9800, currency="USD", restock_items=2)),
        (under_way(), Cost(payment="void", payment_minor=9800, currency="USD", restock_items=2)),
    ],
)
def test_a_cancel_says_what_it_costs(order: Order, cost: Cost | None):
    """What is reserved would be voided, what is held would be available again."""
    assert action(order, "cancel").cost == cost


def test_an_address_that_comes_late_may_cost_a_label():
    """Only once there may be one."""
    assert action(placed(), "updateAddress").cost is None
    assert action(under_way(), "updateAddress").cost == Cost(relabel=True)


def test_an_order_that_is_being_cancelled_says_why_nothing_else_is_possible():
    """A second cancel is: whoever asks has an answer."""
    assert horizon.allowed_actions(cancelling(in_stock())) == ["cancel"]
    assert action(cancelling(in_stock()), "hold").code is Code.CANCEL_IN_PROGRESS


@pytest.mark.parametrize("name", ["paid", "failed", "cancelled early", "cancelled late"])
def test_nothing_can_be_done_with_an_order_that_ended(name: str):
    """Cancelled already, a cancel would change nothing; everything else is refused."""
    assert horizon.allowed_actions(EVERY_STATE[name]()) == []
