"""The stack under chaos: two of each process that may be two, all of them behind proxies."""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psutil

from deploy.local import processes
from deploy.local.child import Child, Plan
from deploy.local.ports import Ports
from deploy.local.processes import SERVICES, USES_KAFKA, Role, Service
from deploy.local.stack import Stack
from deploy.local.state import NAMESPACES, write_atomically
from tests.proof.chaos.proxy import Proxy

DOUBLED: tuple[Role, ...] = ("api", "worker", "relay")
"""Any number of each role may run; the embedded broker has room for one consumer of a group."""
ENGINES = ("postgres", "temporal", "kafka")
PROVIDERS = "providers"


class DoubledStack(Stack):
    """A stack whose services reach everything through proxies."""

    def __init__(self, folder: Path, proxies: Mapping[str, Proxy], *, kafka: str = "embedded") -> None:
        super().__init__(folder, kafka=kafka, settings={"TANDEM_LOG_FORMAT": "json"})
        self._proxies = proxies
        doubled = [second_name(service, role) for service in SERVICES for role in DOUBLED]
        beside = Ports.counted_from(max(self.ports.taken.values()) + 1)
        self._seconds = dict(zip(doubled, beside.taken.values(), strict=False))
        self.added: dict[str, Mapping[str, str]] = {}
        """More environment for a process, from its next start on."""

    @property
    def forgets_records(self) -> bool:
        """True where the broker keeps its records in memory only."""
        return self._kafka == "embedded"

    def urls(self, service: Service) -> list[str]:
        """Where both doors of the service stand."""
        return [self.url(service), f"http://127.0.0.1:{self._seconds[second_name(service, 'api')]}"]

    def health_port(self, name: str) -> int:
        """Where that process of ours tells its health."""
        return self._seconds.get(name) or self.ports[name]

    def environment(self, service: Service, role: Role) -> dict[str, str]:
        found = super().environment(service, role)
        if role == "migrate":
            return found
        through = urlsplit(found["TANDEM_POSTGRES_URL"])
        user = through.netloc.rpartition("@")[0]
        netloc = f"{user}@{self._proxies['postgres'].address}"
        return {
            **found,
            **self.added.get(processes.child_name(service, role), {}),
            "TANDEM_POSTGRES_URL": urlunsplit(through._replace(netloc=netloc)),
            "TANDEM_KAFKA_SERVERS": self._proxies["kafka"].address,
            "TANDEM_PAYMENTS_URL": f"http://{self._proxies[PROVIDERS].address}/payments",
            "TANDEM_CARRIER_URL": f"http://{self._proxies[PROVIDERS].address}/carrier",
            "TEMPORAL_CONFIG_FILE": str(self._temporal_config()),
        }

    def _temporal_config(self) -> Path:
        path = self.state.folder / "temporal-proxied.toml"
        if not path.exists():
            address = self._proxies["temporal"].address
            profiles = (f'[profile.{n}]\naddress = "{address}"\nnamespace = "{n}"\n' for n in NAMESPACES)
            write_atomically(path, "\n".join(profiles))
        return path

    def _service_plans(self) -> Iterable[Plan]:
        yield from super()._service_plans()
        for service in SERVICES:
            for role in DOUBLED:
                name = second_name(service, role)
                port = self._seconds[name]
                plan = processes.role_plan(
                    service, role, port, self._log(name), self._second_environment(service, role, port)
                )
                yield replace(plan, name=name)

    def _second_environment(self, service: Service, role: Role, port: int) -> Callable[[], dict[str, str]]:
        variable = "TANDEM_API_PORT" if role == "api" else "TANDEM_HEALTH_PORT"

        def environment() -> dict[str, str]:
            own = {variable: str(port)}
            return {
                **self.environment(service, role),
                **self.added.get(second_name(service, role), {}),
                **own,
            }

        return environment

    def _after_change(self, child: Child) -> None:
        super()._after_change(child)
        if child.is_ready and child.name == "kafka" and self._kafka == "embedded":
            for service in SERVICES:
                for role in set(DOUBLED) & set(USES_KAFKA):
                    if second := self.children.get(second_name(service, role)):
                        second.begin_again("the broker has moved")


def second_name(service: Service, role: Role) -> str:
    return f"{processes.child_name(service, role)}-2"


@dataclass(frozen=True)
class House:
    """The stack and the proxies in front of its engines."""

    stack: DoubledStack
    proxies: Mapping[str, Proxy]


def began_at(pid: int | None) -> float | None:
    try:
        return psutil.Process(pid).create_time() if pid is not None else None
    except psutil.Error:
        return None


def names(role: str) -> list[str]:
    """Every process of a role, or the engine of that name."""
    if role in (*ENGINES, "sandbox"):
        return [role]
    first = [f"{service.removesuffix('_service')}-{role}" for service in SERVICES]
    return first + ([f"{name}-2" for name in first] if role in DOUBLED else [])


@asynccontextmanager
async def open_house(folder: Path, *, kafka: str = "embedded") -> AsyncGenerator[House]:
    """Everything runs until the house is left."""
    async with AsyncExitStack() as opened:
        proxies: dict[str, Proxy] = {}
        stack = DoubledStack(folder, proxies, kafka=kafka)
        targets = {
            "postgres": lambda: f"127.0.0.1:{stack.ports['postgres']}",
            "temporal": lambda: stack.temporal_address,
            "kafka": lambda: stack.kafka_servers,
            PROVIDERS: lambda: stack.sandbox_url.removeprefix("http://"),
        }
        for name, target in targets.items():
            proxies[name] = await opened.enter_async_context(Proxy(name, target, is_kafka=name == "kafka"))
        await opened.enter_async_context(stack)
        yield House(stack, proxies)
