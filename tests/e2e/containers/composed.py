"""`docker compose` as somebody types it on this machine."""

import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

from deploy.local.containers import COMPOSE_FILE
from deploy.local.ports import Ports

_PORTS = {
    "TANDEM_ORDER_PORT": "order-api",
    "TANDEM_FULFILLMENT_PORT": "fulfillment-api",
    "TANDEM_SANDBOX_PORT": "sandbox",
    "TANDEM_POSTGRES_PORT": "postgres",
    "TANDEM_KAFKA_PORT": "kafka",
    "TANDEM_TEMPORAL_PORT": "temporal",
    "TANDEM_TEMPORAL_UI_PORT": "temporal-ui",
}


def ports(chosen: Ports) -> dict[str, str]:
    """The variables of compose that put everything on these ports."""
    return {variable: str(chosen[name]) for variable, name in _PORTS.items()}


def environment() -> dict[str, str]:
    """Ours, with the images that all tests here run; without buildx compose takes the old builder."""
    buildx = subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False)
    return {**os.environ, **({} if buildx.returncode == 0 else {"DOCKER_BUILDKIT": "0"})}


def services(variables: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Every service of the compose file, of all profiles, with these and our variables filled in."""
    command = ["docker", "compose", f"--file={COMPOSE_FILE}", "--profile=*", "config", "--format=json"]
    shown = subprocess.run(
        command, env={**environment(), **variables}, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    # What is printed is a compose file again, with each dollar doubled.
    return json.loads(shown.stdout.replace("$$", "$"))["services"]


def image(service: str) -> str:
    """The image of a service of compose here."""
    return services({})[service]["image"]


def log_of(container: str) -> str:
    """All it has written, on either stream."""
    return subprocess.run(
        ["docker", "logs", container], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    ).stdout
