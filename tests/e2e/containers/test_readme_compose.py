"""What the README says of compose, typed in a clean clone."""

import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.ports import Ports
from deploy.local.state import ROOT
from tests.e2e.containers.composed import environment, ports
from tests.e2e.containers.engine import docker, left_of, needs_docker
from tests.e2e.people import Operator, Shop
from tests.e2e.shell import filled_in
from tests.e2e.test_readme import written

pytestmark = [needs_docker, pytest.mark.timeout(400)]

VOLUMES = {"postgres", "kafka", "temporal", "secrets", "sandbox"}


class Clone:
    """A clean clone, and a shell in it whose project, ports and image are nobody else's."""

    def __init__(self, folder: Path) -> None:
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
        self.folder = folder
        self.project = f"tandem-readme-{uuid.uuid4().hex[:8]}"
        self.ports = ports(Ports.anywhere())
        self.environment = {
            **environment(),
            **self.ports,
            "COMPOSE_PROJECT_NAME": self.project,
            "TANDEM_IMAGE": "tandem:readme",
        }

    def types(self, line: str) -> str:
        """What the line printed. Raises AssertionError with it when the line failed."""
        line = line.replace("localhost:3232", f"localhost:{self.ports['TANDEM_ORDER_PORT']}")
        line = line.replace("curl ", "curl --silent --show-error --fail ")
        done = subprocess.run(
            ["sh", "-c", line], cwd=self.folder, env=self.environment, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}"
        return done.stdout

    def url(self, variable: str) -> str:
        return f"http://127.0.0.1:{self.ports[variable]}"

    def unhealthy(self) -> list[str]:
        """Containers that neither are healthy nor have done what they were for."""
        mine = f"--filter=label=com.docker.compose.project={self.project}"
        lines = docker("ps", "--all", mine, "--format={{.Names}} {{.Status}}").splitlines()
        assert len(lines) >= 16
        return [line for line in lines if "(healthy)" not in line and "Exited (0)" not in line]


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    clone = Clone(tmp_path / "tandem")
    try:
        yield clone
    finally:
        docker("compose", "--project-name", clone.project, "down", "--volumes", "--timeout=5")
        assert left_of(clone.project) == []


def test_the_lines_of_the_readme_run_the_pair(clone: Clone):
    """From a clean clone all is healthy, an order ships, and what was under way goes on after `down`."""
    (block,) = written("Run it in containers")
    start, order, status, down, again = (line for line, _ in block)
    clone.types(start)
    assert clone.unhealthy() == []

    shop, operator = Shop(clone.url("TANDEM_ORDER_PORT")), Operator(clone.url("TANDEM_FULFILLMENT_PORT"))
    placed = json.loads(clone.types(order))["orderId"]
    shop.sees_end(placed, within_seconds=90)
    assert '"SHIPPED"' in clone.types(filled_in(status, {"orderId": placed}))
    under_way = shop.place("manual")
    operator.works(under_way, "pick:1")
    operator.comes_to(under_way, "pick:2")

    clone.types(down)
    assert {left.removeprefix(f"{clone.project}_") for left in left_of(clone.project)} == VOLUMES
    clone.types(again)
    assert clone.unhealthy() == []
    assert shop.status(placed)["status"] == "SHIPPED"
    operator.works(under_way, "pick:2", "pick:3", "quality", "pack")
    operator.comes_to(under_way, "hand-over")
    operator.completes(under_way, "hand-over")
    assert shop.sees_end(under_way, within_seconds=90)["status"] == "SHIPPED"


def test_every_variable_that_the_readme_names_is_one():
    """Ports and images of compose, and the file that names the stand-ins."""
    text = (ROOT / "README.md").read_text()
    section = text.partition("## Run it in containers\n")[2].partition("\n## ")[0]
    compose = (ROOT / "deploy/compose.yaml").read_text()
    for port in ("16686", "9090", "3000"):
        assert port in section
        assert f':{port}"]' in compose
    for named in ("deploy/images/build-standins", "deploy/images/standins.env", "deploy/compose.yaml"):
        assert named in section
        assert (ROOT / named).exists()
    for profile in ("scale", "obs"):
        assert f"--profile {profile}" in section
        assert f"profiles: [{profile}]" in compose
