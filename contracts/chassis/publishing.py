"""How a stored fact becomes the one record that tells the world of it."""

from dataclasses import dataclass
from typing import Any

from contracts.chassis.event_store import Recorded
from contracts.chassis.kafka.buckets import bucket_of
from contracts.chassis.outbox import OutboxRecord
from contracts.envelope import Event, to_record
from contracts.order import event_type
from contracts.values import Message


@dataclass(frozen=True, slots=True)
class Publication:
    """Where a service tells its events, and by what names."""

    topic: str
    source: str
    type_prefix: str

    def record(self, recorded: Recorded[Any], order_id: str, data: Message) -> OutboxRecord:
        """The CloudEvent of this fact, keyed by its order."""
        event = Event(
            id=recorded.event_id,
            type=event_type(type(recorded.fact).__name__, self.type_prefix),
            source=self.source,
            subject=recorded.stream,
            time=recorded.recorded_at,
            sequence=recorded.version,
            correlation_id=order_id,
            causation_id=recorded.causation_id,
            traceparent=recorded.traceparent,
            data=data.model_dump(mode="json", exclude_none=True),
        )
        message = to_record(event)
        return OutboxRecord(
            bucket=bucket_of(order_id),
            key=order_id,
            topic=self.topic,
            headers={name: value.decode() for name, value in message.headers.items()},
            body=message.value,
        )
