"""`python -m deploy.local.kafka_mock`: a Kafka broker in memory, librdkafka's mock cluster.

It speaks the real protocol (keyed records, consumer groups), keeps nothing after it stops and
gives every topic four partitions.
"""

import argparse
import json
import signal
from pathlib import Path

from confluent_kafka import Producer

from deploy.local.state import write_atomically

PARTITIONS = 4


def main() -> None:
    """Run the broker until SIGTERM; where it stands is in the address file and on standard output."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--address-file", type=Path, required=True)
    options = parser.parse_args()
    owner = Producer({"test.mock.num.brokers": 1, "log_level": 4})
    broker = next(iter(owner.list_topics(timeout=10).brokers.values()))
    said = json.dumps({"bootstrap": f"{broker.host}:{broker.port}", "partitions": PARTITIONS})
    write_atomically(options.address_file, said)
    print(said, flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
