"""The chart as Helm renders it."""

import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local import helm
from deploy.local.state import ROOT

Manifest = dict[str, Any]

CHART = ROOT / "deploy" / "helm" / "tandem"
EXAMPLES = {
    path.stem: f"--values={path}" for path in sorted((ROOT / "deploy" / "helm" / "examples").glob("*.yaml"))
}
DEMO = EXAMPLES["demo"]
EVERYTHING = (
    EXAMPLES["temporal-cloud-mtls"],
    "--set=sandbox.enabled=true,workerController.enabled=true,metrics.podMonitor=true",
    "--set=temporal.profiles.orders.tls.serverName=temporal.example.com",
    "--set=temporal.profiles.orders.tls.caSecret=temporal-orders-tls",
    "--set=image.pullSecrets[0]=registry,nodeSelector.disk=ssd,podLabels.team=shop,podAnnotations.note=x",
    "--set=tolerations[0].key=shop,tolerations[0].operator=Exists,serviceAccount.annotations.role=x",
    "--set=telemetry.exporter=otlp,telemetry.endpoint=http://collector:4318",
)
CASES = {**{name: (values,) for name, values in EXAMPLES.items()}, "everything": EVERYTHING}
"""Helm's options for each thing that is rendered."""
each_case = pytest.mark.parametrize("options", CASES.values(), ids=CASES.keys())

ROLES = ("api", "worker", "relay", "consumer")
RUNNING = ("Deployment", "WorkerDeployment")


def run(command: str, *options: str, chart: Path = CHART) -> subprocess.CompletedProcess[str]:
    """What became of a command of Helm's on the chart."""
    return subprocess.run(
        [helm.binary(), *command.split(), str(chart), *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def template(*options: str, release: str = "shop") -> subprocess.CompletedProcess[str]:
    # A helm built from source believes that it speaks to Kubernetes 1.20.
    return run(f"template {release} --namespace=retail --kube-version=1.34.0", *options)


@cache
def render(*options: str, release: str = "shop") -> Sequence[Manifest]:
    """The manifests of that release in the namespace `retail`."""
    done = template(*options, release=release)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def refusal(*options: str) -> str:
    """What Helm says of values that the chart does not take."""
    done = template(*options)
    assert done.returncode != 0, "rendered all the same"
    return done.stderr


def of_kind(manifests: Sequence[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def named(manifests: Sequence[Manifest], kind: str, name: str) -> Manifest:
    """The one manifest of that kind and name."""
    found = [each for each in of_kind(manifests, kind) if each["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} times {kind} {name}"
    return found[0]


def name_of(manifest: Manifest) -> str:
    return manifest["metadata"]["name"]


def pods(manifests: Sequence[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """The name and the pod template of everything that runs."""
    for manifest in of_kind(manifests, *RUNNING, "Job"):
        yield name_of(manifest), manifest["spec"]["template"]


def processes(manifests: Sequence[Manifest]) -> Iterator[tuple[str, str, Manifest]]:
    """Service, role and pod template of each process of the services."""
    for _, pod in pods(manifests):
        package, role, *_ = container(pod)["args"]
        if package.endswith("_service"):
            yield package, role, pod


def container(pod: Manifest) -> Manifest:
    """The pod's only container."""
    (only,) = pod["spec"]["containers"]
    return only


def environment(manifests: Sequence[Manifest], pod: Manifest) -> dict[str, str]:
    """What the process finds; a reference to a field of the pod appears as `<its path>`."""
    found: dict[str, str] = {}
    for source in container(pod).get("envFrom", []):
        found |= named(manifests, "ConfigMap", source["configMapRef"]["name"])["data"]
    for variable in container(pod)["env"]:
        field = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
        found[variable["name"]] = f"<{field}>" if field else variable["value"]
    return found


def files(pod: Manifest, folder: str) -> dict[str, str | None]:
    """The Secret of each file mounted there; under the name `*` that of which all keys become files."""
    (volume,) = [
        volume
        for mount in container(pod)["volumeMounts"]
        for volume in pod["spec"]["volumes"]
        if mount["mountPath"] == folder and volume["name"] == mount["name"]
    ]
    sources: list[Manifest] = [each["secret"] for each in volume["projected"]["sources"]]
    return {
        item["path"]: secret["name"] for secret in sources for item in secret.get("items", [{"path": "*"}])
    }
