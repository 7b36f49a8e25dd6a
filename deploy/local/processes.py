"""The processes of our own: both services' roles, the provider sandbox, the codec for Temporal's UI."""

import http.client
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from deploy.local.child import Plan
from deploy.local.ports import is_free
from deploy.local.state import ROOT

Service = Literal["order_service", "fulfillment_service"]
Role = Literal["api", "worker", "relay", "consumer", "migrate"]

SERVICES: tuple[Service, ...] = ("order_service", "fulfillment_service")
ROLES: tuple[Role, ...] = ("api", "worker", "relay", "consumer")
USES_KAFKA: tuple[Role, ...] = ("relay", "consumer")

DATABASE: dict[Service, str] = {"order_service": "orders", "fulfillment_service": "fulfillments"}

STOPPING = {
    "TANDEM_GRACEFUL_SHUTDOWN_SECONDS": "1.5",
    "TANDEM_HEALTH_STOP_SECONDS": "2.5",
    "TANDEM_HEALTH_DRAIN_SECONDS": "0",
}
"""Ctrl-C is answered at once here; what an activity did not finish is done again after the next start."""


def child_name(service: Service, role: Role) -> str:
    """`order-api`, `fulfillment-relay` …"""
    return f"{service.removesuffix('_service')}-{role}"


def role_plan(
    service: Service, role: Role, port: int, log: Path, environment: Callable[[], Mapping[str, str]]
) -> Plan:
    """How one role of a service is run; it is ready when its own health endpoint says so."""
    return _python(child_name(service, role), [service, role], port, log=log, environment=environment)


def sandbox_plan(folder: Path, port: int, log: Path) -> Plan:
    """How the simulated payment and carrier providers are run."""
    state = folder / "sandbox"
    arguments = ["deploy.sandbox", "--port", str(port), "--state", str(state)]
    return _python("sandbox", arguments, port, log=log, prepare=lambda: state.mkdir(exist_ok=True))


def codec_plan(port: int, log: Path, environment: Callable[[], Mapping[str, str]]) -> Plan:
    """How the decoder for Temporal's UI is run."""
    plan = _python(
        "codec", ["deploy.local.codec", "--port", str(port)], port, log=log, environment=environment
    )
    # Asking it would wake it.
    return replace(plan, ready=lambda: not is_free(port))


def _python(
    name: str,
    arguments: list[str],
    port: int,
    *,
    log: Path,
    environment: Callable[[], Mapping[str, str]] = os.environ.copy,
    prepare: Callable[[], None] = lambda: None,
) -> Plan:
    return Plan(
        name=name,
        command=lambda: [sys.executable, "-m", *arguments],
        ready=lambda: is_healthy(port),
        prepare=prepare,
        log=log,
        environment=lambda: python_environment(environment()),
        folder=ROOT,
        fix=f"see {log}; `tandem doctor` looks for the usual reasons",
    )


def python_environment(given: Mapping[str, str]) -> dict[str, str]:
    """Lines are logged at once, and what is imported is compiled once: 0.8 instead of 2.8 s a process."""
    kept = {name: value for name, value in given.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONUNBUFFERED": "1"}


def is_healthy(port: int, path: str = "/health/ready") -> bool:
    """True when the process on that port says it is ready."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
