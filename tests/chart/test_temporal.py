"""The rendered configuration leads our own clients to Temporal: self-hosted, and Cloud by API key or mTLS."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.service import TLSConfig

from contracts.chassis.settings import Profile
from contracts.chassis.temporal.wiring import onlooker
from tests.chart.rendering import (
    CHART,
    EVERYTHING,
    EXAMPLES,
    Manifest,
    container,
    environment,
    files,
    name_of,
    named,
    of_kind,
    processes,
    render,
)

PROFILES: tuple[Profile, ...] = ("orders", "fulfillments")
USES_TEMPORAL = ("api", "worker", "relay")
CERTIFICATES = "/run/secrets/temporal"


class Cluster:
    """What a process finds where it runs: the file, the certificates, the controller's variables."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._path = folder / "temporal.toml"
        monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(self._path))
        # The Worker Controller adds these; they may not win over the profiles, of which a process uses two.
        for name in ("TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE", "TEMPORAL_API_KEY"):
            monkeypatch.setenv(name, "elsewhere:1")
        for name in PROFILES:
            (folder / name).mkdir()
            for file in ("tls.crt", "tls.key", "ca.crt"):
                (folder / name / file).write_text(f"{name} {file}")

    async def client(self, toml: str, profile: Profile) -> Client:
        """Our own client; it has not connected yet."""
        self._path.write_text(toml.replace(CERTIFICATES, str(self.folder)))
        # Our loader takes keys that Temporal does not know; this one does not.
        assert set(ClientConfig.load(config_file_strict=True).profiles) == set(PROFILES)
        return await onlooker(profile)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(tmp_path, monkeypatch)


def mounted_toml(manifests: Sequence[Manifest], kind: str) -> str:
    """The file, which every process that speaks to Temporal mounts where its variable says."""
    source = named(manifests, kind, "shop-tandem-temporal")
    assert all(volume_name(kind, pod) == name_of(source) for pod in speakers(manifests))
    return source["data" if kind == "ConfigMap" else "stringData"]["temporal.toml"]


def speakers(manifests: Sequence[Manifest]) -> list[Manifest]:
    """The pods with a client of Temporal; no other has its configuration."""
    for _, role, pod in processes(manifests):
        variables = environment(manifests, pod)
        if role in USES_TEMPORAL:
            mounts = {mount["name"]: mount["mountPath"] for mount in container(pod)["volumeMounts"]}
            assert variables["TEMPORAL_CONFIG_FILE"] == f"{mounts['temporal']}/temporal.toml"
        else:
            assert "TEMPORAL_CONFIG_FILE" not in variables
    return [pod for _, role, pod in processes(manifests) if role in USES_TEMPORAL]


def volume_name(kind: str, pod: Manifest) -> str:
    (volume,) = [each for each in pod["spec"]["volumes"] if each["name"] == "temporal"]
    return volume["configMap"]["name"] if kind == "ConfigMap" else volume["secret"]["secretName"]


async def test_self_hosted(cluster: Cluster):
    """An address and a namespace; nothing is encrypted on the way."""
    toml = mounted_toml(render(EXAMPLES["self-hosted"]), "ConfigMap")
    for profile in PROFILES:
        client = await cluster.client(toml, profile)
        assert client.service_client.config.target_host == "temporal-frontend.temporal:7233"
        assert client.namespace == profile
        assert not client.service_client.config.tls
        assert client.service_client.config.api_key is None


async def test_temporal_cloud_by_an_api_key_that_was_given(cluster: Cluster, tmp_path: Path):
    """The file is a Secret then, and the key stands nowhere else."""
    key = tmp_path / "key"
    key.write_text('tmprl"<key>\n')
    manifests = render(
        EXAMPLES["temporal-cloud-api-key"],
        "--set=temporal.configSecret=",
        *(f"--set-file=temporal.profiles.{name}.apiKey={key}" for name in PROFILES),
    )
    toml = mounted_toml(manifests, "Secret")
    for profile in PROFILES:
        client = await cluster.client(toml, profile)
        assert client.service_client.config.target_host == "eu-central-1.aws.api.temporal.io:7233"
        assert client.namespace == f"{profile}.a1b2c"
        assert client.service_client.config.api_key == 'tmprl"<key>'
        assert client.service_client.config.tls
    assert not [each for each in manifests if each["kind"] != "Secret" and "tmprl" in str(each)]


