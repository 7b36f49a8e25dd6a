"""What reaches a log or a span file, and what never does."""

import contextlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from opentelemetry.trace import SpanKind

from contracts.chassis import telemetry
from contracts.chassis.errors import Refused
from contracts.chassis.settings import LogSettings, TelemetrySettings
from contracts.chassis.telemetry.logs import configure_logs
from contracts.chassis.telemetry.tracing import configure_tracing

PERSON = "Anna Secret, Main Street 1"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


Lines = Callable[[], list[dict[str, object]]]


def spans_in(path: Path) -> dict[str, dict[str, object]]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {row["name"]: row for row in rows}


def to_file(path: Path) -> TelemetrySettings:
    return TelemetrySettings(exporter="file", file=path, sql="none", http=False)


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    configure_logs("order_service", "api", LogSettings(format="json"))

    def read() -> list[dict[str, object]]:
        # asyncio may say something about a test that ran before.
        told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        return [line for line in told if line["logger"] != "asyncio"]

    return read


def test_a_field_that_is_not_listed_is_named_but_not_logged(lines: Lines):
    """The log says which field was left out, and keeps its value to itself."""
    structlog.get_logger("order_service.rest").info("order placed", count=1, customer=PERSON)
    (line,) = lines()
    assert line["count"] == 1
    assert line["dropped_fields"] == "customer"
    assert PERSON not in json.dumps(line)


def test_a_foreign_exception_appears_as_type_and_place(lines: Lines):
    """An exception's text may quote what a customer typed, so only its type and our line are logged."""
    try:
        int(PERSON)
    except ValueError as error:
        structlog.get_logger("contracts.chassis.inbox").exception("record set aside")
        logging.getLogger("aiokafka").error("failed %s for %d: %s", PERSON, 3, error)
        logging.getLogger("faststream").error(f"ValueError: {error}", exc_info=error)
    found = lines()
    assert len(found) == 3, found
    ours, template, text = found
    assert ours["error"] == "ValueError"
    assert template["event"] == "failed … for 3: ValueError"
    assert text["event"] == "ValueError"
    assert PERSON not in json.dumps([ours, template, text])


def test_a_library_that_repeats_itself_is_heard_once(lines: Lines):
    """A broker that is away does not fill the log."""
    for _ in range(50):
        logging.getLogger("aiokafka").error("Unable connect to node with id %s", 1)
    assert len(lines()) == 1


def test_a_log_line_knows_its_order_and_its_trace(lines: Lines):
    """What is bound around a piece of work is on each of its lines."""
    with telemetry.attached(TRACE), telemetry.about(order_id="ORD-1"):
        structlog.get_logger("order_service.intake").info("order placed")
    (line,) = lines()
    assert line["order_id"] == "ORD-1"
    assert line["trace_id"] == TRACE.split("-")[1]


def test_a_fault_is_described_by_constants():
    """The description of one fault never changes with the values that caused it."""
    assert telemetry.describe(Refused(f"not for {PERSON}")) == "Refused(NOT_ALLOWED_NOW)"


def test_only_listed_attributes_reach_the_file(tmp_path: Path):
    """Spans lose unlisted attributes, queries of addresses, exception texts and status texts."""
    stop = configure_tracing("order_service", "api", to_file(tmp_path / "spans.jsonl"))
    with contextlib.suppress(ValueError), telemetry.span("charge", attempt=1, customer=PERSON) as span:
        span.set_attribute("url.full", f"http://u:p@h/x?name={PERSON}")
        raise ValueError(PERSON)
    stop()
    row = spans_in(tmp_path / "spans.jsonl")["charge"]
    assert row["attributes"] == {"attempt": 1, "url.full": "http://h/x", "error.type": "ValueError"}
    assert row["status"] == "ERROR"
    assert PERSON not in json.dumps(row)


def test_a_stored_context_continues_its_trace(tmp_path: Path):
    """A row's traceparent puts later work under the span that wrote it."""
    stop = configure_tracing("order_service", "relay", to_file(tmp_path / "spans.jsonl"))
    with telemetry.attached(TRACE), telemetry.span("send"):
        assert (telemetry.current_traceparent() or "").startswith(TRACE[:35])
    with telemetry.attached(None):
        assert telemetry.current_traceparent() is None
    stop()
    row = spans_in(tmp_path / "spans.jsonl")["send"]
    assert (row["traceId"], row["parentSpanId"]) == tuple(TRACE.split("-")[1:3])


def test_a_wish_points_at_the_trace_of_its_order(tmp_path: Path):
    """A linked span stays in its own trace and names the other."""
    stop = configure_tracing("order_service", "api", to_file(tmp_path / "spans.jsonl"))
    with telemetry.linked_span("pause", TRACE, None, "nonsense"):
        pass
    stop()
    row = spans_in(tmp_path / "spans.jsonl")["pause"]
    assert row["links"] == ["-".join(TRACE.split("-")[1:3])]
    assert row["traceId"] != TRACE.split("-")[1]


def test_a_call_out_of_nowhere_is_nobodys_trace(tmp_path: Path):
    """SQL of an idle loop has no parent span and leaves no row."""
    stop = configure_tracing("order_service", "relay", to_file(tmp_path / "spans.jsonl"))
    with telemetry.span("select", kind=SpanKind.CLIENT), telemetry.span("inner"):
        pass
    stop()
    assert (tmp_path / "spans.jsonl").read_text() == ""


@pytest.mark.parametrize(
    "hostile", ["", "x", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "\ud800", "a" * 100_000]
)
def test_a_broken_traceparent_is_no_trace(hostile: str):
    """Whatever a caller sends as trace context, work goes on without one."""
    with telemetry.attached(hostile):
        assert telemetry.current_traceparent() is None


def test_without_an_exporter_ids_still_travel():
    """A trace can be followed through logs and rows also where no span is stored."""
    configure_tracing("order_service", "api", TelemetrySettings())
    with telemetry.span("POST /orders"):
        outer = telemetry.current_trace_id()
        with telemetry.attached(telemetry.current_traceparent()), telemetry.span("relay"):
            assert telemetry.current_trace_id() == outer
