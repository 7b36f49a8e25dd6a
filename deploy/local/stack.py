"""The whole system on one machine: engines first, then migrations, then both services.

A `Stack` is what `tandem up` runs and what the tests run:
`with Stack(folder, engines={"postgres"}, services=False) as stack: ...`
gives engines on free ports over a folder of its own.
"""

import asyncio
import json
import os
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

from deploy.local import external, kafka, kafka_apache, migrations, postgres, processes, temporal
from deploy.local.child import Child, Notice, Plan, StartError
from deploy.local.ports import Ports
from deploy.local.processes import DATABASE, ROLES, SERVICES, USES_KAFKA, Role, Service
from deploy.local.state import State

ENGINES = ("postgres", "temporal", "kafka", "sandbox")

_Thing = TypeVar("_Thing")


class Stack:
    """Processes that are started in the order of their needs and stopped in the reverse order."""

    def __init__(
        self,
        folder: Path,
        *,
        engines: Collection[str] = ENGINES,
        services: bool = True,
        ui: bool = False,
        kafka: str = "embedded",
        postgres: str | None = None,
        temporal: str | None = None,
        ports: Ports | None = None,
        restart: bool = True,
        settings: Mapping[str, str] | None = None,
        notice: Notice = lambda _: None,
    ) -> None:
        """`kafka` is embedded, apache or HOST:PORT; `postgres` and `temporal` name servers instead of ours.

        `restart` starts a process again when it dies; `settings` is extra environment for the services."""
        self.state = State(folder)
        self.ports = ports or Ports.anywhere()
        self.children: dict[str, Child] = {}
        self._engines = set(engines)
        self._services = services
        self._ui = ui
        self._kafka = kafka
        self._postgres = postgres
        self._temporal = temporal
        self._restart = restart
        self._settings = dict(settings or {})
        self._notice = notice
        self._layers: list[list[Child]] = []
        self._stopped = threading.Event()
        self._changed = threading.Lock()
        self.on_change: Callable[[], object] = lambda: None
        """Called when a process got another pid or address."""

    # What others need to know.

    def __getitem__(self, name: str) -> Child:
        """The process of that name, to be killed, stopped or started."""
        return self.children[name]

    def postgres_url(self, database: str = "orders") -> str:
        if self._postgres:
            return urlunsplit(urlsplit(self._postgres)._replace(path=f"/{database}"))
        return f"postgresql://{postgres.USER}@127.0.0.1:{self.ports['postgres']}/{database}"

    @property
    def temporal_address(self) -> str:
        return self._temporal or f"127.0.0.1:{self.ports['temporal']}"

    @property
    def kafka_servers(self) -> str:
        if self._kafka == "embedded":
            return kafka.address(self.state.folder)
        return f"127.0.0.1:{self.ports['kafka']}" if self._kafka == "apache" else self._kafka

    def port_of(self, name: str) -> int | None:
        """Where a process stands; the embedded broker chooses for itself."""
        if name == "kafka":
            return int(self.kafka_servers.rpartition(":")[2] or 0) or None
        return self.ports.taken.get(name)

    @property
    def sandbox_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['sandbox']}"

    def url(self, service: Service) -> str:
        """Where the REST door of a service stands."""
        return f"http://127.0.0.1:{self.ports[processes.child_name(service, 'api')]}"

    @property
    def env(self) -> dict[str, str]:
        """Every address as environment variables, for the command line and for tests."""
        return {
            "TANDEM_STATE_DIR": str(self.state.folder),
            "TANDEM_ORDER_URL": self.url("order_service"),
            "TANDEM_FULFILLMENT_URL": self.url("fulfillment_service"),
            "TANDEM_SANDBOX_URL": self.sandbox_url,
            "TANDEM_ORDERS_POSTGRES_URL": self.postgres_url("orders"),
            "TANDEM_FULFILLMENTS_POSTGRES_URL": self.postgres_url("fulfillments"),
            "TANDEM_KAFKA_SERVERS": self.kafka_servers if self._has("kafka") else "",
            "TANDEM_TELEMETRY_FILE": str(self.state.spans),
            "TEMPORAL_ADDRESS": self.temporal_address,
            "TEMPORAL_CONFIG_FILE": str(self.state.temporal_config),
        }

    def read_spans(self) -> list[dict[str, Any]]:
        """What `TANDEM_TELEMETRY_EXPORTER=file` has written."""
        path = self.state.spans
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def environment(self, service: Service, role: Role) -> dict[str, str]:
        """The environment one role of a service is run with."""
        port: dict[str, str] = {}
        if role != "migrate":
            variable = "TANDEM_API_PORT" if role == "api" else "TANDEM_HEALTH_PORT"
            port = {variable: str(self.ports[processes.child_name(service, role)])}
        own = {
            "TANDEM_POSTGRES_URL": self.postgres_url(DATABASE[service]),
            "TANDEM_PAYMENTS_URL": f"{self.sandbox_url}/payments",
            "TANDEM_CARRIER_URL": f"{self.sandbox_url}/carrier",
            "TANDEM_TELEMETRY_FILE": str(self.state.spans),
            "TEMPORAL_CONFIG_FILE": str(self.state.temporal_config),
        }
        if self._has("kafka"):
            own["TANDEM_KAFKA_SERVERS"] = self.kafka_servers
        rings = self.state.key_rings()
        return {**os.environ, **processes.STOPPING, **own, **rings, **port, **self._settings}

    # Its life.

    def start(self) -> None:
        """Everything is ready. Raises StartError, with nothing left running."""
        self._stopped.clear()
        self.state.make()
        self.state.write_temporal_config(self.temporal_address)
        self.state.key_rings()
        try:
            self._start_layer(self._engine_plans())
            self._prepare_external()
            if self._services:
                self.migrate()
                self._start_layer(self._service_plans())
        except BaseException:
            self.stop()
            raise

    def migrate(self) -> None:
        """Both databases are at the newest revision; PostgreSQL must run."""
        memory = None if self._postgres else migrations.Memory(self.state.folder)
        behind: list[Service] = [
            service for service in SERVICES if memory is None or not memory.knows(service)
        ]
        _side_by_side(self._migrate, behind)
        if memory and behind:
            memory.remember(*behind)

    def stop(self) -> None:
        """Nothing runs any more: services first, then what they stand on, within five seconds."""
        self._stopped.set()
        for layer, seconds in zip(reversed(self._layers), (3.0, 2.0), strict=False):
            _side_by_side(lambda child, limit=seconds: child.stop(limit), layer)
        self._layers.clear()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    # How.

    def _has(self, engine: str) -> bool:
        return engine in self._engines

    def _log(self, name: str) -> Path:
        return self.state.logs / f"{name}.log"

    def _engine_plans(self) -> Iterable[Plan]:
        folder, ports = self.state.folder, self.ports
        if self._has("postgres") and not self._postgres:
            yield postgres.plan(folder, ports["postgres"], self._log("postgres"))
        if self._has("temporal") and not self._temporal:
            yield temporal.plan(folder, ports, self._log("temporal"), ui=self._ui)
        if self._has("kafka") and self._kafka == "embedded":
            yield kafka.plan(folder, self._log("kafka"))
        if self._has("kafka") and self._kafka == "apache":
            yield kafka_apache.plan(folder, ports, self._log("kafka"), self._notice)
        if self._has("sandbox"):
            yield processes.sandbox_plan(folder, ports["sandbox"], self._log("sandbox"))
        if self._ui:
            yield processes.codec_plan(ports["codec"], self._log("codec"), self._codec_environment)

    def _service_plans(self) -> Iterable[Plan]:
        for service in SERVICES:
            for role in ROLES:
                name = processes.child_name(service, role)
                yield processes.role_plan(
                    service, role, self.ports[name], self._log(name), self._environment_of(service, role)
                )

    def _environment_of(self, service: Service, role: Role) -> Callable[[], dict[str, str]]:
        return lambda: self.environment(service, role)

    def _codec_environment(self) -> dict[str, str]:
        return {**os.environ, **self.state.key_rings()}

    def _start_layer(self, plans: Iterable[Plan]) -> None:
        if self._stopped.is_set():
            raise StartError("the stack was stopped while it started", "start it again")
        layer = [Child(plan, restart=self._restart, notice=self._notice) for plan in plans]
        for child in layer:
            child.on_change = lambda child=child: self._after_change(child)
            self.children[child.name] = child
        self._layers.append(layer)
        if layer:
            self._notice(f"starting {', '.join(child.name for child in layer)}")
        _side_by_side(Child.start, layer)

    def _after_change(self, child: Child) -> None:
        """Who spoke to a broker that came back on another port is restarted with the new address."""
        with self._changed:
            if child.is_ready and child.name == "kafka" and self._kafka == "embedded":
                for service in SERVICES:
                    for role in USES_KAFKA:
                        with suppress(KeyError):
                            self[processes.child_name(service, role)].begin_again("the broker has moved")
            self.on_change()

    def _prepare_external(self) -> None:
        if self._postgres:
            external.ensure_databases(self._postgres, postgres.DATABASES)
        if self._temporal:
            external.ensure_namespaces(self._temporal, temporal.NAMESPACES)
        if self._has("kafka") and self._kafka not in ("embedded", "apache"):
            external.ensure_reachable(self._kafka)

    def _migrate(self, service: Service) -> None:
        log = self._log(processes.child_name(service, "migrate"))
        migrations.migrate(service, self.environment(service, "migrate"), log)


def _side_by_side(do: Callable[[_Thing], None], these: Sequence[_Thing]) -> None:
    """All are done at once; the first error is raised after all have ended."""
    if not these:
        return
    with ThreadPoolExecutor(len(these)) as pool:
        futures = [pool.submit(do, this) for this in these]
    for future in futures:
        future.result()
