"""What an operator may set, in blocks both services share.

A block is read from `TANDEM_` variables when it is built; a service changes a default by subclassing the
block, so that the environment still wins. Units are in the names, reasons beside the numbers.

Secrets may come as files: where TANDEM_SECRETS_DIR names a folder, a file in it that has a variable's name,
in small letters (`tandem_postgres_url`), holds its value; the variable itself still wins.
"""

import os
from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings.exceptions import SettingsError

PROVIDER_ATTEMPTS = 12
Profile = Literal["orders", "fulfillments"]
"""The two Temporal namespaces, and the profile of Temporal's own configuration that leads to each."""


class Block(BaseSettings):
    """Settings of one kind, read from the environment and from the folder of secrets."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        folder = os.environ.get("TANDEM_SECRETS_DIR")
        if not folder:
            return init_settings, env_settings
        if not Path(folder).is_dir():
            raise SettingsError(f"TANDEM_SECRETS_DIR names no folder: {folder}")
        return init_settings, env_settings, SecretsSettingsSource(settings_cls, secrets_dir=folder)


def _block(prefix: str) -> SettingsConfigDict:
    return SettingsConfigDict(
        env_prefix=prefix,
        use_attribute_docstrings=True,
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
        validate_by_name=True,
    )


class PostgresSettings(Block):
    """The service's own database."""

    model_config = _block("TANDEM_POSTGRES_")

    url: str = Field(default="postgresql://tandem@127.0.0.1:5432/orders", repr=False)
    """May hold a password, so it is never printed."""
    pool_size: int = Field(default=8, ge=1, le=200)
    """Connections per process; PostgreSQL's own limit of 100 is shared by all processes."""
    pool_wait_seconds: float = Field(default=3.0, gt=0)
    """A request that finds no free connection in this time is answered 503."""
    connect_timeout_seconds: int = Field(default=5, ge=1)
    statement_timeout_seconds: float = Field(default=10.0, gt=0)
    lock_timeout_seconds: float = Field(default=5.0, gt=0)
    idle_in_transaction_timeout_seconds: float = Field(default=15.0, gt=0)


class KafkaSettings(Block):
    """The broker, and who we are to it."""

    model_config = _block("TANDEM_KAFKA_")

    servers: str = "127.0.0.1:9092"
    """`host:port`, several separated by commas."""
    group: str = "tandem"
    """Consumer group; each service has its own."""
    partitions: int = Field(default=16, ge=1)
    """Of a topic that we create; frozen, because a record's partition is its order's bucket."""
    replication: int = Field(default=1, ge=1)
    """Copies of a topic that we create: more than one on a cluster that is to survive a broker."""
    fetch_max_wait_ms: int = Field(default=150, ge=1)
    """How long the broker may hold a fetch open that has nothing to give; see `kafka.consumer`."""
    batch_records: int = Field(default=200, ge=1)
    """At most so many records are handled between two offset commits."""
    request_timeout_seconds: float = Field(default=5.0, gt=0)
    """A record not acknowledged by then is reported as failed, and sent again by the relay."""
    retry_pause_seconds: float = Field(default=0.5, gt=0)
    """Before a batch whose handler failed is handled again; doubles up to half a minute."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str | None = None
    password: SecretStr | None = None


class TemporalSettings(Block):
    """How we run on Temporal; where it is, is Temporal's own configuration (TEMPORAL_CONFIG_FILE)."""

    model_config = _block("TANDEM_")

    codec_orders_keys: SecretStr = SecretStr("")
    """Key ring `<keyId>:<base64 of 32 bytes>[,<older>…]` of namespace `orders`; the first key encrypts."""
    codec_fulfillments_keys: SecretStr = SecretStr("")
    """The same for namespace `fulfillments`. Whoever writes to a namespace needs its ring."""
    workflow_sandbox: bool = False
    """Sandboxed, a worker finishes a third fewer orders each second; tests run both ways."""
    tracing: Literal["plugin", "interceptor"] = "plugin"
    """`plugin` is Temporal's experimental OpenTelemetryPlugin, `interceptor` its stable predecessor."""
    workflow_slots: int = Field(default=100, ge=2)
    """Workflow tasks at a time. Fixed: the resource-based tuner was 2 to 5 times slower, and hung once."""
    activity_slots: int = Field(default=100, ge=1)
    local_activity_slots: int = Field(default=100, ge=1)
    workflow_cache: int = Field(default=2000, ge=0)
    """Workflows kept in memory; larger than what is open, since a miss replays the whole history."""
    workflow_pollers: int = Field(default=4, ge=2)
    activity_pollers: int = Field(default=4, ge=1)
    graceful_shutdown_seconds: float = Field(default=15.0, ge=0)
    """Time that running activities get when the worker stops; Temporal's default of 0 cuts them."""
    deployment_name: str = ""
    """Worker Deployment to poll for; empty switches versioning off, as in development."""
    build_id: str = ""
    """Version of this build in the deployment; workflows stay PINNED to the one they started on."""
    provider_attempts: int = Field(default=PROVIDER_ATTEMPTS, ge=1)
    """Tries of a call to a provider, two and a half minutes, before its step waits for a person; none counts
    while the provider is known to be away."""
    connect_attempts: int = Field(default=10, ge=1)
    connect_backoff_seconds: float = Field(default=0.2, gt=0)
    """Before the second attempt; doubles up to five seconds."""


