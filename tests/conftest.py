"""Engines for the tests: started once for a run, on free ports, in a folder of their own."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from deploy.local.stack import Stack

MakeDatabase = Callable[[str], str]


def _alone(engine: str, factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(factory.mktemp(engine), engines={engine}, services=False) as stack:
        yield stack


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with PostgreSQL alone."""
    yield from _alone("postgres", tmp_path_factory)


@pytest.fixture(scope="session")
def temporal_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with the Temporal development server alone."""
    yield from _alone("temporal", tmp_path_factory)


@pytest.fixture(scope="session")
def kafka_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with a Kafka broker alone."""
    yield from _alone("kafka", tmp_path_factory)


@pytest.fixture(scope="session")
def sandbox_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with the payment and carrier sandbox alone."""
    yield from _alone("sandbox", tmp_path_factory)


@pytest.fixture(scope="session")
def make_database(engines: Stack) -> MakeDatabase:
    """Makes a database like the one named and gives its address; `template1` is an empty one."""
    numbers = count(1)

    def make(template: str) -> str:
        name = f"test_{next(numbers)}"
        statement = sql.SQL("create database {} template {}")
        with psycopg.connect(engines.postgres_url("postgres"), autocommit=True) as connection:
            connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return engines.postgres_url(name)

    return make


@pytest.fixture(scope="session")
def migrated(engines: Stack) -> Stack:
    """The same stack, its databases `orders` and `fulfillments` migrated: templates for `make_database`."""
    engines.migrate()
    return engines


@pytest.fixture(scope="module")
def postgres_url(make_database: MakeDatabase) -> str:
    """An empty database for one test module."""
    return make_database("template1")


@pytest.fixture(scope="module")
def orders_url(migrated: Stack, make_database: MakeDatabase) -> str:
    """A migrated, otherwise empty database of the order service for one test module."""
    return make_database("orders")


@pytest.fixture(scope="module")
def fulfillments_url(migrated: Stack, make_database: MakeDatabase) -> str:
    """A migrated, otherwise empty database of the fulfillment service for one test module."""
    return make_database("fulfillments")


@pytest.fixture(scope="session")
def temporal_address(temporal_engine: Stack) -> str:
    """`host:port` of a Temporal server with the namespaces `orders` and `fulfillments`."""
    return temporal_engine.temporal_address


@pytest.fixture(scope="session")
def kafka_servers(kafka_engine: Stack) -> str:
    """`host:port` of a Kafka broker."""
    return kafka_engine.kafka_servers


@pytest.fixture(scope="session")
def sandbox_url(sandbox_engine: Stack) -> str:
    """Where the payment and carrier sandbox answers."""
    return sandbox_engine.sandbox_url


@pytest.fixture
def state_folder(tmp_path: Path) -> Path:
    """A folder for a stack of the test's own."""
    return tmp_path / "state"
