"""The pair in containers: what `deploy/compose.yaml` says, two of each process, on networks that can be cut.

Each engine has a network of its own, so that one process can lose one engine and keep the others.
"""

import json
import os
import random
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self, cast

import httpx
from docker.errors import APIError
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.network import Network

from deploy.local.ports import Ports, is_free
from deploy.local.state import ROOT
from tests.e2e.containers import composed

Json = dict[str, Any]

DATABASE, TEMPORAL, KAFKA, PROVIDERS = "postgres", "temporal", "kafka", "sandbox"
NETWORKS = (DATABASE, TEMPORAL, KAFKA, PROVIDERS)
"""One for each engine, called like it; the collector is on that of the database."""
_NEEDS = {
    "api": (DATABASE, TEMPORAL),
    "worker": (DATABASE, TEMPORAL, PROVIDERS),
    "relay": (DATABASE, TEMPORAL, KAFKA),
    "consumer": (DATABASE, KAFKA),
    "migrate": (DATABASE,),
    "collector": (DATABASE,),
    "retention": (TEMPORAL,),
    "keys": (),
}
ROLES = ("api", "worker", "relay", "consumer")
SERVICES = ("order", "fulfillment")
ENGINES = (DATABASE, TEMPORAL, KAFKA, PROVIDERS, "collector")
PROCESSES = tuple(f"{service}-{role}{twin}" for service in SERVICES for role in ROLES for twin in ("", "-2"))
"""Both of each."""

_HEALTH_PORT = 8080
_TRIES = 5
_COLLECTOR = ROOT / "tests/e2e/containers/collector.yaml"


class Member:
    """One container, its networks and where its own health can be asked from outside."""

    def __init__(self, name: str, container: DockerContainer, alias: str, networks: list[Network]) -> None:
        self.name = name
        self.alias = alias
        self.container = container
        self.networks = networks
        self.health: str | None = None
        """The address of `/health/ready`; None for what is asked by its own health check."""
        self.check: list[str] = []

    @property
    def wrapped(self) -> Any:
        return self.container.get_wrapped_container()

    def create(self) -> None:
        """It runs, on every network it needs."""
        if self.networks:
            self.container.with_network(self.networks[0]).with_network_aliases(self.alias)
        self.container.start()
        for network in self.networks[1:]:
            network.connect(self.container.get_container_id(), [self.alias])

    def remove(self) -> None:
        self.container.stop()

    def is_ready(self) -> bool:
        """Asked at its own door, or by its health check."""
        if self.health is not None:
            try:
                return httpx.get(self.health, timeout=2).status_code == 200
            except httpx.TransportError:
                return False
        return not self.check or self.wrapped.exec_run(self.check).exit_code == 0

    def wait_ready(self, within_seconds: float = 60) -> None:
        """Raises AssertionError, with the end of its log, when it does not become so."""
        deadline = time.monotonic() + within_seconds
        while not self.is_ready():
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.name} is not ready:\n{self.log()}")
            time.sleep(0.1)

    def log(self, lines: int = 30) -> str:
        return self.wrapped.logs(tail=lines).decode(errors="replace")

    # What can happen to it.

    def kill(self) -> None:
        self.wrapped.kill()
        self.wrapped.wait(timeout=30)

    def stop(self, within_seconds: int = 30) -> int:
        """Its exit code after SIGTERM."""
        self.wrapped.stop(timeout=within_seconds)
        return self.wrapped.wait(timeout=within_seconds)["StatusCode"]

    def start(self) -> None:
        self.wrapped.start()

    def freeze(self) -> None:
        """It stands still, connections and all."""
        for _ in range(_TRIES):
            # On a busy machine the kernel does not always get all of its threads to stand still at once.
            with suppress(APIError):
                self.wrapped.pause()
            self.wrapped.reload()
            if self.wrapped.status == "paused":
                return
            time.sleep(0.5)
        raise AssertionError(f"{self.name} cannot be paused")

    def thaw(self) -> None:
        self.wrapped.unpause()

    def restart(self) -> None:
        self.wrapped.restart(timeout=30)

    def started_at(self) -> str:
        self.wrapped.reload()
        return self.wrapped.attrs["State"]["StartedAt"]


