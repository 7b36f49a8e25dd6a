"""Kafka by one policy: nothing is lost, an order's records stay in order, and a failure waits, not passes."""

from contracts.chassis.kafka.connection import BUCKETS, bucket_of, cluster_id, ensure_topics
from contracts.chassis.kafka.consumer import Consumer, Handler, IncomingRecord, record_span
from contracts.chassis.kafka.publisher import OutgoingRecord, Publisher

__all__ = [
    "BUCKETS",
    "Consumer",
    "Handler",
    "IncomingRecord",
    "OutgoingRecord",
    "Publisher",
    "bucket_of",
    "cluster_id",
    "ensure_topics",
    "record_span",
]
