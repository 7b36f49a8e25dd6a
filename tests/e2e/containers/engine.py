"""The Docker engine of this machine, as these tests ask it."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from testcontainers.core.image import DockerImage

from deploy.local.child import StartError
from deploy.local.containers import COMPOSE_FILE, STANDINS, ensure_docker, read_environment


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


IMAGES = ("python", "postgres", "kafka", "temporal", "collector")
"""What our image and the house are made of; each is named by TANDEM_…_IMAGE."""


def choose_images() -> dict[str, str]:
    """The image for each variable: what the environment says, else the public one, else its stand-in.

    Raises AssertionError when one of them is neither here nor can be pulled."""
    found: list[tuple[str, str]] = re.findall(r"\$\{(TANDEM_\w+_IMAGE):-([^}]+)\}", COMPOSE_FILE.read_text())
    public = dict(found)
    given = dict(os.environ)
    names = [f"TANDEM_{name.upper()}_IMAGE" for name in IMAGES]
    chosen: dict[str, str] = {name: given.get(name, public[name]) for name in names}
    if all(map(_is_here, chosen.values())):
        return chosen
    standins = read_environment(STANDINS) | {name: given[name] for name in names if name in given}
    if all(map(_is_here, standins.values())):
        return standins
    for image in chosen.values():
        pulled = subprocess.run(
            ["docker", "pull", "--quiet", image], capture_output=True, text=True, check=False
        )
        assert pulled.returncode == 0 or _is_here(image), (
            f"{image} is not here and cannot be pulled; deploy/images/build-standins builds stand-ins"
        )
    return chosen


def _is_here(image: str) -> bool:
    found = subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False)
    return found.returncode == 0


def build_image(tree: Path, tag: str, python: str) -> None:
    """Our image of that work tree is there under the tag, and stays."""
    DockerImage(
        tree,
        tag=tag,
        dockerfile_path="deploy/Dockerfile",
        clean_up=False,
        buildargs={"PYTHON_IMAGE": python},
    ).build()
