"""Spans: made everywhere, stored only where an exporter is set, stripped of everything not on a list.

Trace ids always travel (REST span, stored row, relay, Temporal, SQL, Kafka headers), also when nothing is
exported: then a span costs a refusal by the sampler, 10 us against 16 us for
one that is recorded (2 shared cores).
"""

import json
import os
import sys
from collections.abc import Callable, Generator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.utils import is_instrumentation_enabled, suppress_instrumentation
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler, SamplingResult
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contracts.chassis.settings import TelemetrySettings

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig  # the relays and workers load no web framework

ATTRIBUTES = frozenset(
    """
    http.request.method http.response.status_code http.route server.address server.port url.full
    db.system.name db.namespace db.query.text db.operation.name db.response.status_code error.type
    messaging.system messaging.operation.type messaging.destination.name messaging.destination.partition.id
    messaging.kafka.offset messaging.message.id messaging.batch.message_count messaging.consumer.group.name
    temporalWorkflowID temporalRunID temporalActivityID workflow_id workflow_type activity signal attempt
    order_id fulfillment_id command_id event_id event_type stream version sequence step_key wish status code
    consumer bucket topic partition offset count
    """.split()  # noqa: SIM905
)
"""What a span may carry. A path, a query, a parameter, a header or an exception's text may name a person."""

_PROPAGATOR = TraceContextTextMapPropagator()
_TRACER = "tandem"
_WITHOUT_TEMPORAL = ("api", "consumer", "migrate")


