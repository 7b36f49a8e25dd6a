"""What must be true of the spans of one order."""

from tests.e2e.people import Engineer, Json, eventually

EVERY_PART = {
    ("order-service", "api"),
    ("order-service", "relay"),
    ("order-service", "worker"),
    ("order-service", "consumer"),
    ("fulfillment-service", "relay"),
    ("fulfillment-service", "worker"),
    ("fulfillment-service", "consumer"),
}
"""Who has a part in an order that nobody touches on its way."""


def trace_of(spans: list[Json], order_id: str) -> list[Json]:
    """All spans of the trace in which the order was placed."""
    placed = {
        span["traceId"]
        for span in spans
        if span["role"] == "relay" and order_id in str(span["attributes"].get("order_id", ""))
    }
    return [span for span in spans if span["traceId"] in placed]


def parts(trace: list[Json]) -> set[tuple[str, str]]:
    """The services and roles that have a span in it."""
    return {(span["service"], span["role"]) for span in trace}


def roots(trace: list[Json]) -> list[tuple[str, str, str]]:
    """Who began it."""
    return [(span["service"], span["role"], span["kind"]) for span in trace if span["parentSpanId"] is None]


def loose_ends(trace: list[Json]) -> list[Json]:
    """Spans that hang on one that is not there."""
    known = {span["spanId"] for span in trace}
    return [span for span in trace if span["parentSpanId"] and span["parentSpanId"] not in known]


def whole_trace_of(engineer: Engineer, order_id: str) -> list[Json]:
    """The order's trace once every part has written its spans and none is loose."""
    return eventually(
        lambda: trace_of(engineer.spans(), order_id),
        lambda trace: parts(trace) >= EVERY_PART and not loose_ends(trace),
    )
