"""Brings both databases to the newest revision, or knows that they are there already."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.local.child import StartError, tail
from deploy.local.processes import Service, python_environment
from deploy.local.state import ROOT, write_atomically


def migrate(service: Service, environment: Mapping[str, str], log: Path) -> None:
    """The service's own `migrate` has run. Raises StartError with the end of its log."""
    with log.open("ab") as output:
        done = subprocess.run(
            [sys.executable, "-m", service, "migrate"],
            env=python_environment(environment), cwd=ROOT, stdout=output, stderr=output, check=False,
        )  # fmt: skip
    if done.returncode != 0:
        raise StartError(f"the migrations of {service} failed:\n{tail(log)}", f"see {log}")


class Memory:
    """Which revisions the databases of a state folder have, so that a start need not load alembic to ask."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "migrated.json"
        self._data = folder / "postgres" / "PG_VERSION"

    def knows(self, service: Service) -> bool:
        """True when these very files were applied to this very data folder."""
        return self._known().get(service) == self._mark(service)

    def remember(self, *services: Service) -> None:
        marks = {service: self._mark(service) for service in services}
        write_atomically(self._file, json.dumps({**self._known(), **marks}))

    def _known(self) -> dict[str, str]:
        try:
            return json.loads(self._file.read_text())
        except (OSError, ValueError):
            return {}

    def _mark(self, service: Service) -> str:
        found = hashlib.sha256(str(self._data.stat().st_mtime_ns).encode())
        for folder in (ROOT / "contracts" / "chassis" / "migrations", ROOT / service / "migrations"):
            for file in sorted(path for path in folder.rglob("*") if path.suffix in (".py", ".sql")):
                found.update(file.name.encode() + b"\0" + file.read_bytes())
        return found.hexdigest()
