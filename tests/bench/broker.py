"""A reader of the orders' topic that sees a record as soon as the broker has it."""

import time
from types import TracebackType
from typing import Self

from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition

from contracts import order

SHIPPED = order.event_type("OrderShipped").encode()


class ShippedOrders:
    """Reads without a group, from the end of the topic on."""

    def __init__(self, servers: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": "bench",
                "enable.auto.commit": False,
                # The embedded broker answers an empty fetch only when its wait is over.
                "fetch.wait.max.ms": 2,
                "fetch.error.backoff.ms": 2,
            }
        )

    def __enter__(self) -> Self:
        topic = self._consumer.list_topics(order.TOPIC, timeout=10).topics[order.TOPIC]
        self._consumer.assign(
            [TopicPartition(order.TOPIC, partition, OFFSET_END) for partition in topic.partitions]
        )
        self.wait_for("", within_seconds=1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def wait_for(self, order_id: str, *, within_seconds: float = 10) -> float | None:
        """When the order's OrderShipped was read, in seconds since 1970; None when it did not come."""
        deadline = time.monotonic() + within_seconds
        while (left := deadline - time.monotonic()) > 0:
            record = self._consumer.poll(left)
            if record is None:
                return None
            if (error := record.error()) is not None:
                raise KafkaException(error)
            headers = dict(record.headers() or [])
            if record.key() == order_id.encode() and headers.get("ce_type") == SHIPPED:
                return time.time()
        return None