class ExceptionSettings(Block):
    """How long something may wait for a person."""

    model_config = _block("TANDEM_EXCEPTIONS_")

    escalate_seconds: float = Field(default=3600.0, gt=0)
    """What is open for so long has the first level."""
    escalate_again_seconds: float = Field(default=86400.0, gt=0)
    """And for so long the second one."""

    @property
    def escalate(self) -> timedelta:
        return timedelta(seconds=self.escalate_seconds)

    @property
    def escalate_again(self) -> timedelta:
        return timedelta(seconds=self.escalate_again_seconds)


class ApiSettings(Block):
    """Where the REST door stands."""

    model_config = _block("TANDEM_API_")

    host: str = "127.0.0.1"
    port: int = Field(default=3232, ge=0, le=65535)
    max_body_bytes: int = Field(default=64 * 1024, ge=1)
    """A larger body is answered 413 before it is parsed."""
    body_seconds: float = Field(default=10.0, gt=0)
    """A body that has not come by then is answered 408: nobody keeps a connection busy with nothing."""
    in_flight: int = Field(default=16, ge=1)
    """Requests worked on at a time: twice the pool, as some are in Python while others are in the store."""
    waiting_room: int = Field(default=64, ge=0)
    """Requests that wait for a place; with all taken, the next is answered 503 before it is read."""
    longest_wait_seconds: float = Field(default=1.0, gt=0)
    """Then a request that found no place is answered 503: who waits longer has often gone already."""
    overload_retry_seconds: int = Field(default=2, ge=1)
    """`Retry-After` of these 503."""
    client_per_second: int = Field(default=1000, ge=1)
    """Requests of one address in the long run; beyond, 429. Far above what one door can answer, and so only
    against a client that takes all of it: lower it where many share a door."""
    client_burst: int = Field(default=2000, ge=1)
    """Requests of one address at once after a rest."""
    clients_remembered: int = Field(default=10_000, ge=1)
    """Addresses, two hundred bytes each; the one that has been quiet for longest is forgotten first."""
    trusted_proxies: str = ""
    """Addresses or networks such as `10.0.0.0/8`, with commas, whose `X-Forwarded-For` is believed."""
    open_requests: int = Field(default=1000, ge=1)
    """Those whose bodies are still coming among them; one more is answered 503, since each costs memory."""


class HealthSettings(Block):
    """How a process says that it is well, and how it stops."""

    model_config = _block("TANDEM_HEALTH_")

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    """Serves /health/live, /health/ready and /metrics for roles without an API; 0 switches it off."""
    stalled_after_seconds: float = Field(default=60.0, gt=0)
    """A loop without progress for so long makes the process not live."""
    drain_seconds: float = Field(default=0.2, ge=0)
    """Between `not ready` and closing the door, so that a load balancer sees it first."""
    stop_seconds: float = Field(default=25.0, gt=0)
    """All of the stopping together; what is not done by then is cut off and said in the log."""


