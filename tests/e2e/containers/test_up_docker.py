"""`tandem up --docker`: PostgreSQL, Kafka and Temporal in containers, our own processes on this machine."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.containers import Containers
from deploy.local.ports import FIXED, Ports
from deploy.local.state import ROOT, State
from tests.e2e.containers.engine import docker, left_of, needs_docker
from tests.e2e.people import Shop, eventually

pytestmark = [needs_docker, pytest.mark.timeout(300)]

ENGINES = ("postgres", "kafka", "temporal")


class Tandem:
    """The command line over one state folder."""

    def __init__(self, folder: Path) -> None:
        self.state = State(folder)
        self.project = Containers(self.state).project
        self.first_port = Ports.anywhere()["order-api"]

    def __call__(self, *arguments: str, promises: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "deploy.cli", *arguments], cwd=ROOT, text=True, check=False,
            env={**os.environ, "TANDEM_STATE_DIR": str(self.state.folder), "COLUMNS": "120"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == promises, done.stdout
        return done.stdout

    def up(self) -> str:
        return self("up", "--docker", "--detach", f"--ports-from={self.first_port}")

    def described(self) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "deploy.cli", "status", "--json", f"--state={self.state.folder}"],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return json.loads(done.stdout)

    def shop(self) -> Shop:
        return Shop(self.described()["env"]["TANDEM_ORDER_URL"])

    def postgres_port(self) -> int:
        return self.described()["processes"]["postgres"]["port"]


@pytest.fixture(scope="module")
def tandem(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tandem]:
    """Ready, with the place that PostgreSQL wanted taken by somebody else."""
    tandem = Tandem(tmp_path_factory.mktemp("docker") / "state")
    with socket.create_server(("127.0.0.1", wanted(tandem))):
        said = tandem.up()
    assert f"port {wanted(tandem)} is in use, postgres stands on" in said
    try:
        yield tandem
    finally:
        if tandem.state.folder.exists():
            tandem("reset", "--yes")


def wanted(tandem: Tandem) -> int:
    return tandem.first_port + list(FIXED).index("postgres")


def test_an_order_ships_over_containers(tandem: Tandem):
    """The engines are processes like the others, with the container's own pid, port and state."""
    described = tandem.described()
    assert described["status"] == "ready"
    for engine in ENGINES:
        process = described["processes"][engine]
        assert (process["state"], process["container"]) == ("ready", f"{tandem.project}-{engine}-1")
        assert process["pid"] == int(docker("inspect", "--format={{.State.Pid}}", process["container"]))
    assert tandem.postgres_port() != wanted(tandem)
    shop = tandem.shop()
    assert shop.sees_end(shop.place(), within_seconds=60)["status"] == "SHIPPED"
    retention = docker("inspect", "--format={{.State.ExitCode}}", f"{tandem.project}-temporal-retention-1")
    assert retention == "0"


def test_a_container_that_is_gone_is_told(tandem: Tandem):
    """`status` and `doctor` say what Docker says now, not what was true at the start; the fix works."""
    kafka = f"{tandem.project}-kafka-1"
    docker("kill", kafka)
    assert "exited (137)" in tandem("status", promises=1)
    assert f"Fix: docker restart {kafka}" in tandem("doctor", promises=1)
    docker("restart", kafka)
    eventually(lambda: tandem.described()["processes"]["kafka"]["ready"], bool, within_seconds=100)


def test_logs_of_containers_are_logs_like_others(tandem: Tandem):
    """Each line once, whichever process it is from."""
    lines = tandem("logs", "postgres", "-n", "1000").splitlines()
    assert any("ready to accept connections" in line for line in lines)
    assert "postgres" in tandem("logs", "-n", "1")


def test_what_a_killed_stack_left_is_stopped_and_goes_on(tandem: Tandem):
    """`down` finds its containers; the next start has every order, on the ports that are free again."""
    shop = tandem.shop()
    before = shop.place()
    shop.sees_end(before, within_seconds=60)
    os.kill(tandem.described()["pid"], signal.SIGKILL)
    eventually(tandem.state.owner, lambda owner: owner is None)
    assert "left over" in tandem("status", promises=3)

    assert "Stopped" in tandem("down")
    assert not docker("ps", f"--filter=name={tandem.project}", "--quiet")
    assert "Nothing runs" in tandem("down")

    tandem.up()
    assert tandem.postgres_port() == wanted(tandem)
    shop = tandem.shop()
    assert shop.status(before)["status"] == "SHIPPED"
    assert shop.sees_end(shop.place(), within_seconds=60)["status"] == "SHIPPED"


def test_ctrl_c_stops_the_containers_and_keeps_their_data(tandem: Tandem):
    """The stack goes only when none of them runs any more."""
    os.kill(tandem.described()["pid"], signal.SIGINT)
    eventually(tandem.state.owner, lambda owner: owner is None)
    assert not docker("ps", f"--filter=name={tandem.project}", "--quiet")
    assert f"{tandem.project}_postgres" in left_of(tandem.project)


def test_reset_leaves_nothing(tandem: Tandem):
    """No container, no volume, no network, no folder; another project of the same file is not touched."""
    assert len([left for left in left_of(tandem.project) if "_" in left]) >= len(ENGINES)
    neighbour = docker("volume", "create", f"--label=com.docker.compose.project={tandem.project}0")
    try:
        tandem("reset", "--yes")
        assert left_of(tandem.project) == []
        assert left_of(f"{tandem.project}0") == [neighbour]
    finally:
        docker("volume", "rm", neighbour)
    assert not tandem.state.folder.exists()
