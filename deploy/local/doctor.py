"""`tandem doctor`: the usual reasons why something does not run, each with its fix."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from deploy.local import kafka_apache, postgres, temporal
from deploy.local.child import StartError
from deploy.local.containers import ensure_docker
from deploy.local.control import running_now
from deploy.local.ports import FIXED, is_free
from deploy.local.processes import is_healthy
from deploy.local.state import ROOT, State

_NEEDED_GIGABYTES = 1.0

Level = Literal["good", "note", "bad"]


@dataclass(frozen=True)
class Finding:
    what: str
    level: Level
    detail: str
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)

    def as_text(self) -> str:
        mark = {"good": "ok  ", "note": "note", "bad": "BAD "}[self.level]
        fix = f"\n      Fix: {self.fix}" if self.fix and self.level != "good" else ""
        return f"{mark}  {self.what}: {self.detail}{fix}"


def examine(state: State) -> list[Finding]:
    """What was found, in the order in which to mend it."""
    return [
        _python(),
        *_engines(),
        _java(),
        _docker(),
        _folder(state),
        _space(state),
        *(_stack(state) or _ports()),
    ]


def _python() -> Finding:
    found = f"Python {platform.python_version()} in {sys.prefix}"
    if sys.prefix == sys.base_prefix:
        return Finding("environment", "note", f"{found}, not the repository's own", "run ./deploy/up")
    return Finding("environment", "good", found)


def _engines() -> Iterator[Finding]:
    for name, find in (("PostgreSQL", _postgres_program), ("Temporal", temporal.binary)):
        try:
            program = find()
        except StartError as error:
            yield Finding(name, "bad", str(error), error.fix)
            continue
        if os.access(program, os.X_OK):
            yield Finding(name, "good", str(program))
        else:
            yield Finding(name, "bad", f"{program} cannot be run", "remove .venv and run ./deploy/up")


def _postgres_program() -> Path:
    return postgres.binaries() / "postgres"


def _java() -> Finding:
    try:
        return Finding("Java", "good", f"{kafka_apache.java()} (only --kafka apache needs it)")
    except StartError as error:
        return Finding("Java", "note", f"{error} (only --kafka apache needs it)", error.fix)


def _docker() -> Finding:
    try:
        return Finding("Docker", "good", f"{ensure_docker()} (only --docker needs it)")
    except StartError as error:
        return Finding("Docker", "note", f"{error} (only --docker needs it)", error.fix)


def _folder(state: State) -> Finding:
    place = next(folder for folder in (state.folder, *state.folder.parents) if folder.exists())
    if os.access(place, os.W_OK):
        return Finding("state", "good", f"{state.folder} can be written")
    return Finding(
        "state", "bad", f"{place} cannot be written", "choose another with --state or TANDEM_STATE_DIR"
    )


def _space(state: State) -> Finding:
    place = next(folder for folder in (state.folder, *state.folder.parents) if folder.exists())
    gigabytes = shutil.disk_usage(place).free / 1e9
    if gigabytes < _NEEDED_GIGABYTES:
        return Finding("disk", "bad", f"{gigabytes:.1f} GB free at {place}", "make room, or `tandem reset`")
    return Finding("disk", "good", f"{gigabytes:.0f} GB free")


def _stack(state: State) -> list[Finding]:
    described = running_now(state)
    if described is None:
        return []
    findings: list[Finding] = []
    for name, process in described["processes"].items():
        again = f", restarted {process['restarts']} times" if process["restarts"] else ""
        ours = name not in ("postgres", "temporal", "kafka", "codec")
        if process["ready"] and (not ours or is_healthy(process["port"])):
            findings.append(Finding(name, "good", f"ready{again}"))
        else:
            fix = f"docker restart {process['container']}; " if "container" in process else ""
            how = process.get("state", "not ready")
            findings.append(Finding(name, "bad", f"{how}{again}", f"{fix}tandem logs {name}"))
    return findings


def _ports() -> list[Finding]:
    taken = [f"{port} ({name})" for name, port in FIXED.items() if not is_free(port)]
    if not taken:
        return [Finding("ports", "good", "all free"), _not_running()]
    fix = "nothing to do: `up` moves aside; or stop who listens there, or use --ports-from"
    return [Finding("ports", "note", f"in use: {', '.join(taken)}", fix), _not_running()]


def _not_running() -> Finding:
    return Finding("stack", "note", "does not run", f"{ROOT / 'deploy' / 'up'} --detach")
