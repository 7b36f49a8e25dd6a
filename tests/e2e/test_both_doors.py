"""Wishes that come through both doors at once, more than once, or while those who grant them die."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from contracts import fulfillment
from contracts import order as contract
from contracts.envelope import FINAL
from deploy.local.stack import Stack
from tests.e2e.people import Engineer, Json, Operator, Shop, address, eventually

PACKED = ("pick:1", "pick:2", "pick:3", "quality", "pack")


def at_once(*wishes: Callable[[], httpx.Response]) -> list[httpx.Response]:
    """The answers to wishes that were sent at the same moment."""
    with ThreadPoolExecutor(len(wishes)) as people:
        return [each.result() for each in [people.submit(wish) for wish in wishes]]


def ready_to_ship(shop: Shop, operator: Operator, count: int = 1) -> list[str]:
    """So many orders whose parcels only the carrier has to fetch."""
    orders = [shop.place("manual") for _ in range(count)]
    for order in orders:
        operator.works(order, *PACKED)
        operator.comes_to(order, "hand-over")
    return orders


def final(http: httpx.Client, command_id: str) -> Json:
    """The receipt that this service keeps of a wish, once nothing can change it any more."""

    def ask() -> Json:
        return http.get(f"/commands/{command_id}", headers={"Prefer": "wait=10"}).json()

    return eventually(ask, lambda receipt: receipt["status"] in FINAL, within_seconds=60)


def labelled(engineer: Engineer, order: str) -> list[str]:
    """The zip codes of the order's labels, oldest first."""
    return [row["zipCode"] for row in engineer.ledger("carrier", order) if row["operation"] == "label"]


def test_a_cancel_and_a_hand_over_at_the_same_moment(shop: Shop, operator: Operator, engineer: Engineer):
    """One of them wins, each has a final receipt that says so, and money and stock follow the winner."""
    for order in ready_to_ship(shop, operator, 4):
        cancel, hand_over = at_once(
            lambda order=order: shop.cancel(order), lambda order=order: operator.completes(order, "hand-over")
        )
        end = shop.sees_end(order)["status"]
        receipt = final(shop.http, cancel.json()["commandId"])
        if end == "CANCELLED":
            assert receipt["status"] == "EFFECTIVE"
            assert hand_over.status_code == 409
            assert engineer.effects("carrier", order) == ["label", "void-label"]
            assert engineer.effects("payments", order) == ["authorize", "void"]
            assert engineer.stock_states(order) == {"RELEASED"}
        else:
            assert (receipt["status"], receipt["cutOff"]) == ("REJECTED", "HandOverStarted")
            assert receipt["code"] in ("HAND_OVER_IN_PROGRESS", "ALREADY_ENDED")
            assert final(operator.http, hand_over.json()["commandId"])["status"] == "EFFECTIVE"
            assert engineer.effects("carrier", order) == ["label", "hand-over"]
            assert engineer.effects("payments", order) == ["authorize", "capture"]
            assert engineer.stock_states(order) == {"SHIPPED"}


def test_two_addresses_at_the_same_moment(shop: Shop, operator: Operator, engineer: Engineer):
    """The label carries the one that was accepted last, and no wish is left without an answer."""
    [order] = ready_to_ship(shop, operator)
    of_shop, of_operator = at_once(
        lambda: shop.readdress(order, zip_code="11111"),
        lambda: operator.http.patch(
            f"/fulfillments/{order}/shipping-address", json=address("2 Dock Road", "22222")
        ),
    )
    receipts = {
        "11111": final(operator.http, of_shop.json()["commandId"]),
        "22222": final(operator.http, of_operator.json()["commandId"]),
    }
    assert {receipt["status"] for receipt in receipts.values()} <= {"EFFECTIVE", "SUPERSEDED"}
    assert final(shop.http, of_shop.json()["commandId"])["status"] == receipts["11111"]["status"]
    last = max(receipts, key=lambda zip_code: receipts[zip_code]["firstVersion"])
    assert receipts[last]["status"] == "EFFECTIVE"
    operator.sees(order, addressVersion=3)
    operator.works(order, "hand-over")
    assert shop.sees_end(order)["status"] == "SHIPPED"
    assert labelled(engineer, order)[-1] == last


def test_holds_of_both_doors_stand_beside_each_other(shop: Shop, operator: Operator):
    """Each is lifted by its own handle, at either door; with the last one gone the very step goes on."""
    order = shop.place("manual")
    operator.works(order, "pick:1")
    operator.comes_to(order, "pick:2")

    def hold(http: httpx.Client, path: str, handle: str) -> httpx.Response:
        return http.post(f"{path}/{order}/holds", json={"reason": "QUALITY", "handle": handle})

    of_shop, of_operator = at_once(
        lambda: hold(shop.http, "/orders", "shop"), lambda: hold(operator.http, "/fulfillments", "dock")
    )
    # pick:2 was in hand when the holds came: it may end, and only then they have their effect.
    assert of_operator.json()["status"] == "ACCEPTED"
    operator.sees(order, status="PAUSED")
    operator.works(order, "pick:2")
    assert final(operator.http, of_operator.json()["commandId"])["status"] == "EFFECTIVE"
    assert final(shop.http, of_shop.json()["commandId"])["status"] == "EFFECTIVE"
    assert {hold["handle"] for hold in operator.parcel(order)["holds"]} == {"shop", "dock"}

    lifted = operator.http.delete(f"/fulfillments/{order}/holds", params={"handle": "shop"})
    assert lifted.json()["status"] == "EFFECTIVE"
    assert operator.parcel(order)["status"] == "PAUSED"
    released = shop.http.delete(f"/orders/{order}/holds", params={"handle": "dock"})
    assert final(shop.http, released.json()["commandId"])["status"] == "EFFECTIVE"
    operator.comes_to(order, "pick:3")


