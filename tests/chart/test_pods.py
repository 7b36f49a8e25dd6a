"""How the processes stand in the cluster: who they may be, what finds them, what ends them."""

from importlib import import_module

import pytest

from contracts.chassis.roles.service import ROLES
from contracts.chassis.settings import HealthSettings
from tests.chart.rendering import (
    DEMO,
    EXAMPLES,
    RUNNING,
    Manifest,
    container,
    each_case,
    environment,
    name_of,
    of_kind,
    pods,
    processes,
    render,
)

SERVICES = ("order_service", "fulfillment_service")


@each_case
def test_every_role_of_both_services_runs_once(options: tuple[str, ...]):
    """And each migrates before; all by the very commands of the packages."""
    commands = [(package, role) for package, role, _ in processes(render(*options))]
    assert sorted(commands) == sorted((package, role) for package in SERVICES for role in (*ROLES, "migrate"))
    for package in SERVICES:
        assert import_module(f"{package}.__main__")


@each_case
def test_no_process_is_root_or_writes_to_its_image(options: tuple[str, ...]):
    """Nor has it a token of the cluster, a capability, or a writable folder beyond /tmp and the sandbox's."""
    for _, pod in pods(render(*options)):
        spec, only = pod["spec"], container(pod)
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert only["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        writable = {mount["mountPath"] for mount in only["volumeMounts"] if not mount.get("readOnly")}
        assert writable <= {"/tmp", "/state"}
        assert {"memory", "cpu"} <= only["resources"]["requests"].keys()
        assert "memory" in only["resources"]["limits"]


@each_case
def test_every_selector_finds_the_pods_of_one_process_type(options: tuple[str, ...]):
    """Services, budgets, policies and Deployments alike; the labels of two types never overlap."""
    manifests = render(*options)
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(manifests)}
    for manifest in of_kind(manifests, "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"):
        spec = manifest["spec"]
        selector = spec["podSelector"] if manifest["kind"] == "NetworkPolicy" else spec["selector"]
        wanted: Manifest = selector.get("matchLabels", selector)
        found = [name for name, has in labels.items() if wanted.items() <= has.items()]
        assert found == [name_of(manifest)]
    for _, pod in pods(manifests):
        for spread in pod["spec"].get("topologySpreadConstraints", []):
            assert spread["labelSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


@each_case
def test_what_scales_or_guards_a_process_names_one_that_is_there(options: tuple[str, ...]):
    """And what is scaled says no number of its own, which each upgrade would put back."""
    manifests = render(*options)
    running = {name_of(each): each for each in of_kind(manifests, *RUNNING)}
    scaled: set[str] = set()
    for scaler in of_kind(manifests, "ScaledObject", "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]["name"]
        assert running[target]["kind"] == "Deployment"
        scaled.add(target)
    for template in of_kind(manifests, "WorkerResourceTemplate"):
        target = template["spec"]["workerDeploymentRef"]["name"]
        assert running[target]["kind"] == "WorkerDeployment"
        scaled.add(target)
    assert {name for name, each in running.items() if "replicas" not in each["spec"]} == scaled
    assert not any(name.endswith("-relay") for name in scaled)


def test_every_process_has_a_disruption_budget():
    """One pod at a time may be taken away."""
    manifests = render(EXAMPLES["self-hosted"])
    budgets = {name_of(each): each["spec"] for each in of_kind(manifests, "PodDisruptionBudget")}
    assert set(budgets) == {name_of(each) for each in of_kind(manifests, "Deployment")}
    assert all(spec["maxUnavailable"] == 1 for spec in budgets.values())


@each_case
def test_kubernetes_waits_longer_than_a_process_needs_to_stop(options: tuple[str, ...]):
    """Else the kill comes before the process could say what it cut off."""
    manifests = render(*options)
    for _, role, pod in processes(manifests):
        if role in ROLES:
            bound = float(environment(manifests, pod)["TANDEM_HEALTH_STOP_SECONDS"])
            assert pod["spec"]["terminationGracePeriodSeconds"] >= bound + 5


def test_the_bound_of_stopping_moves_the_grace_with_it():
    """One value says both; its default is the services' own."""
    (_, _, pod), *_ = processes(render(DEMO))
    assert pod["spec"]["terminationGracePeriodSeconds"] == HealthSettings().stop_seconds + 15
    (_, _, longer), *_ = processes(render(DEMO, "--set=stopSeconds=90"))
    assert longer["spec"]["terminationGracePeriodSeconds"] == 105


@each_case
def test_probes_ask_where_the_process_answers(options: tuple[str, ...]):
    """An API on its own port, everyone else on the port of its health."""
    manifests = render(*options)
    for _, role, pod in processes(manifests):
        if role not in ROLES:
            continue
        only = container(pod)
        (port,) = only["ports"]
        variable = "TANDEM_API_PORT" if role == "api" else "TANDEM_HEALTH_PORT"
        assert environment(manifests, pod)[variable] == str(port["containerPort"])
        asked = {name: only[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")}
        assert {get["port"] for get in asked.values()} == {port["name"]}
        assert [get["path"] for get in asked.values()] == ["/health/ready", "/health/ready", "/health/live"]


@each_case
def test_services_lead_to_a_port_that_is_open(options: tuple[str, ...]):
    """By its name."""
    manifests = render(*options)
    ports = {
        name: {port["name"] for port in container(pod).get("ports", [])} for name, pod in pods(manifests)
    }
    for service in of_kind(manifests, "Service"):
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports[name_of(service)]


@each_case
def test_the_migration_needs_nothing_of_the_release(options: tuple[str, ...]):
    """A hook runs first: on the first install no ConfigMap and no service account of ours is there yet."""
    manifests = render(*options)
    ours = {name_of(each) for each in manifests}
    for job in of_kind(manifests, "Job"):
        assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
        spec = job["spec"]["template"]["spec"]
        assert "serviceAccountName" not in spec
        assert "envFrom" not in container(job["spec"]["template"])
        for volume in spec["volumes"]:
            assert "configMap" not in volume
            for source in volume.get("projected", {}).get("sources", []):
                assert source["secret"]["name"] not in ours - {name_of(job)}


def test_the_simulation_is_off_and_says_what_it_is():
    """Only who asks for it has the sandbox, marked as what it is; without it the providers are real ones."""
    for name, values in EXAMPLES.items():
        manifests = render(values)
        simulated = [each for each in of_kind(manifests, "Deployment") if name_of(each).endswith("-sandbox")]
        assert len(simulated) == (name == "demo")
        for each in simulated:
            assert "no money moves" in each["metadata"]["annotations"]["tandem/simulated"]
            assert each["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"] == (
                "simulation-sandbox"
            )


@pytest.mark.parametrize(("hosted", "annotated"), [("self-hosted", False), ("temporal-cloud-mtls", True)])
def test_metrics_are_found_one_way_or_the_other(hosted: str, annotated: bool):
    """By the Prometheus operator, or by annotations that name the port of each pod."""
    manifests = render(EXAMPLES[hosted])
    assert len(of_kind(manifests, "PodMonitor")) == (not annotated)
    for _, role, pod in processes(manifests):
        if role in ROLES:
            port = pod["metadata"]["annotations"].get("prometheus.io/port")
            assert port == (str(container(pod)["ports"][0]["containerPort"]) if annotated else None)
