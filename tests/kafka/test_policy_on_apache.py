"""The policy once more, on a broker of production's kind: groups of two, rebalances, sixteen partitions."""

from tests.integration.test_kafka_policy import *  # noqa: F403
