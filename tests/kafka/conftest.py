"""The messaging tests run against a real Apache Kafka here."""

from collections.abc import Iterator

import pytest

from deploy.local.stack import Stack


@pytest.fixture(scope="session")
def kafka_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with Apache Kafka alone, in the place of the embedded broker."""
    with Stack(tmp_path_factory.mktemp("kafka"), engines={"kafka"}, services=False, kafka="apache") as stack:
        yield stack