async def test_temporal_cloud_by_a_secret_of_ones_own(cluster: Cluster):
    """As the chart's README writes it; the chart renders no file beside it."""
    manifests = render(EXAMPLES["temporal-cloud-api-key"])
    assert {volume_name("Secret", pod) for pod in speakers(manifests)} == {"temporal-cloud"}
    assert not [each for each in of_kind(manifests, "ConfigMap", "Secret") if "temporal" in name_of(each)]
    (written,) = re.findall(r"```toml\n(.+?)```", (CHART / "README.md").read_text(), re.DOTALL)
    for profile in PROFILES:
        client = await cluster.client(written, profile)
        assert client.namespace == f"{profile}.a1b2c"
        assert client.service_client.config.api_key
        assert client.service_client.config.tls


async def test_temporal_cloud_by_client_certificate(cluster: Cluster):
    """Each namespace by its own certificate, and the files are mounted where the configuration says."""
    manifests = render(EXAMPLES["temporal-cloud-mtls"])
    toml = mounted_toml(manifests, "ConfigMap")
    for profile in PROFILES:
        client = await cluster.client(toml, profile)
        assert client.service_client.config.target_host == f"{profile}.a1b2c.tmprl.cloud:7233"
        assert client.service_client.config.tls == TLSConfig(
            client_cert=f"{profile} tls.crt".encode(), client_private_key=f"{profile} tls.key".encode()
        )
        for pod in speakers(manifests):
            mounted = files(pod, f"{CERTIFICATES}/{profile}")
            assert mounted == dict.fromkeys(("tls.crt", "tls.key"), f"temporal-{profile}-tls")


async def test_a_private_authority_and_a_server_name(cluster: Cluster):
    """For a Temporal of one's own behind TLS."""
    toml = mounted_toml(render(*EVERYTHING), "ConfigMap")
    tls = (await cluster.client(toml, "orders")).service_client.config.tls
    assert isinstance(tls, TLSConfig)
    assert (tls.domain, tls.server_root_ca_cert) == ("temporal.example.com", b"orders ca.crt")


def test_versioned_workers_know_their_deployment_and_their_build():
    """The name as the controller makes it, and the build by the label it sets."""
    manifests = render(EXAMPLES["temporal-cloud-api-key"])
    for package, role, pod in processes(manifests):
        service = package.removesuffix("_service")
        variables = environment(manifests, pod)
        if role != "worker":
            assert "TANDEM_BUILD_ID" not in variables
            continue
        assert variables["TANDEM_DEPLOYMENT_NAME"] == f"retail/shop-tandem-{service}-worker"
        assert variables["TANDEM_BUILD_ID"] == "<metadata.labels['temporal.io/build-id']>"


def test_the_workers_connection_and_scaler_show_the_same_credentials():
    """The controller and KEDA ask Temporal themselves, at the same address, each with the same key."""
    manifests = render(EXAMPLES["temporal-cloud-api-key"])
    for worker in of_kind(manifests, "WorkerDeployment"):
        options = worker["spec"]["workerOptions"]
        connection = named(manifests, "Connection", options["connectionRef"]["name"])["spec"]
        template = named(manifests, "WorkerResourceTemplate", name_of(worker))["spec"]["template"]
        (trigger,) = template["spec"]["triggers"]
        assert trigger["metadata"]["endpoint"] == connection["hostPort"]
        service = name_of(worker).split("-")[2]
        assert (
            options["temporalNamespace"]
            == {"order": "orders", "fulfillment": "fulfillments"}[service] + ".a1b2c"
        )
        login = named(manifests, "TriggerAuthentication", trigger["authenticationRef"]["name"])["spec"]
        assert login["secretTargetRef"] == [{"parameter": "apiKey", **connection["apiKeySecretRef"]}]
