"""The explanations on the real system: whatever is taken away is named, and the calls they offer work."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from deploy.local.stack import Stack
from tests.e2e.people import Json, Operator, Shop, eventually


@pytest.fixture
def shop(rough_stack: Stack) -> Shop:
    return Shop(rough_stack.url("order_service"))


@pytest.fixture
def operator(rough_stack: Stack) -> Operator:
    return Operator(rough_stack.url("fulfillment_service"))


def of_order(shop: Shop, order_id: str) -> Json:
    return shop.http.get(f"/orders/{order_id}/explain").raise_for_status().json()


def of_parcel(operator: Operator, order_id: str) -> Json:
    return operator.http.get(f"/fulfillments/{order_id}/explain").raise_for_status().json()


def kinds(told: Json) -> list[str]:
    return [wait["kind"] for wait in told["waitsFor"]]


def reason(told: Json, kind: str) -> Json:
    return next(wait for wait in told["waitsFor"] if wait["kind"] == kind)


@contextmanager
def without(stack: Stack, name: str) -> Generator[None]:
    """The process is stopped until the end."""
    stack[name].stop()
    try:
        yield
    finally:
        stack[name].start()


def follow(shop: Shop, operator: Operator, way: Json) -> httpx.Response:
    """The call that an explanation offers, sent as it is written."""
    call: Any = way["call"]
    door = shop.http if call["service"] == "order" else operator.http
    return door.request(call["method"], call["path"], json=call.get("body"))


def test_the_calls_that_are_offered_take_a_parcel_to_its_end(shop: Shop, operator: Operator):
    """Nothing but the explanations is read: held, worked on and handed over by what they say."""
    order_id = shop.place("manual")
    operator.comes_to(order_id, "pick:1")
    hold = {"reason": "QUALITY", "handle": "shelf-7", "note": "has a scratch"}
    operator.http.post(f"/fulfillments/{order_id}/holds", json=hold, headers={"X-Actor": "ada"})
    told = of_parcel(operator, order_id)
    assert sorted(kinds(told)) == ["HOLD", "OPERATOR"]
    assert 'the hold shelf-7 (QUALITY) by ada: "has a scratch"' in told["summary"]
    waits = eventually(lambda: of_order(shop, order_id), lambda seen: "shelf-7" in seen["summary"])
    assert kinds(waits) == ["FULFILLMENT"]

    def ended() -> bool:
        for way in of_parcel(operator, order_id)["unblock"]:
            if way.get("call") and not way["call"]["path"].endswith("/fail"):
                follow(shop, operator, way)
        return "has ended SHIPPED and waits for nothing" in of_parcel(operator, order_id)["summary"]

    eventually(ended, bool, within_seconds=60)
    shop.sees_end(order_id)
    eventually(lambda: of_order(shop, order_id), lambda seen: seen["waitsFor"] == [])


def test_a_worker_that_is_gone_is_missed(rough_stack: Stack, shop: Shop, operator: Operator):
    """As soon as there is something to do that nobody takes; it is over when the worker is back."""
    order_id = shop.place("manual")
    operator.comes_to(order_id, "pick:1")
    with without(rough_stack, "fulfillment-worker"):
        assert operator.pause(order_id).status_code == 200
        told = eventually(lambda: of_parcel(operator, order_id), lambda seen: "WORKER" in kinds(seen))
        assert "the queue fulfillment-processing" in reason(told, "WORKER")["what"]
        assert {"HOLD", "WORKER"} <= set(kinds(told))
    eventually(lambda: of_parcel(operator, order_id), lambda seen: "WORKER" not in kinds(seen))


def test_a_relay_that_is_gone_is_missed(rough_stack: Stack, shop: Shop, operator: Operator):
    """An order that nobody started says so, and a parcel that was never told of its pause too."""
    held = shop.place("manual")
    operator.comes_to(held, "pick:1")
    with without(rough_stack, "order-relay"):
        order_id = shop.place()
        assert kinds(of_order(shop, order_id)) == ["WORKFLOW"]
        assert "its workflow, which has not begun" in of_order(shop, order_id)["summary"]
    with without(rough_stack, "fulfillment-relay"):
        assert operator.pause(held).status_code == 200
        eventually(lambda: of_parcel(operator, held), lambda seen: "RELAY" in kinds(seen))
    eventually(lambda: of_parcel(operator, held), lambda seen: "RELAY" not in kinds(seen))
    assert shop.sees_end(order_id)["status"] == "SHIPPED"


def test_a_provider_that_is_away_is_named(rough_stack: Stack, shop: Shop):
    """With the attempt, the kind of failure and the time of the next try; no text of the failure."""
    with without(rough_stack, "sandbox"):
        order_id = shop.place()
        told = eventually(lambda: of_order(shop, order_id), lambda seen: "PROVIDER" in kinds(seen))
        found = reason(told, "PROVIDER")
        assert found["code"] == "UNAVAILABLE"
        assert "the payment provider: authorize is in attempt" in found["what"]
        tried = eventually(lambda: of_order(shop, order_id), lambda seen: bool(seen["next"].get("at")))
        assert tried["next"]["what"] == "authorize is tried again"
    assert shop.sees_end(order_id)["status"] == "SHIPPED"


@pytest.mark.parametrize(("engine", "kind"), [("temporal", "TEMPORAL"), ("kafka", "OUTBOX")])
def test_an_engine_that_is_away_is_named(rough_stack: Stack, shop: Shop, engine: str, kind: str):
    """The door answers all the same, and tells what stops and what only keeps others from seeing."""
    with without(rough_stack, engine):
        order_id = shop.place()
        told = eventually(lambda: of_order(shop, order_id), lambda seen: kind in kinds(seen))
        assert reason(told, kind)["stops"] is (kind == "TEMPORAL")
    assert shop.sees_end(order_id, within_seconds=60)["status"] == "SHIPPED"
    eventually(lambda: of_order(shop, order_id), lambda seen: seen["waitsFor"] == [])
