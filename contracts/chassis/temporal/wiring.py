"""Clients and workers of the two namespaces, all with the same plugin."""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, Self, TypedDict

from opentelemetry import trace
from temporalio.client import Client, GrpcCompression, KeepAliveConfig
from temporalio.client import Interceptor as ClientInterceptor
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.contrib.opentelemetry import OpenTelemetryInterceptor, TracingInterceptor
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import DataConverter
from temporalio.envconfig import ClientConfig, ClientConfigProfile
from temporalio.plugin import SimplePlugin
from temporalio.service import TLSConfig
from temporalio.worker import (
    Interceptor,
    PollerBehaviorSimpleMaximum,
    UnsandboxedWorkflowRunner,
    Worker,
    WorkerDeploymentConfig,
    WorkflowRunner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from contracts.chassis import telemetry
from contracts.chassis.errors import Unavailable
from contracts.chassis.settings import Profile, TemporalSettings
from contracts.chassis.temporal.codec import KeyRing, PayloadCodec, SealedFailures
from contracts.chassis.temporal.remembrance import Remembrance
from contracts.chassis.temporal.translation import ClientSpans, Translator

_BACKOFF_LIMIT_SECONDS = 5.0
HEARTBEATS_AT_MOST_EVERY = timedelta(seconds=10)
"""The SDK would hold them back for four fifths of their time-out, which leaves a busy machine little."""


async def connect(profile: Profile, settings: TemporalSettings, *, lazy: bool = False) -> Client:
    """A client of that namespace; `lazy` connects at the first call, which a worker's client may not.

    Raises Unavailable when the server did not answer any of the attempts."""
    pause = settings.connect_backoff_seconds
    for attempt in range(1, settings.connect_attempts + 1):
        try:
            return await _connect_once(profile, settings, lazy=lazy)
        except RuntimeError as error:  # what the bridge raises for a server that does not answer
            if attempt == settings.connect_attempts:
                raise Unavailable(f"Temporal does not answer for namespace {profile}") from error
        await asyncio.sleep(pause)
        pause = min(pause * 2, _BACKOFF_LIMIT_SECONDS)
    raise AssertionError("unreachable")


async def _connect_once(profile: Profile, settings: TemporalSettings, *, lazy: bool) -> Client:
    options = _options(profile)
    return await Client.connect(
        **options,
        plugins=[plugin(key_ring(profile, settings), options["namespace"], settings)],
        identity=_identity(),
        # Noticed within 15 seconds instead of 45 when a server's machine is gone.
        keep_alive_config=KeepAliveConfig(interval_millis=10_000, timeout_millis=5_000),
        # Sealed payloads do not shrink, and the server pays for unpacking.
        grpc_compression=GrpcCompression.NONE,
        lazy=lazy,
    )


async def onlooker(profile: Profile) -> Client:
    """A client that can ask about the namespace's workflows and, without keys, read nothing in them."""
    return await Client.connect(**_options(profile), identity=_identity(), lazy=True)


class _Options(TypedDict):
    target_host: str
    namespace: str
    api_key: str | None
    tls: bool | TLSConfig | None
    rpc_metadata: Mapping[str, str | bytes]


def _options(profile: Profile) -> _Options:
    """Where the namespace is, as Temporal's own configuration says."""
    found = ClientConfig.load().profiles.get(profile, ClientConfigProfile())
    options = found.to_client_connect_config()
    return {
        "target_host": options.get("target_host", os.environ.get("TEMPORAL_ADDRESS", "127.0.0.1:7233")),
        "namespace": options.get("namespace", profile),
        "api_key": options.get("api_key"),
        "tls": options.get("tls"),
        "rpc_metadata": options.get("rpc_metadata", {}),
    }


def _identity() -> str:
    """Short: it is written into most events and, as the sticky queue's name, into each workflow task."""
    return f"{os.getpid()}@{socket.gethostname()[:8]}"


def key_ring(profile: Profile, settings: TemporalSettings) -> KeyRing:
    """Raises ValueError, naming the variable, when that namespace's ring is not set or not well-formed."""
    keys = settings.codec_orders_keys if profile == "orders" else settings.codec_fulfillments_keys
    try:
        return KeyRing.parse(keys.get_secret_value())
    except ValueError as error:
        raise ValueError(f"TANDEM_CODEC_{profile.upper()}_KEYS: {error}") from None


def plugin(ring: KeyRing, namespace: str, settings: TemporalSettings) -> SimplePlugin:
    """Converter, codec, tracing and the translation of errors, for a client and the workers on it."""
    telemetry.ensure_provider()  # Temporal's interceptor insists on a replay-safe one
    with_plugin_tracing = settings.tracing == "plugin"
    interceptors: list[ClientInterceptor | Interceptor] = [
        # Without Temporal's own spans a workflow makes none, so replays cannot double or lose any: the header
        # is passed on, and each activity, start and signal has one span of ours.
        *([ClientSpans(), OpenTelemetryInterceptor()] if with_plugin_tracing else [_stable_tracing()]),
        Translator(spans=with_plugin_tracing),
        Remembrance(),
    ]
    return SimplePlugin(
        "tandem",
        data_converter=DataConverter(
            payload_converter_class=PydanticPayloadConverter,
            payload_codec=PayloadCodec(ring, namespace),
            failure_converter_class=SealedFailures,
        ),
        interceptors=interceptors,
        workflow_runner=lambda _: _runner(sandbox=settings.workflow_sandbox),
    )


def _stable_tracing() -> TracingInterceptor:
    return TracingInterceptor(trace.get_tracer("tandem"))


def _runner(*, sandbox: bool) -> WorkflowRunner:
    if sandbox:
        return SandboxedWorkflowRunner(
            restrictions=SandboxRestrictions.default.with_passthrough_all_modules()
        )
    return UnsandboxedWorkflowRunner()


def worker(
    client: Client,
    *,
    task_queue: str,
    workflows: Sequence[type] = (),
    activities: Sequence[Callable[..., Any]],
    settings: TemporalSettings,
    slots: int | None = None,
) -> Worker:
    """Not started: enter it as a context manager. On leaving, running activities get their grace.

    `slots` are its places for activities, where they are not what the settings say for all."""
    return Worker(
        client,
        task_queue=task_queue,
        workflows=workflows,
        activities=activities,
        max_cached_workflows=settings.workflow_cache,
        max_concurrent_workflow_tasks=settings.workflow_slots,
        max_concurrent_activities=slots or settings.activity_slots,
        max_concurrent_local_activities=settings.local_activity_slots,
        workflow_task_poller_behavior=PollerBehaviorSimpleMaximum(settings.workflow_pollers),
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(settings.activity_pollers),
        max_heartbeat_throttle_interval=HEARTBEATS_AT_MOST_EVERY,
        graceful_shutdown_timeout=timedelta(seconds=settings.graceful_shutdown_seconds),
        deployment_config=_deployment(settings),
    )


class Crew:
    """The workers of one process: they start and stop together, and where one fails all end."""

    def __init__(self, *workers: Worker) -> None:
        self._workers = workers
        self._entered = AsyncExitStack()

    async def run(self) -> None:
        """They poll until cancelled."""
        async with asyncio.TaskGroup() as group:
            for each in self._workers:
                group.create_task(each.run())

    async def __aenter__(self) -> Self:
        for each in self._workers:
            await self._entered.enter_async_context(each)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._entered.aclose()


def _deployment(settings: TemporalSettings) -> WorkerDeploymentConfig:
    """Without a name the id is a constant: the SDK's own hashes all loaded modules, 0.9 s at each start."""
    if not settings.deployment_name:
        return WorkerDeploymentConfig(WorkerDeploymentVersion("", "unversioned"), use_worker_versioning=False)
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(settings.deployment_name, settings.build_id),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.PINNED,
    )
