"""What the chart says to the processes is what they read, and it is what their contracts say."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr
from pydantic_settings import BaseSettings

import fulfillment_service.settings
import order_service.settings
from contracts import fulfillment, order
from contracts.chassis import settings
from contracts.chassis.roles import ServiceSettings
from contracts.chassis.roles.service import ROLES
from contracts.chassis.settings import KafkaSettings
from contracts.chassis.temporal.wiring import key_ring
from deploy.keys import new_ring
from fulfillment_service.bootstrap import Settings as FulfillmentSettings
from fulfillment_service.bootstrap.api import application as fulfillment_api
from fulfillment_service.settings import FulfillmentApiSettings, FulfillmentKafkaSettings
from order_service.bootstrap import Settings as OrderSettings
from order_service.bootstrap.api import application as order_api
from order_service.settings import OrderApiSettings, OrderKafkaSettings
from tests.chart.rendering import (
    CASES,
    CHART,
    EVERYTHING,
    EXAMPLES,
    Manifest,
    container,
    each_case,
    environment,
    files,
    named,
    of_kind,
    processes,
    render,
)

SECRETS = "/run/secrets/tandem"
OURS: dict[str, type[ServiceSettings]] = {
    "order_service": OrderSettings,
    "fulfillment_service": FulfillmentSettings,
}
THE_CHARTS_OWN = frozenset(
    """
    TANDEM_API_HOST TANDEM_API_PORT TANDEM_HEALTH_HOST TANDEM_HEALTH_PORT TANDEM_HEALTH_STOP_SECONDS
    TANDEM_KAFKA_SERVERS TANDEM_KAFKA_SECURITY_PROTOCOL TANDEM_KAFKA_SASL_MECHANISM TANDEM_KAFKA_REPLICATION
    TANDEM_KAFKA_PARTITIONS TANDEM_KAFKA_GROUP TANDEM_PAYMENTS_URL TANDEM_CARRIER_URL
    TANDEM_TELEMETRY_EXPORTER TANDEM_TELEMETRY_FILE TANDEM_DEPLOYMENT_NAME TANDEM_BUILD_ID
    """.split()  # noqa: SIM905
)
"""Told by other values, or by nobody: `settings` does not take them."""
SECRET = frozenset({"TANDEM_POSTGRES_URL", "TANDEM_KAFKA_USERNAME"})
"""Beside those of type SecretStr."""


def variables() -> Iterator[tuple[str, bool]]:
    """Every variable that a block of either service reads, and whether it is a secret."""
    for module in (settings, order_service.settings, fulfillment_service.settings):
        for block in vars(module).values():
            if isinstance(block, type) and issubclass(block, BaseSettings):
                prefix = block.model_config.get("env_prefix", "")
                for name, field in block.model_fields.items():
                    variable = str(field.validation_alias or f"{prefix}{name}".upper())
                    yield variable, variable in SECRET or "SecretStr" in str(field.annotation)


ALL = dict(variables())


@each_case
def test_every_variable_is_one_that_the_services_read(options: tuple[str, ...]):
    """A misspelt one would be ignored without a word."""
    manifests = render(*options)
    for _, _, pod in processes(manifests):
        ours = {name for name in environment(manifests, pod) if name.startswith("TANDEM_")}
        assert ours <= ALL.keys() | {"TANDEM_SECRETS_DIR"}
        assert not any(ALL.get(name) for name in ours), "a secret is a file, no variable"
        assert {name.upper() for name in files(pod, SECRETS) if name != "*"} <= ALL.keys()


def test_the_schema_offers_every_setting_and_no_secret():
    """A new setting of a service wants its line in values.schema.json, under $defs/settings."""
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    offered = set(schema["$defs"]["settings"]["properties"])
    wanted = {name for name, is_secret in ALL.items() if not is_secret} - THE_CHARTS_OWN
    assert offered == wanted


@each_case
def test_the_services_read_what_they_are_told(
    options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The very settings classes, on the rendered variables and on files as they would be mounted."""
    manifests = render(*options)
    for package, role, pod in processes(manifests):
        folder = tmp_path / package / role
        folder.mkdir(parents=True)
        for name, value in _secrets(pod).items():
            (folder / name).write_text(f"{value}\n")
        with monkeypatch.context() as told:
            for name, value in environment(manifests, pod).items():
                told.setenv(name, str(folder) if value == SECRETS else value)
            found = OURS[package]()
            assert found.postgres.url == "postgresql://a-role@db/a-database"
            assert found.kafka.servers.startswith(("kafka", "broker"))
            assert found.logs.format == "json"
            profile = "orders" if package == "order_service" else "fulfillments"
            if role == "worker":
                assert key_ring("orders", found.temporal)
                assert key_ring("fulfillments", found.temporal)
            elif role == "relay":
                assert key_ring(profile, found.temporal)
            if role in ("relay", "consumer") and found.kafka.security_protocol == "SASL_SSL":
                assert found.kafka.username == "somebody"
                assert found.kafka.password == SecretStr("a password")


def _secrets(pod: Manifest) -> dict[str, str]:
    known = {
        "*": "",
        "tandem_codec_orders_keys": new_ring(),
        "tandem_codec_fulfillments_keys": new_ring(),
        "tandem_kafka_username": "somebody",
        "tandem_kafka_password": "a password",
    }
    mounted = {name: known[name] for name in files(pod, SECRETS) if name != "*"}
    return mounted | {"tandem_postgres_url": "postgresql://a-role@db/a-database"}


