"""The whole way of one order is one trace."""

from tests.e2e.people import Engineer, Json, Operator, Shop, eventually
from tests.e2e.traces import loose_ends, roots, whole_trace_of

WAY = {
    ("order-service", "api", "POST /orders/demo"),
    ("order-service", "relay", "signal-with-start processOrderWorkflow"),
    ("order-service", "worker", "hold_stock"),
    ("order-service", "worker", "authorize"),
    ("order-service", "worker", "confirm"),
    ("order-service", "worker", "startFulfillmentWorkflow"),
    ("order-service", "worker", "signal-with-start fulfillmentWorkflow"),
    ("fulfillment-service", "worker", "accept"),
    ("fulfillment-service", "worker", "work"),
    ("fulfillment-service", "worker", "book_label"),
    ("fulfillment-service", "worker", "hand_over"),
    ("fulfillment-service", "worker", "signalOrderWorkflow"),
    ("fulfillment-service", "worker", "signal fulfillmentCompleted"),
    ("order-service", "worker", "record_outcome"),
    ("order-service", "worker", "capture"),
    ("order-service", "relay", "send orders.events.v1"),
    ("fulfillment-service", "relay", "send fulfillments.events.v1"),
    ("fulfillment-service", "consumer", "process orders.events.v1"),
    ("order-service", "consumer", "process fulfillments.events.v1"),
}
"""Every stop of an order's way: service, role, span."""


def test_one_order_is_one_trace(shop: Shop, operator: Operator, engineer: Engineer):
    """From the REST call to both consumers: one id, one root, and no span that hangs on nothing."""
    order = shop.place()
    shop.sees_end(order)
    shop.sees_parcel(order, status="SHIPPED")
    operator.sees_order(order, payment="CAPTURED")
    trace = whole_trace_of(engineer, order)
    assert roots(trace) == [("order-service", "api", "SERVER")]


def test_every_stop_is_in_the_trace_that_the_answer_names(shop: Shop, engineer: Engineer):
    """The id in `Trace-Id` leads to each step of the way and to each event that a consumer took in."""
    answer = shop.http.post("/orders/demo", params={"speed": "instant"})
    order, trace_id = answer.json()["orderId"], answer.headers["Trace-Id"]
    shop.sees_end(order)
    shop.sees_parcel(order, status="SHIPPED")
    facts = len(engineer.facts(order)) + len(engineer.parcel_facts(order))

    def exported() -> list[Json]:
        return [span for span in engineer.spans() if span["traceId"] == trace_id]

    def complete(found: list[Json]) -> bool:
        """Each process exports once a second, a child maybe before its parent."""
        return _stops(found) >= WAY and len(_processed(found)) == facts and not loose_ends(found)

    spans = eventually(exported, complete)
    assert roots(spans) == [("order-service", "api", "SERVER")]
    assert {span["status"] for span in spans} == {"UNSET"}
    assert {span["attributes"].get("order_id") for span in _processed(spans)} == {order}


def test_a_later_wish_is_a_trace_of_its_own(shop: Shop, engineer: Engineer):
    """Placing and cancelling are two traces, and no third one speaks of the order."""
    placed = shop.http.post("/orders/demo", params={"scenario": "manual"})
    order = placed.json()["orderId"]
    shop.sees_parcel(order, stage="PICKING")
    cancelled = shop.cancel(order)
    shop.sees_end(order)
    traces = {placed.headers["Trace-Id"], cancelled.headers["Trace-Id"]}
    assert len(traces) == 2

    def mentions() -> list[Json]:
        return [span for span in engineer.spans() if order in str(span["attributes"])]

    def complete(found: list[Json]) -> bool:
        return any(span["attributes"].get("event_type", "").endswith("order-cancelled.v1") for span in found)

    assert {span["traceId"] for span in eventually(mentions, complete)} == traces


def _stops(spans: list[Json]) -> set[tuple[str, str, str]]:
    return {(span["service"], span["role"], span["name"]) for span in spans}


def _processed(spans: list[Json]) -> list[Json]:
    """Events that a consumer took in."""
    return [span for span in spans if span["name"].startswith("process ")]
