"""What `tandem up --docker` stands on: PostgreSQL, Kafka and Temporal in containers of `deploy/compose.yaml`.

Each state folder has a compose project of its own, so that no two of them, and no plain `docker compose up`,
share a container or a volume. Every container's log is also a file among the stack's logs.
"""

import hashlib
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from deploy.local.child import Child, Notice, Plan, StartError, tail
from deploy.local.ports import Ports
from deploy.local.state import ROOT, State

COMPOSE_FILE = ROOT / "deploy" / "compose.yaml"
STANDINS = ROOT / "deploy" / "images" / "standins.env"
ENGINES = {"postgres": "5432/tcp", "kafka": "9092/tcp", "temporal": "7233/tcp"}
"""Each with its port inside."""
_RETENTION = "temporal-retention"
"""Ends once closed workflows are kept for 30 days."""

_READY_SECONDS = 90.0
_STOP_SECONDS = 10
_POLL_SECONDS = 0.4


@dataclass(frozen=True)
class Container:
    """What Docker says of one container."""

    state: str
    """`ready`, else in Docker's words: starting, unhealthy, paused, exited (137) … or `gone`."""
    pid: int | None = None
    port: int | None = None
    ports: frozenset[int] = frozenset()
    """All that it holds on this machine."""
    restarts: int = 0
    exit_code: int | None = None

    @classmethod
    def read(cls, told: Mapping[str, Any], inside: str = "") -> Self:
        now: dict[str, Any] = told["State"]
        state: str = now["Status"]
        if state == "exited":
            return cls(f"exited ({now['ExitCode']})", exit_code=now["ExitCode"])
        if state == "running":
            health: str = now.get("Health", {}).get("Status", "healthy")
            state = "ready" if health == "healthy" else health
        published: dict[str, list[dict[str, str]] | None] = told["NetworkSettings"]["Ports"]
        ports = {name: int(held[0]["HostPort"]) for name, held in published.items() if held}
        held = frozenset(ports.values())
        return cls(state, now["Pid"] or None, ports.get(inside), held, told["RestartCount"])


def ensure_docker() -> str:
    """The versions of the engine and of compose. Raises StartError when one of them is missing."""
    if shutil.which("docker") is None:
        raise StartError(
            "there is no docker command", "install Docker, or leave out --docker: nothing else needs it"
        )
    engine = _docker("version", "--format", "{{.Server.Version}}")
    if engine.returncode != 0:
        raise StartError(
            f"no Docker engine answers:\n  {_last_line(engine.stderr)}",
            "start it (systemctl start docker, or Docker Desktop) and see that you may use it",
        )
    compose = _docker("compose", "version", "--short")
    if compose.returncode != 0:
        raise StartError(
            "docker has no compose plugin",
            "install it (docker-compose-plugin or docker-compose-v2), or leave out --docker",
        )
    return f"engine {engine.stdout.strip()}, compose {compose.stdout.strip()}"