class House:
    """Everything in containers from entering to leaving."""

    def __init__(self, image: str, folder: Path) -> None:
        self.ports = Ports.anywhere()
        self.members: dict[str, Member] = {}
        self.networks: dict[str, Network] = {}
        self.spans_folder = folder / "spans"
        self._client = DockerClient()
        self._prefix = f"tandem-tests-{os.getpid()}-{int(time.time())}"
        self._volumes: set[str] = set()
        variables = {"TANDEM_IMAGE": image, "TANDEM_TELEMETRY_EXPORTER": "otlp"}
        self._definitions = composed.services(variables | composed.ports(self.ports))
        # Far from where other stacks look for theirs.
        self._health_ports = (
            port for port in range(random.randrange(28_000, 31_000), 32_000) if is_free(port)
        )

    # Where things are, as tests ask a stack.

    def __getitem__(self, name: str) -> Member:
        return self.members[name]

    @property
    def sandbox_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['sandbox']}"

    @property
    def kafka_servers(self) -> str:
        return f"127.0.0.1:{self.ports['kafka']}"

    def postgres_url(self, database: str = "orders") -> str:
        return f"postgresql://postgres:tandem@127.0.0.1:{self.ports['postgres']}/{database}"

    def read_spans(self) -> list[Json]:
        """Every span that the collector wrote, as the services' own exporter writes them."""
        file = self.spans_folder / "spans.jsonl"
        # The last line may still be on its way into the file.
        lines = file.read_text().split("\n")[:-1] if file.exists() else []
        return [span for line in lines for span in _spans_in(json.loads(line))]

    def url(self, process: str) -> str:
        """The REST door of an API, such as `order-api` or `fulfillment-api-2`."""
        health = self[process].health
        assert health is not None
        return health.removesuffix("/health/ready")

    # Its life.

    def __enter__(self) -> Self:
        # The public reaper removes what a killed run leaves behind; where it cannot be had, leaving does.
        testcontainers_config.ryuk_disabled = not self._has_image(testcontainers_config.ryuk_image)
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(Member.remove, self.members.values()))
        for network in self.networks.values():
            network.remove()
        for volume in self._volumes:
            self._client.client.volumes.get(volume).remove(force=True)

    def _start(self) -> None:
        self.spans_folder.mkdir(mode=0o777)
        self.spans_folder.chmod(0o777)
        for name in NETWORKS:
            self.networks[name] = Network().create()
        self._begin("keys", *ENGINES)
        self._end_of("keys")
        self._ready(DATABASE, TEMPORAL, KAFKA, PROVIDERS)
        self._begin("order-migrate", "fulfillment-migrate", "temporal-retention")
        self._end_of("order-migrate", "fulfillment-migrate", "temporal-retention")
        self._begin(*PROCESSES)
        self._ready(*PROCESSES)

    def _begin(self, *names: str) -> None:
        for name in names:
            self.members[name] = self._member(name)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(Member.create, [self[name] for name in names]))

    def _ready(self, *names: str) -> None:
        for name in names:
            self[name].wait_ready()

    def _end_of(self, *names: str) -> None:
        for name in names:
            assert self[name].wrapped.wait(timeout=60)["StatusCode"] == 0, self[name].log()

    # Faults.

    @contextmanager
    def cut(self, process: str, engine: str) -> Generator[None]:
        """The process is off the engine's network until the end of the block."""
        member, network = self[process], self._network(engine)
        network.disconnect(member.container.get_container_id())
        assert process not in self._connected(engine)
        try:
            yield
        finally:
            network.connect(member.container.get_container_id(), aliases=[member.alias])

    def _network(self, engine: str) -> Any:
        return self._client.client.networks.get(self.networks[engine].name)

    def _connected(self, engine: str) -> set[str]:
        ids = set(self._network(engine).attrs["Containers"])
        return {name for name, member in self.members.items() if member.container.get_container_id() in ids}

    # How.

    def _has_image(self, image: str) -> bool:
        return any(image in found.tags for found in self._client.client.images.list())

    def _member(self, name: str) -> Member:
        """A container as the compose file defines it; a second API is a copy of the first."""
        alias = name.removesuffix("-2")
        definition = self._definitions.get(name) or self._definitions[alias]
        container = DockerContainer(definition["image"], **_restrictions(definition))
        for folder in definition.get("tmpfs") or ():
            container.with_tmpfs_mount(folder)
        container.with_name(f"{self._prefix}-{name}").with_envs(**_environment_of(definition))
        container.with_command(definition["command"])
        for mount in self._mounts(name, definition):
            container.with_volume_mapping(*mount)
        needs = _NEEDS.get(alias.rpartition("-")[2], (name,))
        member = Member(name, container, alias, [self.networks[engine] for engine in needs])
        if name in PROCESSES:
            self._open_health(member, definition)
        else:
            for port in definition.get("ports") or ():
                _publish(container, port["target"], int(port["published"]))
            member.check = _health_check(definition)
        return member

    def _open_health(self, member: Member, definition: Json) -> None:
        inside = int(definition["environment"].get("TANDEM_API_PORT", _HEALTH_PORT))
        outside = next(self._health_ports)
        _publish(member.container, inside, outside)
        member.health = f"http://127.0.0.1:{outside}/health/ready"

    def _mounts(self, name: str, definition: Json) -> Iterator[tuple[str, str, str]]:
        if name == "collector":
            yield str(_COLLECTOR), "/etc/tandem/collector.yaml", "ro"
            yield str(self.spans_folder), "/spans", "rw"
            return
        for mount in definition.get("volumes") or ():
            source, mode = mount["source"], "ro" if mount.get("read_only") else "rw"
            if mount["type"] == "volume":
                source = f"{self._prefix}-{source}"
                self._volumes.add(source)
            yield source, mount["target"], mode


