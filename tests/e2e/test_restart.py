"""The whole stack is stopped and started on its folder: every order goes on where it was."""

from dataclasses import dataclass

from deploy.local.stack import Stack
from tests.e2e.people import Engineer, Json, Operator, Shop


@dataclass
class Before:
    """What was true of an order when the stack went down."""

    facts: list[str]
    parcel_facts: list[str]
    parcel: Json


def test_orders_go_on_where_they_were_after_a_restart(rough_stack: Stack):
    """Moving, paused, manual, in trouble: none starts over, none is lost, and each comes to its end."""
    shop, operator = Shop(rough_stack.url("order_service")), Operator(rough_stack.url("fulfillment_service"))
    engineer = Engineer(rough_stack)

    held_before_it_existed, paused = shop.place(), shop.place(speed="normal")
    shop.pause(held_before_it_existed)
    shop.pause(paused)
    picking, leaving, refused = shop.place("manual"), shop.place("manual"), shop.place("label-refused")
    operator.works(leaving, "pick:1", "pick:2", "pick:3", "quality", "pack")
    operator.works(picking, "pick:1")
    operator.pause(picking)
    operator.comes_to(leaving, "hand-over")
    operator.sees(refused, status="EXCEPTION")
    for order in (held_before_it_existed, paused, picking):
        operator.sees(order, status="PAUSED")
    moving = shop.place(speed="normal")
    operator.sees(moving, currentStep="pick:2")

    orders = (held_before_it_existed, paused, picking, leaving, refused, moving)
    before = {
        order: Before(engineer.facts(order), engineer.parcel_facts(order), operator.parcel(order))
        for order in orders
    }
    rough_stack.stop()
    rough_stack.start()

    for order, was in before.items():
        assert engineer.facts(order)[: len(was.facts)] == was.facts
        assert engineer.parcel_facts(order)[: len(was.parcel_facts)] == was.parcel_facts
        if order != moving:
            now = operator.parcel(order)
            for what in ("status", "stage", "currentStep", "pausedFrom", "holds", "percent"):
                assert now.get(what) == was.parcel.get(what), (order, what)

    shop.resume(held_before_it_existed)
    shop.resume(paused)
    shop.readdress(refused)
    operator.completes(leaving, "hand-over")
    cancelled = shop.cancel(picking)
    for order in orders:
        ended = shop.sees_end(order, within_seconds=60)["status"]
        assert ended == ("CANCELLED" if order == picking else "SHIPPED")
        # The embedded broker has lost its records: what the view shows was published again.
        assert shop.sees_parcel(order, status=ended)["source"] == "kafka"
    assert shop.receipt(cancelled.json()["commandId"])["status"] == "EFFECTIVE"
    for order in (paused, leaving, moving):
        assert engineer.effects("payments", order) == ["authorize", "capture"]
        assert engineer.effects("carrier", order) == ["label", "hand-over"]