def test_the_receipt_of_a_cancel_shows_what_the_fulfillment_said(shop: Shop, operator: Operator):
    """Every hop with its time: asked, passed on, answered by the other service, settled; and by whom."""
    [order] = ready_to_ship(shop, operator)
    headers = {"Prefer": "wait=30", "X-Actor": "ada"}
    answer = shop.http.request("DELETE", f"/orders/{order}", json={"reason": "too late"}, headers=headers)
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (200, "wait=30")
    receipt = final(shop.http, answer.json()["commandId"])
    assert [step["status"] for step in receipt["walk"]] == ["RECEIVED", "ACCEPTED", "EFFECTIVE"]
    facts = [fact["type"] for fact in receipt["facts"]]
    assert facts[:2] == ["CancelRequested", "FulfillmentInstructed"]
    assert facts[-1] == "OrderCancelled"
    assert receipt["fulfillment"]["status"] in ("ACCEPTED", "EFFECTIVE")
    theirs = final(operator.http, receipt["commandId"])
    assert (theirs["status"], theirs["stream"]) == ("EFFECTIVE", f"fulfillment-{order}-1")
    assert theirs["actor"] == "ada"
    told = operator.http.get(f"/fulfillments/{order}/timeline").json()["timeline"]
    by_ada = [fact["type"] for fact in told if (fact["service"], fact["actor"]) == ("fulfillment", "ada")]
    assert by_ada == ["CancelRequested"]

    gone = ready_to_ship(shop, operator)[0]
    operator.works(gone, "hand-over")
    operator.sees(gone, status="SHIPPED")
    late = shop.http.request(
        "DELETE", f"/orders/{gone}", json={"reason": "too late"}, headers={"Prefer": "wait=30"}
    )
    assert late.json().get("cutOff") == "HandOverStarted", late.text


def test_the_same_key_at_the_same_moment_is_one_wish(shop: Shop, operator: Operator, engineer: Engineer):
    """Four requests, one command: one fact here, one there, one receipt; with another body it is refused."""
    order = shop.place("manual")
    operator.comes_to(order, "pick:1")

    def hold(http: httpx.Client, path: str, reason: str = "INVENTORY") -> httpx.Response:
        return http.post(f"{path}/holds", json={"reason": reason}, headers={"Idempotency-Key": "count-7"})

    streams = {"orders": contract.stream(order), "fulfillments": fulfillment.stream(f"{order}-1")}
    for http, path in ((shop.http, f"/orders/{order}"), (operator.http, f"/fulfillments/{order}-1")):
        answers = at_once(*[lambda http=http, path=path: hold(http, path)] * 4)
        assert len({answer.json()["commandId"] for answer in answers}) == 1
        assert [answer.headers.get("Idempotent-Replayed") for answer in answers].count("true") == 3
        other = hold(http, path, "QUALITY")
        assert (other.status_code, other.json()["code"]) == (422, "KEY_REUSED")
    # One hold for each door: the key belongs to the path.
    operator.sees(order, status="PAUSED")
    eventually(lambda: operator.parcel(order)["holds"], lambda holds: len(holds) == 2)
    assert engineer.parcel_facts(order).count("HoldPlaced") == 2
    assert engineer.facts(order).count("FulfillmentInstructed") == 1
    counted = {
        name: engineer.rows(name, "select count(*) from receipts where stream = %s", stream)[0]["count"]
        for name, stream in streams.items()
    }
    assert counted == {"orders": 2, "fulfillments": 2}
    operator.http.delete(f"/fulfillments/{order}/holds")


@pytest.mark.timeout(180)
def test_a_cancel_whose_workers_die_after_it_was_accepted_takes_effect_once(rough_stack: Stack):
    """The providers are away, so it is accepted and cannot be done yet; both workers die; it is done once."""
    shop = Shop(rough_stack.url("order_service"))
    operator, engineer = Operator(rough_stack.url("fulfillment_service")), Engineer(rough_stack)
    [order] = ready_to_ship(shop, operator)
    sandbox = rough_stack["sandbox"]
    sandbox.stop()
    command_id = shop.cancel(order).json()["commandId"]

    def receipt() -> dict[str, Any]:
        return shop.receipt(command_id)

    accepted = eventually(receipt, lambda seen: seen["status"] != "RECEIVED")
    assert accepted["status"] == "ACCEPTED"
    workers = [rough_stack[name] for name in ("order-worker", "fulfillment-worker")]
    for worker in workers:
        worker.kill()
    sandbox.start()
    for worker in workers:
        worker.wait_ready()

    ours = eventually(receipt, lambda seen: seen["status"] in FINAL, within_seconds=120)
    assert [step["status"] for step in ours["walk"]] == ["RECEIVED", "ACCEPTED", "EFFECTIVE"]
    assert ours["walk"][:2] == accepted["walk"]
    assert final(operator.http, command_id)["status"] == "EFFECTIVE"
    assert shop.sees_end(order)["status"] == "CANCELLED"
    assert engineer.facts(order).count("CancelRequested") == 1
    assert engineer.parcel_facts(order).count("CancelRequested") == 1
    assert engineer.effects("payments", order) == ["authorize", "void"]
    assert engineer.effects("carrier", order) == ["label", "void-label"]
    assert engineer.stock_states(order) == {"RELEASED"}
