"""A stack whose workers are of a release of their own, and are exchanged while orders wait."""

import subprocess
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from deploy.local import processes, temporal
from deploy.local.child import Child, Plan
from deploy.local.ports import Ports
from deploy.local.processes import SERVICES, Role, Service
from deploy.local.stack import Stack
from tests.proof.record import Service as Namespace
from tests.proof.upgrade.releases import Release

Json = dict[str, Any]

_STOP_SECONDS = 10.0
_SETTINGS = {
    "TANDEM_LOG_FORMAT": "json",
    "TANDEM_PROVIDER_ATTEMPTS": "2",
    "TANDEM_WAREHOUSE_CANCEL_POLICY": "ask",
}


class House(Stack):
    """Engines, doors, relays and consumers of this code; whose the workers are is said by `crew`.

    A crew may have doors, relays and consumers of its own beside, as in the middle of a rolling upgrade."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "state", settings=_SETTINGS)
        self._releases = folder / "releases"
        self._homes: dict[Release, Path] = {}
        self._next_port = max(self.ports.taken.values()) + 1

    @property
    def stack(self) -> Stack:
        return self

    def _service_plans(self) -> Iterable[Plan]:
        return (plan for plan in super()._service_plans() if not plan.name.endswith("-worker"))

    @contextmanager
    def crew(
        self,
        release: Release,
        *,
        roles: Sequence[Role] = ("worker",),
        build: str = "",
        is_judged: bool = True,
    ) -> Generator["Crew"]:
        """These roles of both services work for that release too, its workers as this build of their
        deployments where it has a name; what they log is judged with the rest of the run, or is not."""
        if release not in self._homes:
            self._homes[release] = release.made(self._releases)
        ports = Ports.counted_from(self._next_port)
        self._next_port = max(ports.taken.values()) + 1
        logs = self.state.logs if is_judged else self.state.folder / "unjudged"
        crew = Crew(self, release, roles, build, self._homes[release], ports, logs)
        with crew:
            yield crew

    @contextmanager
    def without_consumers(self) -> Generator[None]:
        """The embedded broker has room for one consumer of a group, so those of this code make way."""
        ours = [self[processes.child_name(service, "consumer")] for service in SERVICES]
        for child in ours:
            child.stop(_STOP_SECONDS)
        yield
        for child in ours:
            child.start()


class Crew:
    """Processes of both services, of one release."""

    def __init__(
        self,
        house: House,
        release: Release,
        roles: Sequence[Role],
        build: str,
        home: Path,
        ports: Ports,
        logs: Path,
    ) -> None:
        self.release = release
        self._build = build
        self._house = house
        self._ports = ports
        self._children = [
            Child(self._plan(service, role, home, logs), restart=False, notice=lambda _: None)
            for service in SERVICES
            for role in roles
        ]

    def url(self, service: Service) -> str:
        """Where its own REST door of that service stands."""
        return f"http://127.0.0.1:{self._ports[processes.child_name(service, 'api')]}"

    def _plan(self, service: Service, role: Role, home: Path, logs: Path) -> Plan:
        name = processes.child_name(service, role)
        port = self._ports[name]

        def environment() -> Json:
            own = {"TANDEM_API_PORT" if role == "api" else "TANDEM_HEALTH_PORT": str(port)}
            if self._build:
                own |= {"TANDEM_DEPLOYMENT_NAME": deployment(service), "TANDEM_BUILD_ID": self._build}
            return self._house.environment(service, role) | own

        log = logs / f"{name}-{self.release.name}-{port}.log"
        return replace(processes.role_plan(service, role, port, log, environment), folder=home)

    def __enter__(self) -> "Crew":
        try:
            self._all(Child.start)
        except BaseException:
            self._all(Child.stop)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._all(lambda child: child.stop(_STOP_SECONDS))

    def _all(self, do: Callable[[Child], None]) -> None:
        with ThreadPoolExecutor(len(self._children)) as pool:
            list(pool.map(do, self._children))


def deployment(service: Service) -> str:
    """As the Helm chart names it."""
    return f"tandem/{processes.child_name(service, 'worker')}"


class Temporal:
    """What Temporal knows of a workflow, by its own HTTP door, and what an operator tells it."""

    def __init__(self, house: House) -> None:
        self._address = house.temporal_address
        self._http = httpx.Client(
            base_url=f"http://127.0.0.1:{house.ports['temporal-http']}/api/v1/namespaces", timeout=30
        )

    def rests(self, namespace: Namespace, workflow_id: str) -> bool:
        """It runs, has begun, and nobody works for it: it waits for somebody or for a time."""
        found = self._get(f"{namespace}/workflows/{workflow_id}")
        info: Json = found.get("workflowExecutionInfo", {})
        return (
            info.get("status") == "WORKFLOW_EXECUTION_STATUS_RUNNING"
            and int(info.get("historyLength", 0)) > 3
            and not found.get("pendingWorkflowTask")
            and not found.get("pendingActivities")
        )

    def is_calling(self, namespace: Namespace, workflow_id: str, activity: str) -> bool:
        """It waits for that activity, whose first try has failed."""
        pending: list[Json] = self._get(f"{namespace}/workflows/{workflow_id}").get("pendingActivities", [])
        return any(
            each["activityType"]["name"] == activity and int(each.get("attempt", 0)) > 1 for each in pending
        )

    def knock(self, namespace: Namespace, workflow_id: str) -> None:
        """It has something to do, and nothing has changed."""
        answer = self._http.post(f"{namespace}/workflows/{workflow_id}/signal/knock", json={})
        assert answer.status_code == 200, answer.text

    def failures(self, namespace: Namespace, workflow_id: str) -> set[str]:
        """Why workflow tasks of its newest run failed."""
        prefix = "WORKFLOW_TASK_FAILED_CAUSE_"
        told = self._events(namespace, workflow_id, "workflowTaskFailedEventAttributes")
        return {each["cause"].removeprefix(prefix) for each in told}

    def patches(self, namespace: Namespace, workflow_id: str) -> int:
        """How many guarded steps its newest run took as new ones."""
        told = self._events(namespace, workflow_id, "markerRecordedEventAttributes")
        return sum(each["markerName"] == "core_patch" for each in told)

    def build(self, namespace: Namespace, workflow_id: str) -> str:
        """The build of its worker's deployment that it is pinned to."""
        info: Json = self._get(f"{namespace}/workflows/{workflow_id}").get("workflowExecutionInfo", {})
        return info.get("versioningInfo", {}).get("deploymentVersion", {}).get("buildId", "")

    def line(self, namespace: Namespace, *words: str) -> bool:
        """What `temporal` was told is done; False where it was refused."""
        where = ["--address", self._address, "--namespace", namespace]
        done = subprocess.run(
            [temporal.binary(), *words, *where], check=False, capture_output=True, timeout=60
        )
        return done.returncode == 0

    def _events(self, namespace: Namespace, workflow_id: str, kind: str) -> list[Json]:
        found = self._get(f"{namespace}/workflows/{workflow_id}/history")
        return [each[kind] for each in found.get("history", {}).get("events", []) if kind in each]

    def _get(self, path: str) -> Json:
        """Nothing where there is none; no other answer passes for nothing."""
        answer = self._http.get(path)
        assert answer.status_code in (200, 404), answer.text
        return answer.json() if answer.status_code == 200 else {}
