"""What the operators' own resources look like: the fields the chart uses, written down from their documents.

No schema of these kinds can be had offline; these say which fields exist and of what type they are, and
refuse all others. Sources: KEDA 2.22 (`ScaledObject`, `TriggerAuthentication`, the scalers for Temporal and
Kafka), Temporal's Worker Controller from 1.8 on (`api/v1alpha1`), the Prometheus operator (`PodMonitor`).
"""

from typing import Any

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string", "minLength": 1}
_NAME: Schema = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
_NUMERAL: Schema = {"type": "string", "pattern": "^[0-9]+$"}
_COUNT: Schema = {"type": "integer", "minimum": 1}
_DURATION: Schema = {"type": "string", "pattern": "^[0-9]+[smh]$"}


def _only(required: str, /, **fields: Schema) -> Schema:
    """An object of these fields and no others; the names in `required` must be there."""
    return {
        "type": "object",
        "properties": fields,
        "required": required.split(),
        "additionalProperties": False,
    }


_REFERENCE = _only("name", name=_NAME)
_METADATA = _only("name labels", name=_NAME, labels={"type": "object"})


def _temporal_trigger(**identity: Schema) -> Schema:
    """Of the scaler `temporal`, whose namespace and version are said so."""
    metadata = _only(
        " ".join(("endpoint", "taskQueue", "targetQueueSize", *identity)),
        endpoint={"type": "string", "pattern": "^[^/]+:[0-9]+$"},
        taskQueue=_TEXT,
        queueTypes={"enum": ["workflow", "activity", "workflow,activity"]},
        targetQueueSize=_NUMERAL,
        tlsServerName=_TEXT,
        enableTLS={"enum": ["true", "false"]},
        **identity,
    )
    return _only("type metadata", type={"const": "temporal"}, metadata=metadata, authenticationRef=_REFERENCE)


_UNVERSIONED = _temporal_trigger(namespace=_TEXT)
# The Worker Controller writes these for each version, and its webhook refuses what others wrote.
_VERSIONED = _temporal_trigger(
    namespace={"const": ""}, workerDeploymentName={"const": ""}, workerDeploymentBuildId={"const": ""}
)
_KAFKA_TRIGGER = _only(
    "type metadata",
    type={"const": "kafka"},
    metadata=_only(
        "bootstrapServers consumerGroup topic lagThreshold",
        bootstrapServers=_TEXT,
        consumerGroup=_TEXT,
        topic=_TEXT,
        lagThreshold=_NUMERAL,
        offsetResetPolicy={"enum": ["latest", "earliest"]},
        tls={"enum": ["enable", "disable"]},
        sasl={"enum": ["plaintext", "scram_sha256", "scram_sha512", "none"]},
    ),
    authenticationRef=_REFERENCE,
)


def _scaled_object(target: Schema, *triggers: Schema) -> Schema:
    return _only(
        "scaleTargetRef triggers minReplicaCount maxReplicaCount",
        scaleTargetRef=target,
        minReplicaCount=_COUNT,  # with 0 a queue that is quiet now and then costs a cold start each time
        maxReplicaCount=_COUNT,
        pollingInterval=_COUNT,
        triggers={"type": "array", "minItems": 1, "items": {"oneOf": list(triggers)}},
    )


_STEP = _only(
    "rampPercentage pauseDuration",
    rampPercentage={"type": "integer", "minimum": 1, "maximum": 99},
    pauseDuration=_DURATION,
)
_ROLLOUT: Schema = {
    **_only(
        "strategy",
        strategy={"enum": ["Manual", "AllAtOnce", "Progressive"]},
        steps={"type": "array", "minItems": 1, "maxItems": 20, "items": _STEP},
    ),
    "if": {"properties": {"strategy": {"const": "Progressive"}}},
    "then": {"required": ["steps"]},
}
_CONNECTION: Schema = {
    **_only(
        "hostPort",
        hostPort={"type": "string", "pattern": "^[a-zA-Z0-9.-]+:[0-9]+$"},
        apiKeySecretRef=_only("name key", name=_NAME, key=_TEXT),
        mutualTLSSecretRef=_REFERENCE,
        tls=_only("", serverName=_TEXT, caCertSecretRef=_REFERENCE),
    ),
    "not": {
        "anyOf": [
            {"required": ["apiKeySecretRef", "mutualTLSSecretRef"]},
            {
                "required": ["mutualTLSSecretRef", "tls"],
                "properties": {"tls": {"required": ["caCertSecretRef"]}},
            },
        ]
    },
}
_AUTHENTICATION = _only(
    "secretTargetRef",
    secretTargetRef={
        "type": "array",
        "minItems": 1,
        "items": _only(
            "parameter name key",
            parameter={"enum": ["apiKey", "ca", "cert", "key", "username", "password"]},
            name=_NAME,
            key=_TEXT,
        ),
    },
)
_TEMPLATE = _only(
    "workerDeploymentRef template",
    workerDeploymentRef=_REFERENCE,
    template=_only(
        "apiVersion kind spec",
        apiVersion={"const": "keda.sh/v1alpha1"},
        kind={"const": "ScaledObject"},
        # The target is left empty as well: it becomes the Deployment of each version.
        spec=_scaled_object({"type": "object", "maxProperties": 0}, _VERSIONED),
    ),
)
_WORKER_DEPLOYMENT = _only(
    "workerOptions rollout sunset template",
    replicas={"type": "integer", "minimum": 0},
    workerOptions=_only("connectionRef temporalNamespace", connectionRef=_REFERENCE, temporalNamespace=_TEXT),
    rollout=_ROLLOUT,
    sunset=_only("", scaledownDelay=_DURATION, deleteDelay=_DURATION),
    template={"type": "object", "required": ["metadata", "spec"]},
)
_POD_MONITOR = _only(
    "selector podMetricsEndpoints",
    selector={"type": "object"},
    podMetricsEndpoints={"type": "array", "minItems": 1, "items": _only("port", port=_TEXT, path=_TEXT)},
)

SCHEMAS: dict[str, Schema] = {
    f"{group}/{kind}": _only(
        "apiVersion kind metadata spec",
        apiVersion={"const": group},
        kind={"const": kind},
        metadata=_METADATA,
        spec=spec,
    )
    for group, kind, spec in (
        ("keda.sh/v1alpha1", "ScaledObject", _scaled_object(_REFERENCE, _UNVERSIONED, _KAFKA_TRIGGER)),
        ("keda.sh/v1alpha1", "TriggerAuthentication", _AUTHENTICATION),
        ("temporal.io/v1alpha1", "Connection", _CONNECTION),
        ("temporal.io/v1alpha1", "WorkerDeployment", _WORKER_DEPLOYMENT),
        ("temporal.io/v1alpha1", "WorkerResourceTemplate", _TEMPLATE),
        ("monitoring.coreos.com/v1", "PodMonitor", _POD_MONITOR),
    )
}