class _Switch(Sampler):
    """Records once an exporter is there, and then what the caller records.

    An outgoing call without a parent (SQL of a loop, a start by hand) is no part of any trace: dropped."""

    recording = False
    sql = True
    """Transactions are spans."""

    def should_sample(  # noqa: PLR0917
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        parent = trace.get_current_span(parent_context).get_span_context()
        wanted = parent.trace_flags.sampled if parent.is_valid else kind != SpanKind.CLIENT
        sampler = ALWAYS_ON if self.recording and wanted else ALWAYS_OFF
        return sampler.should_sample(parent_context, trace_id, name, kind, attributes, links)

    def get_description(self) -> str:
        return "tandem"


_switch = _Switch()


def configure_tracing(
    service: str, role: str, settings: TelemetrySettings, *, exporter: SpanExporter | None = None
) -> Callable[[], None]:
    """This process makes spans; the function returned exports what is left and stops recording.

    OpenTelemetry takes one provider per process, so a second call (tests) keeps the first one's resource."""
    ensure_provider(service, role)
    target = exporter or _exporter(settings)
    if target is None:
        return lambda: None
    _instrument(settings)
    return _record(_Stripped(target), settings)


def ensure_provider(service: str = "tandem", role: str = "") -> None:
    """OpenTelemetry has our provider, which records nothing until an exporter is there."""
    if hasattr(trace.get_tracer_provider(), "add_span_processor"):
        return
    # The instrumentations still default to names from before the stable conventions.
    os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http,database")
    propagate.set_global_textmap(_PROPAGATOR)  # no baggage: a caller's words would travel into histories
    resource = Resource({"service.name": service, "service.namespace": "tandem", "tandem.role": role})
    trace.set_tracer_provider(_provider(resource, role))


def _provider(resource: Resource, role: str) -> trace.TracerProvider:
    """Workflows need span ids that repeat on replay; the provider for them is 20 MB that others can spare."""
    if role in _WITHOUT_TEMPORAL and "temporalio.worker" not in sys.modules:
        return TracerProvider(sampler=_switch, resource=resource)
    from temporalio.contrib.opentelemetry import create_tracer_provider  # noqa: PLC0415

    return create_tracer_provider(sampler=_switch, resource=resource)


def _exporter(settings: TelemetrySettings) -> SpanExporter | None:
    match settings.exporter:
        case "none":
            return None
        case "file":
            return FileExporter(settings.file)
        case "otlp":
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

            return OTLPSpanExporter()


def _instrument(settings: TelemetrySettings) -> None:
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor  # noqa: PLC0415
    from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor  # noqa: PLC0415

    # For good: taking it back makes `connect` of psycopg's subclasses return the base class.
    _switch.sql = settings.sql != "none"
    wanted = {PsycopgInstrumentor: settings.sql == "statement", HTTPXClientInstrumentor: settings.http}
    for instrumentor in (kind() for kind, is_wanted in wanted.items() if is_wanted):
        if not instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.instrument(skip_dep_check=True)


def _record(exporter: SpanExporter, settings: TelemetrySettings) -> Callable[[], None]:
    processor = BatchSpanProcessor(
        exporter,
        max_queue_size=16_384,
        max_export_batch_size=1024,
        schedule_delay_millis=settings.export_delay_seconds * 1000,
    )
    cast("TracerProvider", trace.get_tracer_provider()).add_span_processor(processor)
    _switch.recording = True

    def stop() -> None:
        _switch.recording = False
        processor.shutdown()

    return stop


class _Stripped(SpanExporter):
    """Gives another exporter only what the list allows: no free text, no exception messages."""

    def __init__(self, target: SpanExporter) -> None:
        self._target = target

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._target.export([_stripped(span) for span in spans])

    def shutdown(self) -> None:
        self._target.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._target.force_flush(timeout_millis)


def _stripped(span: ReadableSpan) -> ReadableSpan:
    attributes = {key: value for key, value in (span.attributes or {}).items() if key in ATTRIBUTES}
    if "url.full" in attributes:
        attributes["url.full"] = _without_query(str(attributes["url.full"]))
    for event in span.events:
        attributes.setdefault("error.type", str((event.attributes or {}).get("exception.type", event.name)))
    return ReadableSpan(
        name=span.name,
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes=attributes,
        links=[Link(link.context) for link in span.links],
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _without_query(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class FileExporter(SpanExporter):
    """Appends one JSON line a span.

    One write for each batch on a file opened to append, so processes that share it do not mix their lines and
    a killed process leaves at most one broken line."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        lines = "".join(json.dumps(_row(span), separators=(",", ":")) + "\n" for span in spans)
        os.write(self._file, lines.encode())
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        os.close(self._file)


def _row(span: ReadableSpan) -> dict[str, Any]:
    context = cast("SpanContext", span.get_span_context())
    return {
        "traceId": f"{context.trace_id:032x}",
        "spanId": f"{context.span_id:016x}",
        "parentSpanId": f"{span.parent.span_id:016x}" if span.parent else None,
        "name": span.name,
        "kind": span.kind.name,
        "service": span.resource.attributes.get("service.name"),
        "role": span.resource.attributes.get("tandem.role"),
        "startNs": span.start_time,
        "endNs": span.end_time,
        "status": span.status.status_code.name,
        "attributes": dict(span.attributes or {}),
        "links": [f"{link.context.trace_id:032x}-{link.context.span_id:016x}" for link in span.links],
    }


def current_traceparent() -> str | None:
    """The W3C `traceparent` of the current span: what a stored row keeps of it."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


def current_trace_id() -> str | None:
    """32 hex digits, as shown to people; None outside of any span."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None


@contextmanager
def attached(traceparent: str | None) -> Generator[None]:
    """Inside, we are in the trace the row was written in; without one, in none (and `quiet` is lifted)."""
    token = otel_context.attach(_context_of(traceparent))
    try:
        yield
    finally:
        otel_context.detach(token)


@contextmanager
def span(
    name: str, *, kind: SpanKind = SpanKind.INTERNAL, links: Sequence[Link] = (), **attributes: Any
) -> Generator[Span]:
    """A span of ours; an exception that passes marks it by its type, never by its text."""
    tracer = trace.get_tracer(_TRACER)
    with tracer.start_as_current_span(
        name,
        kind=kind,
        links=links,
        attributes={key: value for key, value in attributes.items() if value is not None},
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield current
        except Exception as error:
            current.set_attribute("error.type", type(error).__name__)
            current.set_status(trace.StatusCode.ERROR)
            raise


def transaction_span() -> AbstractContextManager[Any]:
    """A span for a transaction, where it is part of a trace that is recorded and not `quiet`."""
    is_traced = _switch.sql and trace.get_current_span().get_span_context().trace_flags.sampled
    if not is_traced or not is_instrumentation_enabled():
        return nullcontext()
    attributes: dict[str, Any] = {"db.system.name": "postgresql"}
    return span("transaction", kind=SpanKind.CLIENT, **attributes)


def linked_span(name: str, *traceparents: str | None, **attributes: Any) -> AbstractContextManager[Span]:
    """A span in the current trace that points at others, as a later wish and its order do."""
    links = [Link(context) for context in map(_span_context, traceparents) if context.is_valid]
    return span(name, links=links, **attributes)


def quiet() -> AbstractContextManager[None]:
    """Inside, SQL and HTTP calls make no spans: for loops that find nothing to do."""
    return suppress_instrumentation()


# Nobody can change a context, and all that is done for an order is done in one trace.
@lru_cache(1_000)
def _context_of(traceparent: str | None) -> Context:
    return _PROPAGATOR.extract({"traceparent": traceparent} if traceparent else {}, Context())


def _span_context(traceparent: str | None) -> SpanContext:
    return trace.get_current_span(_context_of(traceparent)).get_span_context()


def rest_telemetry() -> "TelemetryConfig":
    """For `FastAPI(telemetry=...)`: one span a request, none for probes, no metrics and no log records."""
    return {
        "tracing": True,
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "auto_configure": False,
        "exclude": _is_probe,
    }


def _is_probe(scope: MutableMapping[str, Any]) -> bool:
    path = scope.get("path", "")
    return path == "/metrics" or path.startswith("/health/")


class TraceIdHeader:
    """ASGI middleware: each answer says its trace id, for the line somebody sends to support."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start" and (trace_id := current_trace_id()):
                MutableHeaders(scope=message)["Trace-Id"] = trace_id
            await send(message)

        await self._app(scope, receive, sent if scope["type"] == "http" else send)