class Containers:
    """The three engines of one state folder; their data are the volumes of the folder's own project."""

    def __init__(self, state: State, notice: Notice = lambda _: None) -> None:
        self._state = state
        self._notice = notice
        self._log = state.logs / "compose.log"
        self._stopping = threading.Event()
        self._environment = dict(os.environ)
        self._followers: list[Child] = []
        self.project = f"tandem-{hashlib.sha256(str(state.folder.resolve()).encode()).hexdigest()[:8]}"
        self.known: dict[str, Container] = {}
        """As they last were, without asking."""

    # Where they are, once started with these ports.

    @staticmethod
    def addresses(ports: Ports) -> dict[str, str]:
        """What a `Stack` needs to know to stand on them."""
        password = quote(os.environ.get("TANDEM_POSTGRES_PASSWORD", "tandem"), safe="")
        return {
            "postgres": f"postgresql://postgres:{password}@127.0.0.1:{ports['postgres']}/postgres",
            "kafka": f"127.0.0.1:{ports['kafka']}",
            "temporal": f"127.0.0.1:{ports['temporal']}",
        }

    @property
    def were_used(self) -> bool:
        """The folder was started with --docker since it was made, so there may be volumes."""
        return self._state.containers.exists()

    def look(self) -> dict[str, Container]:
        """Each as it is now."""
        told = self._inspected([*ENGINES, _RETENTION])
        self.known = {
            name: Container.read(told[name], inside) if name in told else Container("gone")
            for name, inside in ENGINES.items()
        }
        return self.known

    def processes(self) -> dict[str, dict[str, Any]]:
        """As last seen, in the form in which a stack describes its processes."""
        return {
            name: {
                "pid": container.pid,
                "ready": container.state == "ready",
                "restarts": container.restarts,
                "port": container.port,
                "log": str(self._state.logs / f"{name}.log"),
                "container": self._name(name),
                "state": container.state,
            }
            for name, container in self.known.items()
        }

    # Their life.

    def start(self, ports: Ports) -> None:
        """All are healthy and closed workflows are kept. Raises StartError."""
        self._stopping.clear()
        ensure_docker()
        self._environment |= {
            "TANDEM_POSTGRES_PORT": str(ports["postgres"]),
            "TANDEM_KAFKA_PORT": str(ports["kafka"]),
            "TANDEM_TEMPORAL_PORT": str(ports["temporal"]),
            "TANDEM_TEMPORAL_UI_PORT": str(ports["temporal-ui"]),
            "TANDEM_CODEC_URL": f"http://127.0.0.1:{ports['codec']}",
        }
        self._state.containers.touch()
        self._ensure_images()
        self._notice(f"starting {', '.join(ENGINES)} in containers, compose project {self.project}")
        self._await_healthy(self._begin("up", "--detach", *ENGINES, _RETENTION))
        for name in ENGINES:
            follower = Child(self._following(name), restart=True, notice=lambda _: None)
            self._followers.append(follower)
            follower.start()

    def interrupt(self) -> None:
        """A start that is under way ends at once."""
        self._stopping.set()

    def stop(self) -> None:
        """None of them runs; their data are kept."""
        for follower in self._followers:
            follower.stop(timeout=1)
        self._followers.clear()
        if self.were_used and shutil.which("docker"):
            self._wait(self._begin("stop", f"--timeout={_STOP_SECONDS}"))

    def still_run(self) -> bool:
        """Some of them do; without a stack they are left over from one that was killed."""
        return self.were_used and any(container.pid for container in self.look().values())

    def remove(self) -> None:
        """Containers, network and volumes are gone. Raises StartError when Docker cannot be asked."""
        if not self.were_used:
            return
        ensure_docker()
        gone = self._compose("down", "--volumes", f"--timeout={_STOP_SECONDS}", "--remove-orphans")
        if gone.returncode != 0:
            raise StartError(
                f"the volumes of {self.project} could not be removed:\n  {_last_line(gone.stderr)}",
                f"docker compose --project-name {self.project} down --volumes",
            )

    # How.

    def _name(self, service: str) -> str:
        return f"{self.project}-{service}-1"

    def _inspected(self, services: Sequence[str]) -> dict[str, Any]:
        """What Docker tells of those that exist."""
        if shutil.which("docker") is None:
            return {}
        names = {f"/{self._name(service)}": service for service in services}
        told = _docker("container", "inspect", *(name[1:] for name in names))
        with suppress(ValueError):
            return {names[each["Name"]]: each for each in json.loads(told.stdout)}
        return {}

    def _command(self, *arguments: str) -> list[str]:
        return ["docker", "compose", f"--file={COMPOSE_FILE}", f"--project-name={self.project}", *arguments]

    def _compose(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(*arguments), env=self._environment, capture_output=True, text=True, check=False
        )

    def _begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Compose does so, in a session of its own: our Ctrl-C is not its own."""
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._command("--progress=plain", *arguments), env=self._environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(2 * _STOP_SECONDS)

    def _pause(self, process: subprocess.Popen[bytes]) -> None:
        """A moment passes. Raises StartError, and ends the process, when we were told to stop."""
        if self._stopping.wait(_POLL_SECONDS):
            process.terminate()
            self._wait(process)
            raise StartError("the stack was stopped while it started", "start it again")

    def _ensure_images(self) -> None:
        """Every image is here: it was, or its stand-in is, or it was pulled. Raises StartError."""
        missing = self._missing_images()
        if missing:
            given, standins = self._environment, read_environment(STANDINS)
            self._environment = {**standins, **given}
            if self._missing_images():
                self._environment = given
                self._pull(missing)
            else:
                self._notice(f"stand-ins are used for {', '.join(missing)}, which are not on this machine")

    def _missing_images(self) -> list[str]:
        shown = self._compose("config", "--format=json")
        if shown.returncode != 0:
            raise StartError(
                f"compose cannot read {COMPOSE_FILE}:\n  {_last_line(shown.stderr)}",
                "a newer compose plugin; 2.20 and later will do",
            )
        services: dict[str, Any] = json.loads(shown.stdout)["services"]
        images = [services[name]["image"] for name in ENGINES]
        return [image for image in images if _docker("image", "inspect", image).returncode != 0]

    def _pull(self, images: Sequence[str]) -> None:
        self._notice(f"pulling {', '.join(images)}")
        process = self._begin("pull", *ENGINES)
        while process.poll() is None:
            self._pause(process)
        if process.returncode != 0:
            raise StartError(
                f"images cannot be pulled:\n{tail(self._log, 3)}",
                "deploy/images/build-standins makes stand-ins, which `up --docker` then takes by itself; "
                "or name images that you have in TANDEM_POSTGRES_IMAGE, TANDEM_KAFKA_IMAGE and "
                "TANDEM_TEMPORAL_IMAGE",
            )

    def _await_healthy(self, process: subprocess.Popen[bytes]) -> None:
        deadline, told = time.monotonic() + _READY_SECONDS, set[str]()
        while True:
            for name, container in self.look().items():
                if container.state == "ready" and name not in told:
                    told.add(name)
                    self._notice(f"{name} is ready")
            if process.poll() == 0 and len(told) == len(ENGINES) and self._retention_is_set():
                return
            if process.returncode or time.monotonic() > deadline:
                self._give_up(process, told)
            self._pause(process)

    def _retention_is_set(self) -> bool:
        told = self._inspected([_RETENTION]).get(_RETENTION)
        return told is not None and Container.read(told).exit_code == 0

    def _give_up(self, process: subprocess.Popen[bytes], ready: set[str]) -> None:
        process.terminate()
        for name in set(self.known) - ready:
            with (self._state.logs / f"{name}.log").open("ab") as log:
                command = ["docker", "logs", "--tail=50", self._name(name)]
                subprocess.run(command, stdout=log, stderr=log, check=False)
        states = ", ".join(f"{name} is {container.state}" for name, container in self.known.items())
        raise StartError(
            f"the containers did not start ({states}):\n{tail(self._log, 4)}",
            f"see {self._state.logs}; `tandem reset` starts from nothing",
        )

    def _following(self, name: str) -> Plan:
        """What the container writes, from where our file of it ends."""
        log = self._state.logs / f"{name}.log"

        def command() -> list[str]:
            since = [f"--since={log.stat().st_mtime:.6f}"] if log.exists() and log.stat().st_size else []
            return [str(shutil.which("docker")), "logs", "--follow", *since, self._name(name)]

        return Plan(name=name, command=command, ready=lambda: True, log=log)


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)


def _last_line(text: str) -> str:
    return next(iter(text.strip().splitlines()[-1:]), "")


def read_environment(file: Path) -> dict[str, str]:
    """The variables of an env file."""
    lines = (line.partition("=") for line in file.read_text().splitlines() if not line.startswith("#"))
    return {name: value for name, equals, value in lines if equals}
