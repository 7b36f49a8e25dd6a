"""The whole pair over a real Apache Kafka: an order ships, both views hear of it, and it is one trace."""

from collections.abc import Iterator

import pytest

from deploy.local.stack import Stack
from tests.e2e.people import Engineer, Operator, Shop
from tests.e2e.traces import roots, whole_trace_of


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = {"TANDEM_TELEMETRY_EXPORTER": "file"}
    with Stack(tmp_path_factory.mktemp("pair"), kafka="apache", settings=settings) as stack:
        yield stack


def test_an_order_ships_over_apache_kafka_in_one_trace(stack: Stack):
    """From the REST call to both consumers every span belongs to the trace of the order's creation."""
    shop, operator = Shop(stack.url("order_service")), Operator(stack.url("fulfillment_service"))
    engineer = Engineer(stack)
    order = shop.place()
    assert shop.sees_end(order)["status"] == "SHIPPED"
    shop.sees_parcel(order, status="SHIPPED")
    operator.sees_order(order, payment="CAPTURED")
    trace = whole_trace_of(engineer, order)
    assert roots(trace) == [("order-service", "api", "SERVER")]
