"""The Docker engine of this machine, as these tests ask it."""

import subprocess

import pytest

from deploy.local.child import StartError
from deploy.local.containers import ensure_docker


def missing() -> str | None:
    """Why containers cannot be run here."""
    try:
        ensure_docker()
    except StartError as error:
        return f"{error}; {error.fix}"
    return None


needs_docker = pytest.mark.skipif(bool(found := missing()), reason=found or "")


def docker(*arguments: str) -> str:
    """What it printed. Raises AssertionError with its words when it failed."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


def left_of(project: str) -> list[str]:
    """Every container, volume and network of a compose project."""
    mine = f"--filter=label=com.docker.compose.project={project}"
    containers = docker("ps", "--all", mine, "--format={{.Names}}")
    volumes = docker("volume", "ls", mine, "--format={{.Name}}")
    networks = docker("network", "ls", mine, "--format={{.Name}}")
    return "\n".join((containers, volumes, networks)).split()
