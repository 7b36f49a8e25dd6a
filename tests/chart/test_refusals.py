"""Values that would not work are refused before anything reaches the cluster, with a word that helps."""

import pytest

from tests.chart.rendering import DEMO, EXAMPLES, refusal


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            "settings.TANDEM_LOG_LEVL=DEBUG",
            "'/settings': additional properties 'TANDEM_LOG_LEVL' not allowed",
        ),
        (
            "services.order.settings.TANDEM_POSTGRES_URL=postgresql://a:b@c/d",
            "'/services/order/settings': additional properties 'TANDEM_POSTGRES_URL' not allowed",
        ),
        ("settings.TANDEM_HEALTH_STOP_SECONDS=90", "additional properties 'TANDEM_HEALTH_STOP_SECONDS'"),
        ("settings.TANDEM_WORKFLOW_SLOTS=50", "'/settings/TANDEM_WORKFLOW_SLOTS': got number, want string"),
        ("roles.consumer.maxReplicas=17", "'/roles/consumer/maxReplicas': maximum: got 17, want 16"),
        ("services.order.roles.consumer.replicas=17", "'/services/order/roles/consumer/replicas': maximum"),
        ("roles.relay.maxReplicas=4", "'/roles/relay': additional properties 'maxReplicas' not allowed"),
        ("temporal.profiles.orders.adress=a:1", "additional properties 'adress' not allowed"),
        ("temporal.profiles.orders.address=https://a:1", "'/temporal/profiles/orders/address'"),
        ("temporal.profiles.orders.namespace=", "'/temporal/profiles/orders/namespace': minLength"),
        ("kafka.servers=kafka", "'/kafka/servers': 'kafka' does not match"),
        ("kafka.saslMechanism=GSSAPI", "'/kafka/saslMechanism': value must be one of"),
        ("secrets.names.order-wrker=x", "'/secrets/names': additional properties 'order-wrker'"),
        ("image.pullPolicy=Sometimes", "'/image/pullPolicy': value must be one of"),
        ("stopSeconds=1", "'/stopSeconds': minimum: got 1, want 5"),
        ("telemetry.exporter=file", "'/telemetry/exporter': value must be one of 'none', 'otlp'"),
        ("workerController.rollout.strategy=Progressive", "'/workerController/rollout': missing property"),
        # What a schema cannot say.
        ("kafka.servers=", "kafka.servers is required: host:port"),
        ("sandbox.enabled=false", "Url is required unless sandbox.enabled (a simulation)"),
        ("telemetry.exporter=otlp", "telemetry.endpoint is required with exporter otlp"),
        ("keda=true,roles.worker.replicas=11", "maxReplicas (10) is below replicas (11)"),
        ("hpa=true,roles.api.replicas=7", "maxReplicas (6) is below replicas (7)"),
        ("keda=true,temporal.configSecret=x", "keda asks Temporal itself: name its credentials in"),
    ],
)
def test_a_value_that_would_not_work_is_refused(values: str, said: str):
    """The demo with one thing wrong."""
    assert said in refusal(DEMO, f"--set={values}")


def test_the_controller_takes_one_kind_of_credentials():
    """As its own admission would say, only sooner."""
    said = refusal(
        EXAMPLES["temporal-cloud-api-key"], "--set=temporal.profiles.orders.tls.clientSecret=certificate"
    )
    assert "the Worker Controller takes an API key or a client certificate, not both" in said
