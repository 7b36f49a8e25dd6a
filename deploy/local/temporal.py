"""Temporal's development server with its UI: one process over one SQLite file, tuned for short hops."""

import http.client
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from deploy.local.child import Plan, StartError
from deploy.local.ports import Ports

NAMESPACES = ("orders", "fulfillments")
RETENTION_SECONDS = 30 * 24 * 3600

_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL")
"""A file with full syncing is three times slower; this is safe when a process dies."""
_DYNAMIC = (
    # The default of 20 makes each hop of a lone order wait up to 50 ms.
    "history.transferProcessorMaxPollRPS=500",
    # By default every timer and every retry may be a second late. Idle, this costs 0.2 % of a core.
    'history.timerProcessorMaxTimeShift="10ms"',
)


def binary() -> Path:
    """The server. Raises StartError when the package is not installed."""
    beside = Path(sys.executable).with_name("temporal")
    found = str(beside) if beside.exists() else shutil.which("temporal")
    if found is None:
        raise StartError(
            "the Temporal binary is not installed", "run ./deploy/up once, or --temporal HOST:PORT"
        )
    return Path(found)


def plan(folder: Path, ports: Ports, log: Path, *, ui: bool) -> Plan:
    """How the server over `folder/temporal/temporal.db` is run, with both namespaces."""
    data = folder / "temporal"

    def command() -> list[str]:
        options = [
            f"--db-filename={data / 'temporal.db'}",
            "--ip=127.0.0.1",
            f"--port={ports['temporal']}",
            f"--http-port={ports['temporal-http']}",
            "--log-level=error",
            *(f"--namespace={namespace}" for namespace in NAMESPACES),
            *(f"--sqlite-pragma={pragma}" for pragma in _PRAGMAS),
            *(f"--dynamic-config-value={value}" for value in _DYNAMIC),
        ]
        codec = f"http://127.0.0.1:{ports['codec']}"
        shown = [
            f"--ui-port={ports['temporal-ui']}",
            f"--ui-codec-endpoint={codec}",
            "--ui-disable-news-fetch",
        ]
        return [str(binary()), "server", "start-dev", *options, *(shown if ui else ["--headless"])]

    return Plan(
        name="temporal",
        command=command,
        ready=lambda: _is_ready(ports["temporal-http"]),
        prepare=lambda: data.mkdir(exist_ok=True),
        log=log,
        environment=_environment,
        fix=f"see {log}; `tandem reset` starts from nothing, --temporal HOST:PORT uses a server of yours",
    )


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")}


def _is_ready(port: int) -> bool:
    """True once both namespaces answer; their retention is 30 days then."""
    try:
        return all(_retained(port, namespace) for namespace in NAMESPACES)
    except (OSError, http.client.HTTPException, ValueError):
        return False


def _retained(port: int, namespace: str) -> bool:
    wanted = f"{RETENTION_SECONDS}s"
    status, found = _call(port, "GET", f"/api/v1/namespaces/{namespace}")
    if status != 200:
        return False
    if found.get("config", {}).get("workflowExecutionRetentionTtl") == wanted:
        return True
    change = {"config": {"workflowExecutionRetentionTtl": wanted}}
    return _call(port, "POST", f"/api/v1/namespaces/{namespace}/update", change)[0] == 200


def _call(port: int, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"{}")
    finally:
        connection.close()
