"""The embedded Kafka broker as a process; the kernel chooses its port, so it writes down where it stands."""

import json
import sys
from pathlib import Path

from deploy.local.child import Plan


def plan(folder: Path, log: Path) -> Plan:
    """How the broker is run; `address(folder)` is where it stands once it is ready."""
    place = folder / "kafka"

    def prepare() -> None:
        place.mkdir(exist_ok=True)
        _file(folder).unlink(missing_ok=True)

    return Plan(
        name="kafka",
        command=lambda: [sys.executable, "-m", "deploy.local.kafka_mock", f"--address-file={_file(folder)}"],
        ready=lambda: _file(folder).exists(),
        prepare=prepare,
        log=log,
        fix=f"see {log}; --kafka HOST:PORT uses a broker of yours",
    )


def address(folder: Path) -> str:
    """`host:port` of the running broker; empty while there is none."""
    try:
        return json.loads(_file(folder).read_text())["bootstrap"]
    except (OSError, ValueError):
        return ""


def _file(folder: Path) -> Path:
    return folder / "kafka" / "address.json"
