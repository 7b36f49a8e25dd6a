"""The banner: short, honest about what is simulated, ending with lines to copy."""

from pathlib import Path
from typing import Any

import pytest

from deploy.local.banner import LONGEST, banner, command


def _description(**other: Any) -> dict[str, Any]:
    env = {
        "TANDEM_STATE_DIR": "/somewhere/.tandem",
        "TANDEM_ORDER_URL": "http://127.0.0.1:3232",
        "TANDEM_FULFILLMENT_URL": "http://127.0.0.1:3233",
        "TANDEM_SANDBOX_URL": "http://127.0.0.1:3234",
        "TANDEM_ORDERS_POSTGRES_URL": "postgresql://tandem:secret@127.0.0.1:5432/orders",
        "TANDEM_KAFKA_SERVERS": "127.0.0.1:9092",
        "TEMPORAL_ADDRESS": "127.0.0.1:7233",
    }
    return {"ready_seconds": 4.2, "kafka": "embedded", "ui": "http://127.0.0.1:8233", "env": env, **other}


def test_the_banner_fits_a_small_terminal():
    """At most 25 lines."""
    assert len(banner(_description()).splitlines()) <= LONGEST


def test_the_banner_says_what_is_simulated():
    """Nobody takes the payments for real ones."""
    assert "Simulated: payments and carrier" in banner(_description())


def test_the_banner_ends_with_lines_to_copy():
    """The last line is a command, without a sentence behind it."""
    assert banner(_description()).splitlines()[-1].strip().endswith("tandem down")


def test_the_banner_shows_no_password():
    """The address of a database of the reader's own may hold one."""
    assert "secret" not in banner(_description())


@pytest.mark.parametrize(
    ("kafka", "said"), [("embedded", "in memory"), ("apache", "Apache"), ("h:1", "yours")]
)
def test_the_banner_names_the_broker(kafka: str, said: str):
    """One can tell a broker that forgets from one that keeps."""
    assert said in banner(_description(kafka=kafka))


def test_without_a_ui_of_ours_the_cluster_is_named():
    """With `--temporal` there is no UI of ours to link to."""
    assert "127.0.0.1:7233   (yours)" in banner(_description(ui=None))


def test_the_command_can_be_typed_where_one_stands():
    """A path is shown where `tandem` alone would not be found."""
    assert command(Path("/")).endswith("tandem")
