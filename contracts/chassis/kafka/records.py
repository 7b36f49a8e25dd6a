"""A record as it came, whatever brought it: nothing of a broker's client is needed to handle one."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from opentelemetry.trace import Span, SpanKind

from contracts.chassis import telemetry


@dataclass(frozen=True, slots=True)
class IncomingRecord:
    topic: str
    partition: int
    offset: int
    key: bytes | None
    headers: Mapping[str, bytes]
    value: bytes


def incoming(record: Any) -> IncomingRecord:
    """The record as aiokafka gives it."""
    return IncomingRecord(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        headers=dict(record.headers),
        value=record.value or b"",
    )


@contextmanager
def record_span(record: IncomingRecord) -> Generator[Span]:
    """Inside, we are in the trace of the record's sender."""
    sender = record.headers.get("traceparent") or record.headers.get("ce_traceparent")
    with (
        telemetry.attached(sender.decode(errors="replace") if sender else None),
        telemetry.span(
            f"process {record.topic}",
            kind=SpanKind.CONSUMER,
            order_id=record.key.decode(errors="replace") if record.key else None,
            partition=record.partition,
            offset=record.offset,
        ) as span,
    ):
        yield span
