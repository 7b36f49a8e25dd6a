"""A database of its own for each test, with the chassis' tables in it."""

from collections.abc import AsyncGenerator, Callable

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from contracts.chassis.migrations import CHASSIS_SQL
from contracts.chassis.postgres import Database
from contracts.chassis.settings import PostgresSettings
from tests.integration.store.incoming import Applied


@pytest.fixture(scope="session")
def chassis_template(make_database: Callable[[str], str]) -> str:
    """The name of a database with the chassis' tables, to be copied."""
    url = make_database("template1")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(CHASSIS_SQL.read_bytes())
    return str(conninfo_to_dict(url)["dbname"])


@pytest.fixture
def settings(make_database: Callable[[str], str], chassis_template: str) -> PostgresSettings:
    """Of a database that this test has for itself."""
    return PostgresSettings(url=make_database(chassis_template), pool_size=20, pool_wait_seconds=20)


@pytest.fixture
async def database(settings: PostgresSettings) -> AsyncGenerator[Database]:
    """Opened on the test's own database."""
    async with Database(settings, "test") as database:
        yield database


@pytest.fixture
async def applied(database: Database) -> Applied:
    """What had an effect on the test's own database."""
    applied = Applied(database)
    await applied.prepare()
    return applied
