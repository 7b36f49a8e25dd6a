"""The whole way of one order is one trace."""

from tests.e2e.people import Engineer, Operator, Shop, eventually
from tests.e2e.traces import roots, whole_trace_of


def test_one_order_is_one_trace(shop: Shop, operator: Operator, engineer: Engineer):
    """From the REST call to both consumers: one id, one root, and no span that hangs on nothing."""
    order = shop.place()
    shop.sees_end(order)
    shop.sees_parcel(order, status="SHIPPED")
    eventually(lambda: operator.parcel(order)["order"]["paymentStatus"], lambda status: status == "CAPTURED")
    trace = whole_trace_of(engineer, order)
    assert roots(trace) == [("order-service", "api", "SERVER")]


def test_the_answer_names_the_trace(shop: Shop, engineer: Engineer):
    """The id in `Trace-Id` is the one to look for when something goes wrong."""
    answer = shop.http.post("/orders/demo", params={"speed": "instant"})
    order = answer.json()["orderId"]
    shop.sees_end(order)
    assert {span["traceId"] for span in whole_trace_of(engineer, order)} == {answer.headers["Trace-Id"]}
