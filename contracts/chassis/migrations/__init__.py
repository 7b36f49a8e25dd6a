"""Brings a database to its newest revision: alembic, one history per service, one migrator at a time."""

from pathlib import Path

import psycopg

LOCK = 7_236_001
"""The advisory lock that makes a second migrator wait for the first one."""

CHASSIS_SQL = Path(__file__).with_name("chassis.sql")
"""The tables that the first revision of every service creates."""


def upgrade(url: str, history: Path) -> None:
    """The database has every revision of the history; running it again changes nothing."""
    # A second and 30 MB that no other role needs: each role of a service imports this module.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from sqlalchemy import NullPool, create_engine, text  # noqa: PLC0415

    configuration = Config()
    configuration.set_main_option("script_location", _literal(Path(__file__).parent))
    configuration.set_main_option("version_locations", _literal(history))
    configuration.set_main_option("path_separator", "os")
    # The URL is libpq's, so libpq reads it.
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=NullPool)
    with engine.connect() as connection:
        # Held by the session: closing the connection gives it back, also after a failed revision.
        connection.execute(text("select pg_advisory_lock(:lock)"), {"lock": LOCK})
        connection.commit()
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "head")


def _literal(path: Path) -> str:
    """Alembic's configuration reads a percent sign as the start of a variable."""
    return str(path).replace("%", "%%")
