"""Migrations: one at a time, and twice is once."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from contracts.chassis.migrations import upgrade

FIRST = """
from alembic import op
from contracts.chassis.migrations import CHASSIS_SQL

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.get_bind().exec_driver_sql("select pg_sleep(0.5)")
    op.get_bind().exec_driver_sql(CHASSIS_SQL.read_text())
"""

BROKEN = """
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.get_bind().exec_driver_sql("create table half_made (id int)")
    op.get_bind().exec_driver_sql("select 1 / 0")
"""

MIGRATE = """
import sys
from pathlib import Path
from contracts.chassis.migrations import upgrade
upgrade(sys.argv[1], Path(sys.argv[2]))
"""


@pytest.fixture
def url(make_database: Callable[[str], str]) -> str:
    return make_database("template1")


@pytest.fixture
def history(tmp_path: Path) -> Path:
    folder = tmp_path / "100 % ours"
    folder.mkdir()
    (folder / "0001_first.py").write_text(FIRST)
    return folder


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
    return {row[0] for row in rows}


def test_an_empty_database_gets_every_table(url: str, history: Path):
    """The chassis' tables are there, and the revision is remembered."""
    upgrade(url, history)
    assert {"events", "receipts", "outbox", "knocks", "inbox", "pii", "alembic_version"} <= tables(url)


def test_migrating_twice_changes_nothing(url: str, history: Path):
    """A database that is at its newest revision stays as it is."""
    upgrade(url, history)
    upgrade(url, history)
    with psycopg.connect(url) as connection:
        assert connection.execute("select version_num from alembic_version").fetchall() == [("0001",)]


async def test_two_migrators_wait_for_each_other(url: str, history: Path):
    """Two processes that migrate at once both end well, and the revision ran once."""

    async def migrate() -> int:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", MIGRATE, url, str(history))
        return await process.wait()

    assert await asyncio.gather(migrate(), migrate(), migrate()) == [0, 0, 0]
    assert "events" in tables(url)


def test_a_failed_revision_leaves_nothing_and_locks_nobody_out(url: str, history: Path):
    """Half a revision is undone, the ones before it stay, and the next migrator need not wait."""
    (history / "0002_broken.py").write_text(BROKEN)
    with pytest.raises(Exception, match="division by zero"):
        upgrade(url, history)
    assert "events" in tables(url)
    assert "half_made" not in tables(url)
    (history / "0002_broken.py").unlink()
    upgrade(url, history)
