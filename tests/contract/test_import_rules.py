"""The import rules can be broken: each one is tried against a deliberate offence."""

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("contracts", "order_service", "fulfillment_service", "deploy")

OFFENCES = {
    "strangers": ("order_service/payments.py", "import fulfillment_service.carrier"),
    "house": ("contracts/values.py", "import contracts.envelope"),
    "messages": ("contracts/order.py", "import httpx"),
    "order-flow": ("order_service/events.py", "import order_service.projection"),
    "fulfillment-flow": ("fulfillment_service/events.py", "import fulfillment_service.projection"),
    "doors": ("order_service/consumer.py", "import order_service.activities"),
    "no-temporal-at-the-door": ("order_service/intake.py", "import temporalio.client"),
    "pure": ("order_service/order/wishes.py", "import random"),
    "one-writer": ("fulfillment_service/carrier.py", "import contracts.chassis.event_store"),
    "chassis": ("contracts/chassis/errors.py", "import contracts.chassis.outbox"),
}


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of our packages that may be spoiled."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    return tmp_path


def test_every_rule_notices_its_offence(house: Path):
    """One offence for each rule is planted in a copy of the house, and each rule is reported as broken."""
    for file, line in OFFENCES.values():
        path = house / file
        path.write_text(f"{path.read_text()}\n{line}\n")
    rules = configparser.ConfigParser()
    rules.read(house / ".importlinter")
    names = {
        section.rpartition(":")[2]: rules[section]["name"] for section in rules.sections() if ":" in section
    }
    assert set(names) == set(OFFENCES)
    linter = Path(sys.executable).with_name("lint-imports")
    shown = subprocess.run(
        [linter, "--no-cache"], cwd=house, env={**os.environ, "PYTHONPATH": str(house)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert shown.returncode != 0
    broken = {name for name in names.values() if f"{name} BROKEN" in shown.stdout}
    assert broken == set(names.values()), shown.stdout
