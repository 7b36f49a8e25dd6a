"""One trace for the whole way of an order, and logs that say facts: both by an allow-list of fields."""

from collections.abc import Callable

from contracts.chassis.settings import LogSettings, TelemetrySettings
from contracts.chassis.telemetry.logs import about, configure_logs, describe
from contracts.chassis.telemetry.tracing import (
    TraceIdHeader,
    attached,
    configure_tracing,
    current_trace_id,
    current_traceparent,
    ensure_provider,
    linked_span,
    quiet,
    rest_telemetry,
    span,
    transaction_span,
)

__all__ = [
    "TraceIdHeader",
    "about",
    "attached",
    "configure",
    "current_trace_id",
    "current_traceparent",
    "describe",
    "ensure_provider",
    "linked_span",
    "quiet",
    "rest_telemetry",
    "span",
    "transaction_span",
]


def configure(service: str, role: str, settings: TelemetrySettings, logs: LogSettings) -> Callable[[], None]:
    """Spans and logs of this process go where the settings say; the function returned flushes and stops them.

    Must run before connections are opened: the SQL instrumentation sees only what is opened later."""
    configure_logs(service, role, logs)
    return configure_tracing(service, role, settings)