def test_each_process_sees_the_secrets_of_its_role_alone():
    """Its own database role, the key rings it writes with, the broker only where it speaks to it."""
    pods = {(package, role): pod for package, role, pod in processes(render(*EVERYTHING))}
    own = {key: files(pod, SECRETS) for key, pod in pods.items()}
    assert own["order_service", "api"] == {"*": "shop-tandem-order-api"}
    assert own["order_service", "migrate"] == {"*": "orders-owner"}
    assert own["order_service", "relay"] == {
        "*": "shop-tandem-order-relay",
        "tandem_codec_orders_keys": "shop-tandem-codec",
        "tandem_kafka_username": "kafka-tandem",
        "tandem_kafka_password": "kafka-tandem",
    }
    assert own["fulfillment_service", "worker"].keys() == {
        "*",
        "tandem_codec_orders_keys",
        "tandem_codec_fulfillments_keys",
    }
    assert own["fulfillment_service", "consumer"].keys() == {
        "*",
        "tandem_kafka_username",
        "tandem_kafka_password",
    }
    assert len({names["*"] for names in own.values()}) == len(own)


def test_no_secret_is_rendered_by_itself():
    """Whatever the example; and no ConfigMap has a variable that is a secret."""
    for options in CASES.values():
        assert not of_kind(render(*options), "Secret")
        for each in of_kind(render(*options), "ConfigMap"):
            assert not any(ALL.get(name) for name in each["data"])
            assert "api_key" not in each["data"].get("temporal.toml", "")


@pytest.mark.parametrize(
    ("service", "port", "queue", "group", "reads"),
    [
        ("order", OrderApiSettings().port, order.TASK_QUEUE, OrderKafkaSettings().group, fulfillment.TOPIC),
        (
            "fulfillment",
            FulfillmentApiSettings().port,
            fulfillment.TASK_QUEUE,
            FulfillmentKafkaSettings().group,
            order.TOPIC,
        ),
    ],
)
def test_the_facts_are_those_of_the_contracts(service: str, port: int, queue: str, group: str, reads: str):
    """Ports, task queues, groups and topics; a consumer reads what the other service writes."""
    manifests = render(EXAMPLES["self-hosted"])
    (door,) = named(manifests, "Service", f"shop-tandem-{service}-api")["spec"]["ports"]
    assert door["port"] == port
    (backlog,) = named(manifests, "ScaledObject", f"shop-tandem-{service}-worker")["spec"]["triggers"]
    assert backlog["metadata"]["taskQueue"] == queue
    assert backlog["metadata"]["namespace"] == {"order": "orders", "fulfillment": "fulfillments"}[service]
    (lag,) = named(manifests, "ScaledObject", f"shop-tandem-{service}-consumer")["spec"]["triggers"]
    assert (lag["metadata"]["consumerGroup"], lag["metadata"]["topic"]) == (group, reads)


def test_there_are_never_more_consumers_than_partitions():
    """One more would have nothing to read."""
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    consumer = schema["$defs"]["roles"]["properties"]["consumer"]["properties"]
    assert consumer["maxReplicas"]["maximum"] == consumer["replicas"]["maximum"] == KafkaSettings().partitions
    for options in CASES.values():
        for scaler in of_kind(render(*options), "ScaledObject"):
            if scaler["spec"]["triggers"][0]["type"] == "kafka":
                assert scaler["spec"]["maxReplicaCount"] <= KafkaSettings().partitions


def test_the_ingress_lets_in_what_is_meant_for_outside():
    """Every path of the public API, and neither metrics nor health nor operations."""
    apis: dict[str, Any] = {
        "order": order_api(OrderApiSettings()),
        "fulfillment": fulfillment_api(FulfillmentApiSettings()),
    }
    for service, api in apis.items():
        (rule,) = named(render(*EVERYTHING), "Ingress", f"shop-tandem-{service}-api")["spec"]["rules"]
        open_ones = {path["path"] for path in rule["http"]["paths"]}
        served = {f"/{path.split('/')[1]}" for path in api.openapi()["paths"]}
        assert open_ones == served - {"/ops", "/circuit-breakers"}


def test_what_a_service_says_wins_over_what_all_say():
    """Its settings and its roles."""
    manifests = render(
        EXAMPLES["demo"],
        "--set=settings.TANDEM_LOG_LEVEL=WARNING,services.order.settings.TANDEM_LOG_LEVEL=DEBUG",
        "--set=services.order.roles.worker.replicas=7,services.order.roles.worker.resources.limits.memory=2Gi",
    )
    levels = {
        package: environment(manifests, pod)["TANDEM_LOG_LEVEL"] for package, _, pod in processes(manifests)
    }
    assert levels == {"order_service": "DEBUG", "fulfillment_service": "WARNING"}
    worker = named(manifests, "Deployment", "shop-tandem-order-worker")["spec"]
    assert worker["replicas"] == 7
    assert container(worker["template"])["resources"] == {
        "requests": {"cpu": "250m", "memory": "384Mi"},
        "limits": {"memory": "2Gi"},
    }
    assert named(manifests, "Deployment", "shop-tandem-fulfillment-worker")["spec"]["replicas"] == 1


def test_a_changed_setting_starts_the_pods_anew():
    """Variables are read at the start, so the pod's annotation changes with them."""

    def annotations(*options: str) -> list[dict[str, str]]:
        return [
            pod["metadata"]["annotations"]
            for _, role, pod in processes(render(EXAMPLES["demo"], *options))
            if role in ROLES
        ]

    before, after = annotations(), annotations("--set=settings.TANDEM_LOG_LEVEL=DEBUG")
    assert all(old != new for old, new in zip(before, after, strict=True))
