"""`docker compose` as somebody types it on this machine."""

import json
import os
import subprocess

from deploy.local.containers import COMPOSE_FILE


def environment() -> dict[str, str]:
    """Ours, with the images that all tests here run; without buildx compose takes the old builder."""
    buildx = subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False)
    return {**os.environ, **({} if buildx.returncode == 0 else {"DOCKER_BUILDKIT": "0"})}


def image(service: str) -> str:
    """The image of a service of compose here."""
    shown = subprocess.run(
        ["docker", "compose", f"--file={COMPOSE_FILE}", "--profile=obs", "config", "--format=json"],
        env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(shown.stdout)["services"][service]["image"]


def log_of(container: str) -> str:
    """All it has written, on either stream."""
    return subprocess.run(
        ["docker", "logs", container], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    ).stdout
