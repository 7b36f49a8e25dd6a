"""What the image is: small, the same for every role, without rights, and quickly built and started."""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from testcontainers.core.container import DockerContainer

from deploy.local.state import ROOT
from tests.e2e.containers.engine import build_image, docker
from tests.e2e.containers.house import PROCESSES, House

OVER_BASE_MB = 250
READY_SECONDS = 3.0


def test_the_image_is_small(image: str, images: Mapping[str, str], told: list[str]):
    """At most 250 MB over its base."""
    ours, base = (
        int(docker("image", "inspect", "--format={{.Size}}", name)) / 1e6
        for name in (image, images["TANDEM_PYTHON_IMAGE"])
    )
    told.append(f"image: {ours:.0f} MB, {ours - base:.0f} MB over its base")
    assert ours - base <= OVER_BASE_MB


def test_a_changed_line_is_built_without_its_packages(
    image: str, images: Mapping[str, str], told: list[str], tmp_path: Path
):
    """The layer of packages is the one of the image before; only what is ours is made anew."""
    tree = tmp_path / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".venv", ".git", ".tandem", "__pycache__"))
    (tree / "contracts" / "changed.py").write_text(f"AT = {time.time_ns()}\n")
    began = time.monotonic()
    build_image(tree, "tandem:changed", images["TANDEM_PYTHON_IMAGE"])
    told.append(f"a changed line: built in {time.monotonic() - began:.0f} s")
    try:
        layers = [
            docker("image", "inspect", "--format={{json .RootFS.Layers}}", name)
            for name in (image, "tandem:changed")
        ]
        ours, theirs = (set(each.strip("[]").split(",")) for each in layers)
        assert len(ours - theirs) == 1
    finally:
        docker("image", "rm", "tandem:changed")


def test_no_role_has_rights(house: House):
    """Not root, nothing writable but /tmp, no capability, and no way to get one."""
    for name in PROCESSES:
        wrapped = house[name].wrapped
        uid = wrapped.exec_run(["python", "-c", "import os; print(os.getuid())"]).output.decode().strip()
        assert uid == "10001"
        host = wrapped.attrs["HostConfig"]
        assert (host["ReadonlyRootfs"], host["CapDrop"], host["SecurityOpt"]) == (
            True,
            ["ALL"],
            ["no-new-privileges:true"],
        )


def test_a_role_that_cannot_start_says_why(image: str):
    """Without its key rings a worker ends at once, and names the variable."""
    with DockerContainer(image, command="order_service worker") as container:
        assert container.wait() != 0
        said = b"".join(container.get_logs()).decode()
    assert "TANDEM_CODEC_ORDERS_KEYS" in said


@pytest.mark.parametrize("api", ["order-api", "fulfillment-api"])
def test_an_api_is_ready_soon(house: House, told: list[str], api: str):
    """From the start of its container, with its dependencies up; the best of three on a busy machine."""
    seconds: list[float] = []
    for _ in range(3):
        house[api].stop()
        began = time.monotonic()
        house[api].start()
        house[api].wait_ready()
        seconds.append(time.monotonic() - began)
    told.append(f"{api} ready after {', '.join(f'{each:.1f}' for each in seconds)} s")
    assert min(seconds) <= READY_SECONDS


def test_the_health_check_is_by_progress(image: str, house: House):
    """The image's own check says no where nobody answers and yes where the role is ready."""
    command = docker("image", "inspect", "--format={{json .Config.Healthcheck.Test}}", image)
    assert "contracts.chassis.probe" in command
    check = ["python", "-m", "contracts.chassis.probe"]
    for name in ("order-api", "fulfillment-worker", "order-relay", "fulfillment-consumer"):
        assert house[name].wrapped.exec_run(check).exit_code == 0
    assert house["order-api"].wrapped.exec_run([*check, "1"]).exit_code == 1


def test_the_wheel_holds_everything_that_runs(image: str):
    """SQL files and folders of migrations are in the image, tests are not."""
    program = "import os; print([file for _, _, files in os.walk('/opt/app') for file in files])"
    listing = docker("run", "--rm", "--entrypoint=python", image, "-c", program)
    assert "chassis.sql" in listing
    assert "order.sql" in listing
    assert "test_images.py" not in listing