def _publish(container: DockerContainer, inside: int, outside: int) -> None:
    """On loopback only, which testcontainers has no word for."""
    cast("dict[str, tuple[str, int]]", container.ports)[f"{inside}/tcp"] = ("127.0.0.1", outside)


def _restrictions(definition: Json) -> Json:
    """What the container may not do, in the words of Docker's API."""
    found: Json = {
        name: definition[name] for name in ("read_only", "cap_drop", "security_opt") if name in definition
    }
    if "shm_size" in definition:
        found["shm_size"] = int(definition["shm_size"])
    if definition.get("entrypoint"):
        found["entrypoint"] = definition["entrypoint"]
    # Two dozen containers that are asked every few seconds would keep a core busy; we ask by ourselves.
    return found | {"healthcheck": {"test": ["NONE"]}}


def _environment_of(definition: Json) -> dict[str, str]:
    return definition.get("environment") or {}


def _health_check(definition: Json) -> list[str]:
    """Its command, without the word that says how it is run; empty where the image has its own."""
    check: Json = definition.get("healthcheck") or {}
    test: list[str] = check.get("test") or []
    return test[1:]


def _spans_in(batch: Json) -> Iterator[Json]:
    for resource in batch["resourceSpans"]:
        of = _plain(resource["resource"]["attributes"])
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                yield {
                    "traceId": span["traceId"],
                    "spanId": span["spanId"],
                    "parentSpanId": span.get("parentSpanId") or None,
                    "name": span["name"],
                    "kind": _KINDS[span["kind"]],
                    "service": of["service.name"],
                    "role": of["tandem.role"],
                    "attributes": _plain(span.get("attributes") or []),
                }


_KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")


def _plain(attributes: list[Json]) -> Json:
    return {each["key"]: next(iter(each["value"].values()), None) for each in attributes}
