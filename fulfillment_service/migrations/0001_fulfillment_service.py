"""The fulfillment service's first tables: the chassis' and the view."""

from pathlib import Path

from alembic import op

from contracts.chassis.migrations import CHASSIS_SQL

revision = "0001"
down_revision = None


def upgrade() -> None:
    """All tables exist."""
    for script in (CHASSIS_SQL.read_text(), Path(__file__).with_name("fulfillment.sql").read_text()):
        op.get_bind().exec_driver_sql(script)
