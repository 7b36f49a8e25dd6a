"""Brings a service's database to the newest revision: alembic, one history per service, one migrator at a time."""

from importlib.resources import files
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

LOCK = 7_236_001
"""The advisory lock that makes a second migrator wait for the first one."""

CHASSIS_SQL = files(__package__).joinpath("chassis.sql")


def upgrade(url: str, history: Path) -> None:
    """The database has every revision of the history; running it again changes nothing."""
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(__file__).parent))
    configuration.set_main_option("version_locations", str(history))
    configuration.set_main_option("path_separator", "os")
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.connect() as connection:
        connection.execute(text("select pg_advisory_lock(:lock)"), {"lock": LOCK})
        connection.commit()
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "head")
        connection.execute(text("select pg_advisory_unlock(:lock)"), {"lock": LOCK})
        connection.commit()
    engine.dispose()