class TelemetrySettings(Block):
    """Where spans go."""

    model_config = _block("TANDEM_TELEMETRY_")

    exporter: Literal["none", "file", "otlp"] = "none"
    """`otlp` is configured by OpenTelemetry's own OTEL_EXPORTER_OTLP_* variables."""
    file: Path = Path("spans.jsonl")
    """One span a line; several processes may append to the same file."""
    sql: Literal["transaction", "statement", "none"] = "transaction"
    """A span for each transaction, or for each statement in it as well (parameters left out). Statements are
    148 of an order's 222 spans, and a tenth of its processor time on the whole stack."""
    http: bool = True
    """A span for each outgoing request, queries left out."""
    export_delay_seconds: float = Field(default=1.0, gt=0)
    """A span waits at most so long in the batch; a crash loses no more than that."""


class LogSettings(Block):
    """How the log reads."""

    model_config = _block("TANDEM_LOG_")

    format: Literal["line", "json"] = "line"
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class RelaySettings(Block):
    """How rows leave the database."""

    model_config = _block("TANDEM_")

    outbox_batch_size: int = Field(default=500, ge=1)
    """Rows of all buckets of a relay that are sent before they are marked."""
    knock_batch_size: int = Field(default=50, ge=1)
    """Knocks claimed at a time; they are sent side by side."""
    poll_seconds: float = Field(default=5.0, gt=0, validation_alias="TANDEM_RELAY_POLL_SECONDS")
    """The safety net when nothing seems to be waiting; a notification wakes the relay sooner."""
    lease_seconds: float = Field(default=10.0, gt=0, validation_alias="TANDEM_RELAY_LEASE_SECONDS")
    """A bucket whose relay died is taken over after this time, on the database's clock."""
    backoff_seconds: float = Field(default=0.5, gt=0, validation_alias="TANDEM_RELAY_BACKOFF_SECONDS")
    """Before a row that could not be sent is tried again; doubles."""
    max_backoff_seconds: float = Field(
        default=30.0, gt=0, validation_alias="TANDEM_RELAY_MAX_BACKOFF_SECONDS"
    )
    keep_published_days: float = Field(default=7.0, gt=0, validation_alias="TANDEM_OUTBOX_KEEP_DAYS")


class HousekeepingSettings(Block):
    """When the reconciler doubts that all is well, and how long what nobody needs any more is kept."""

    model_config = _block("TANDEM_")

    reconcile_interval_seconds: float = Field(default=60.0, ge=1)
    """From one look to the next."""
    reconcile_page: int = Field(default=200, ge=1)
    """So many open orders or parcels are looked at in one go; the next look goes on behind them."""
    reconcile_quiet_seconds: float = Field(default=120.0, gt=0)
    """Of what moved within this time nothing is asked: it is well."""
    reconcile_stalled_seconds: float = Field(default=1800.0, gt=0)
    """Without a fact for so long, and without a reason for it, an order or a parcel is stuck."""
    reconcile_wish_seconds: float = Field(default=3600.0, gt=0)
    """A wish that waits so long for the other service's answer is sent again."""
    inbox_keep_days: float = Field(default=30.0, gt=0)
    """Longer than a record can come again: 7 days in the outbox and as long in the topic of the broker."""
    receipts_keep_days: float = Field(default=90.0, gt=0)
    """Of orders and parcels that have ended. So long an Idempotency-Key is the same order."""
    heard_keep_days: float = Field(default=90.0, gt=0)
    """What the other service told of an order that has ended; its own facts are kept for ever."""
    reconciliations_keep_days: float = Field(default=90.0, gt=0)

    @property
    def quiet(self) -> timedelta:
        return timedelta(seconds=self.reconcile_quiet_seconds)

    @property
    def stalled(self) -> timedelta:
        return timedelta(seconds=self.reconcile_stalled_seconds)

    @property
    def wish(self) -> timedelta:
        return timedelta(seconds=self.reconcile_wish_seconds)
