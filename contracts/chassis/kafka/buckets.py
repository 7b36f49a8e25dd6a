"""Which bucket, and with it which partition, an order's records go to."""

# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false

from functools import lru_cache

from aiokafka.partitioner import murmur2

from contracts.chassis.leases import BUCKETS


@lru_cache(10_000)
def bucket_of(order_id: str) -> int:
    """The order's bucket, as Kafka's own partitioner would choose among 16 partitions."""
    return (murmur2(order_id.encode()) & 0x7FFFFFFF) % BUCKETS
