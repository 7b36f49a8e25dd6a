"""`tandem up --docker` where Docker is missing, broken or cut off: what it says and what it offers."""

from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local.child import StartError
from deploy.local.containers import STANDINS, Container, Containers, ensure_docker
from deploy.local.ports import Ports
from deploy.local.state import State

Docker = Callable[[str], None]

PORTS = Ports.near(free=lambda _: True)
WORKS = 'case "$*" in version*) echo 20.10;; "compose version"*) echo 2.40;;'
CONFIG = """*config*) echo '{"services": {"postgres": {"image": "'"${TANDEM_POSTGRES_IMAGE:-public}"'"},
    "kafka": {"image": "kafka"}, "temporal": {"image": "temporal"}}}';;"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    """Puts a program in docker's place, of this shell script."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")

    def place(script: str) -> None:
        program = tmp_path / "bin" / "docker"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    return place


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(tmp_path / "state")
    state.make()
    return state


def test_a_machine_without_docker_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """And that nothing else needs it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StartError, match="no docker command") as told:
        ensure_docker()
    assert "leave out --docker" in told.value.fix


def test_an_engine_that_does_not_answer_is_quoted(docker: Docker):
    """Docker's own words say whether it is away or forbidden."""
    docker("echo 'Is the docker daemon running?' >&2; exit 1")
    with pytest.raises(StartError, match="Is the docker daemon running") as told:
        ensure_docker()
    assert "systemctl start docker" in told.value.fix


def test_a_missing_compose_plugin_is_named(docker: Docker):
    """By the names under which it is installed."""
    docker("case \"$1\" in version) echo 20.10;; *) echo 'unknown command' >&2; exit 1;; esac")
    with pytest.raises(StartError, match="no compose plugin") as told:
        ensure_docker()
    assert "docker-compose-plugin" in told.value.fix


def test_images_that_cannot_be_pulled_have_stand_ins(docker: Docker, state: State):
    """The reason, the program that builds them, and the variables for images of one's own."""
    pull = "*pull*) echo 'no such host'; exit 1;; *) exit 1;; esac"
    docker("\n".join((WORKS, CONFIG, pull)))
    with pytest.raises(StartError, match="no such host") as told:
        Containers(state).start(PORTS)
    assert "deploy/images/build-standins" in told.value.fix
    assert "TANDEM_POSTGRES_IMAGE" in told.value.fix


def test_stand_ins_are_taken_where_the_public_images_are_not(docker: Docker, state: State):
    """With a notice; nothing is pulled then."""
    standin = dict(line.split("=") for line in STANDINS.read_text().splitlines()[1:])["TANDEM_POSTGRES_IMAGE"]
    here = f'"image inspect "*) case "$3" in {standin}|kafka|temporal) ;; *) exit 1;; esac;;'
    pull = "*pull*) echo pulled; exit 1;; *' up '*) echo 'up was asked'; exit 1;; *) exit 1;; esac"
    docker("\n".join((WORKS, CONFIG, here, pull)))
    notices: list[str] = []
    with pytest.raises(StartError, match="up was asked"):
        Containers(state, notices.append).start(PORTS)
    assert notices[0] == "stand-ins are used for public, which are not on this machine"


def test_each_folder_has_a_project_of_its_own(tmp_path: Path):
    """The same folder has the same one, however it is named, so that its data is found again."""
    one, other = State(tmp_path / "one"), State(tmp_path / "other")
    again = State(tmp_path / "other" / ".." / "one")
    assert Containers(one).project == Containers(again).project
    assert Containers(one).project != Containers(other).project
    assert Containers(one).project.startswith("tandem-")


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ({"Status": "running", "Pid": 7, "Health": {"Status": "healthy"}}, "ready"),
        ({"Status": "running", "Pid": 7, "Health": {"Status": "starting"}}, "starting"),
        ({"Status": "running", "Pid": 7, "Health": {"Status": "unhealthy"}}, "unhealthy"),
        ({"Status": "running", "Pid": 7}, "ready"),
        ({"Status": "paused", "Pid": 7, "Health": {"Status": "healthy"}}, "paused"),
        ({"Status": "exited", "Pid": 0, "ExitCode": 137}, "exited (137)"),
    ],
)
def test_a_container_is_ready_only_when_it_runs_and_is_healthy(state: dict[str, object], shown: str):
    """Docker calls one healthy that is paused."""
    ports = {"5432/tcp": [{"HostPort": "15432"}], "1/tcp": None}
    told = {"State": state, "NetworkSettings": {"Ports": ports}, "RestartCount": 2}
    container = Container.read(told, "5432/tcp")
    assert container.state == shown
    if container.pid:
        assert (container.port, container.ports, container.restarts) == (15432, {15432}, 2)
