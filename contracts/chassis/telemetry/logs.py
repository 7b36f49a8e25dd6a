"""Logs: facts with fields from a list; other people's exceptions appear as their type and our line of code.

A message of psycopg or pydantic quotes the values it failed on, so no foreign text is ever printed: a foreign
logger's message is its template, its numbers and the names of exception types.
"""

import logging
import re
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager
from typing import Any, cast

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from contracts.chassis.errors import TandemError
from contracts.chassis.settings import LogSettings
from contracts.chassis.telemetry.tracing import current_trace_id

FIELDS = frozenset(
    """
    event level timestamp logger service role trace_id order_id fulfillment_id command_id workflow_id
    event_id event_type stream version sequence step_key wish signal activity attempt attempts status code
    cause error at topic partition offset bucket group count lag_seconds seconds table position host port
    namespace task_queue key_id loop state method route reason minutes kind action rule
    dropped_fields
    """.split()  # noqa: SIM905
)
"""What a log line may carry; a field not listed is left out and named in `dropped_fields`.

A `reason` here is a word of ours, never the reason somebody gave for a wish."""

_OURS = ("contracts", "order_service", "fulfillment_service", "deploy", "__main__")
_LONGEST = 300
_REPEAT_SECONDS = 10.0
_REMEMBERED = 1000
_VALUE_BEGINS = re.compile(r"[(\[{<:'\"`\n]")


class _Handler(logging.Handler):
    """Writes to whatever stderr is now; its own class, so that configuring twice does not write twice."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


def configure_logs(service: str, role: str, settings: LogSettings) -> None:
    """structlog and the standard library's loggers write lines of one form to stderr."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_trace,
        _Identity(service, role),
        _with_error,
        _only_listed,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            *shared,
            ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = _Handler()
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[ProcessorFormatter.remove_processors_meta, _renderer(settings)],
            pass_foreign_args=True,
        )
    )
    handler.addFilter(_Foreign())
    root = logging.getLogger()
    root.handlers[:] = [handler, *(other for other in root.handlers if not isinstance(other, _Handler))]
    root.setLevel(logging.WARNING)
    # FastStream, when imported, gives its logger a handler that quotes exceptions, unless it finds one there.
    faststream = logging.getLogger("faststream")
    faststream.handlers[:] = [handler]
    faststream.propagate = False
    for ours in _OURS:
        logging.getLogger(ours).setLevel(settings.level)


def about(**fields: str | None) -> AbstractContextManager[Any]:
    """Inside, each log line carries these fields, such as `order_id`."""
    return structlog.contextvars.bound_contextvars(**{key: value for key, value in fields.items() if value})


def describe(error: BaseException) -> str:
    """`UniqueViolation at contracts.chassis.event_store:120`: constant for one fault, free of values."""
    place = _place(error)
    return f"{_named(error)} at {place}" if place else _named(error)


def _named(error: BaseException) -> str:
    """A type, with the code of an error of ours or of the ApplicationError it was translated to."""
    code = error.code if isinstance(error, TandemError) else getattr(error, "type", None)
    return f"{type(error).__name__}({code})" if isinstance(code, str) else type(error).__name__


def _place(error: BaseException) -> str | None:
    """The innermost line of our own code that the exception passed."""
    place = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith(_OURS):
            place = f"{module}:{line}"
    return place


class _Identity:
    def __init__(self, service: str, role: str) -> None:
        self._fields = {"service": service, "role": role}

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.update(self._fields)
        return event


def _with_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if trace_id := current_trace_id():
        event.setdefault("trace_id", trace_id)
    return event


def _with_error(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """`exc_info`, or an exception given as a field, becomes its type and place."""
    raised = event.pop("exc_info", None)
    given = event.get("error")
    error = given if isinstance(given, BaseException) else _exception(raised)
    if error is not None:
        event["error"] = _named(error)
        if error.__cause__ is not None:
            event["cause"] = _named(error.__cause__)
        if place := _place(error):
            event["at"] = place
    return event


def _exception(raised: Any) -> BaseException | None:
    if isinstance(raised, BaseException):
        return raised
    if isinstance(raised, tuple):
        return cast("BaseException | None", raised[1])
    return sys.exc_info()[1] if raised else None


def _only_listed(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    kept: MutableMapping[str, Any] = {
        key: value if key.startswith("_") else _plain(value)
        for key, value in event.items()
        if key in FIELDS or key.startswith("_")
    }
    if dropped := sorted(event.keys() - kept.keys() - {"stack_info", "positional_args"}):
        kept["dropped_fields"] = ",".join(dropped)
    return kept


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, BaseException):
        return _named(value)
    return str(value)[:_LONGEST]


class _Foreign(logging.Filter):
    """Other people's loggers: no values, and the same line at most every ten seconds.

    A template keeps its numbers and exception types; other text ends where a value may begin."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith(_OURS) or not isinstance(cast("object", record.msg), str):
            return True
        if isinstance(record.args, Mapping) and record.args:
            record.args = {key: _argument(value) for key, value in record.args.items()}
        elif record.args:
            record.args = tuple(_argument(value) for value in record.args)
        else:
            record.msg = _VALUE_BEGINS.split(record.msg, maxsplit=1)[0].rstrip()
        return self._is_new(f"{record.name} {record.msg}", record.created)

    def _is_new(self, line: str, now: float) -> bool:
        # aiokafka repeats itself three times a second for as long as a broker is away.
        if now - self._last.get(line, 0.0) < _REPEAT_SECONDS:
            return False
        if len(self._last) >= _REMEMBERED:
            self._last.clear()
        self._last[line] = now
        return True


def _argument(value: object) -> object:
    if isinstance(value, bool | int | float):
        return value
    return type(value).__name__ if isinstance(value, BaseException) else "…"


def _renderer(settings: LogSettings) -> Processor:
    if settings.format == "json":
        return structlog.processors.JSONRenderer()
    return _line


_HIDDEN = frozenset(("timestamp", "level", "event", "service", "role", "logger"))


def _line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """`12:00:01 INFO    order_service api  order placed  order_id=ORD-…`"""
    fields = " ".join(f"{key}={value}" for key, value in event.items() if key not in _HIDDEN)
    time = str(event["timestamp"])[11:19]
    who = f"{event['service']} {event['role']}"
    return f"{time} {str(event['level']).upper():<7} {who}  {event['event']}  {fields}".rstrip().replace(
        "\n", " "
    )
