"""Temporal's wiring, on a real server: what is in a history, what is retried, and one trace through all."""

import asyncio
import base64
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from google.protobuf.json_format import MessageToJson, Parse
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import BaseModel, SecretStr
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payloads
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, FailureError
from temporalio.worker import Replayer

from contracts.chassis import telemetry, temporal
from contracts.chassis.errors import Conflict, Refused, Unavailable
from contracts.chassis.settings import TelemetrySettings, TemporalSettings
from contracts.chassis.telemetry.tracing import configure_tracing
from contracts.chassis.temporal import Policy, refusal, start_outside, stored
from contracts.values import Code

QUEUE = "wiring"
PERSON = "Anna Secret"
OLD, NEW = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))


class Letter(BaseModel):
    to: str
    pages: int = 1


class Desk:
    """Activities that misbehave on request, and count their calls."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}
        self.traceparents: list[str | None] = []

    def _count(self, name: str) -> int:
        self.calls[name] = self.calls.get(name, 0) + 1
        return self.calls[name]

    @activity.defn
    async def write(self, letter: Letter, pages: int) -> Letter:
        self.traceparents.append(telemetry.current_traceparent())
        return Letter(to=letter.to, pages=pages)

    @activity.defn
    async def refuse(self) -> None:
        self._count("refuse")
        raise Refused(f"not to {PERSON}", code=Code.ALREADY_ENDED, cut_off="Posted")

    @activity.defn
    async def collide(self) -> int:
        if self._count("collide") < 3:
            raise Conflict(PERSON)
        return self.calls["collide"]

    @activity.defn
    async def fail_locally(self) -> int:
        attempts = self._count("fail_locally")
        if activity.info().is_local:
            raise Unavailable(retry_after=timedelta(minutes=5)) if attempts == 1 else ValueError(PERSON)
        return attempts


@workflow.defn
class Post:
    """Runs the script it is started with."""

    def __init__(self) -> None:
        self._letters: list[Letter] = []

    @workflow.run
    async def run(self, script: str, letter: Letter) -> Any:
        match script:
            case "write":
                first = await stored(Desk.write, letter, 2)
                second = await start_outside(Desk.write, first, 3, policy=Policy.PROVIDER, summary=first.to)
                return second.pages
            case "refuse":
                return await self._refused()
            case "refuse-unhandled":
                return await stored(Desk.refuse)
            case "collide":
                return await stored(Desk.collide)
            case "fail-locally":
                return await stored(Desk.fail_locally)
            case _:
                await workflow.wait_condition(lambda: bool(self._letters))
                return self._letters[0].to

    async def _refused(self) -> list[str | None]:
        try:
            await stored(Desk.refuse)
        except FailureError as error:
            found = refusal(error)
            assert found is not None
            return [found.code, found.detail, found.cut_off]
        return []

    @workflow.signal
    def receive(self, letter: Letter) -> None:
        self._letters.append(letter)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A dev server of this module's own, because its raw database is read."""
    port, folder = free_port(), tmp_path_factory.mktemp("temporal")
    binary = Path(sys.executable).with_name("temporal")
    command = [
        binary,
        "server",
        "start-dev",
        "--headless",
        "--port",
        str(port),
        "--http-port",
        str(free_port()),
    ]
    command += ["--namespace", "orders", "--log-level", "error", "--db-filename", str(folder / "temporal.db")]
    command += ["--dynamic-config-value", "history.transferProcessorMaxPollRPS=500"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    yield f"127.0.0.1:{port}", folder
    process.terminate()
    process.wait(10)


@pytest.fixture
def settings(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> TemporalSettings:
    monkeypatch.setenv("TEMPORAL_ADDRESS", server[0])
    monkeypatch.delenv("TEMPORAL_CONFIG_FILE", raising=False)
    return ring_of(f"new:{NEW},old:{OLD}")


def ring_of(keys: str, **changes: Any) -> TemporalSettings:
    return TemporalSettings(codec_orders_keys=SecretStr(keys), graceful_shutdown_seconds=0, **changes)


@pytest.fixture
async def client(settings: TemporalSettings) -> Client:
    return await temporal.connect("orders", settings)


@pytest.fixture
async def desk(client: Client, settings: TemporalSettings) -> AsyncIterator[Desk]:
    desk = Desk()
    async with at_work(client, desk, settings):
        yield desk


def at_work(client: Client, desk: Desk, settings: TemporalSettings):
    return temporal.worker(
        client,
        task_queue=QUEUE,
        workflows=[Post],
        activities=[desk.write, desk.refuse, desk.collide, desk.fail_locally],
        settings=settings,
    )


async def start(client: Client, script: str) -> WorkflowHandle[Post, Any]:
    return await client.start_workflow(
        Post.run, args=[script, Letter(to=PERSON)], id=f"post-{uuid4()}", task_queue=QUEUE
    )


async def history(handle: WorkflowHandle[Any, Any]) -> str:
    return (await handle.fetch_history()).to_json()


async def test_nothing_readable_is_stored(client: Client, desk: Desk, server: tuple[str, Path]):
    """Arguments, results, signals and summaries are sealed, in the history and in the server's raw file."""
    handle = await start(client, "write")
    assert await handle.result() == 3
    waiting = await start(client, "wait")
    await waiting.signal(Post.receive, Letter(to=PERSON))
    assert await waiting.result() == PERSON
    raw = b"".join(file.read_bytes() for file in server[1].glob("temporal.db*"))
    assert len(raw) > 10_000
    assert PERSON.encode() not in raw
    assert PERSON not in await history(handle)


async def test_an_old_key_still_reads_what_it_wrote(client: Client, desk: Desk):
    """A workflow started under yesterday's ring finishes under today's, which has both keys."""
    yesterday = await temporal.connect("orders", ring_of(f"old:{OLD}"))
    handle = await start(yesterday, "write")
    assert await client.get_workflow_handle(handle.id).result() == 3


async def test_a_stranger_may_signal_without_our_key(client: Client, desk: Desk, server: tuple[str, Path]):
    """A bare payload, as the `temporal` command line sends it, is understood and counted."""
    stranger = await Client.connect(server[0], namespace="orders")
    before = bare_payloads()
    handle = await start(client, "wait")
    await stranger.get_workflow_handle(handle.id).signal("receive", {"to": "you", "pages": 1})
    assert await handle.result() == "you"
    assert bare_payloads() > before


def bare_payloads() -> float:
    samples = next(iter(temporal.BARE_PAYLOADS.collect())).samples
    return sum(sample.value for sample in samples if sample.name.endswith("_total"))


async def test_a_refusal_is_final_and_keeps_its_code(client: Client, desk: Desk):
    """The workflow learns code, detail and cut-off of a refusal after one try."""
    assert await (await start(client, "refuse")).result() == ["ALREADY_ENDED", f"not to {PERSON}", "Posted"]
    assert desk.calls["refuse"] == 1


async def test_a_refusals_text_is_constant(client: Client, desk: Desk):
    """What a failure says is the sentence of its class, never the values of this case."""
    with pytest.raises(WorkflowFailureError) as failure:
        await (await start(client, "refuse-unhandled")).result()
    cause = failure.value.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.message, cause.type, cause.non_retryable) == (Refused.__doc__, "ALREADY_ENDED", True)


async def test_a_conflict_is_tried_again(client: Client, desk: Desk):
    """Someone wrote first: the activity decides again on the newer state."""
    assert await (await start(client, "collide")).result() == 3


async def test_spent_local_tries_become_a_normal_activity(client: Client, desk: Desk):
    """After three local tries the same function goes on outside of the workflow task, and nothing leaks."""
    handle = await start(client, "fail-locally")
    assert await handle.result() == 4
    events = (await handle.fetch_history()).events
    assert sum(1 for event in events if event.HasField("activity_task_scheduled_event_attributes")) == 1
    assert PERSON not in await history(handle)


@pytest.mark.parametrize("sandbox", [True, False])
@pytest.mark.parametrize("tracing", ["plugin", "interceptor"])
async def test_workflows_run_with_and_without_sandbox(
    settings: TemporalSettings, sandbox: bool, tracing: str
):
    """The same workflow file runs on both runners, with both ways of tracing."""
    chosen = ring_of(f"new:{NEW}", workflow_sandbox=sandbox, tracing=tracing)
    client = await temporal.connect("orders", chosen)
    async with at_work(client, Desk(), chosen):
        assert await (await start(client, "write")).result() == 3


@pytest.mark.parametrize("tracing", ["plugin", "interceptor"])
async def test_one_trace_goes_through(settings: TemporalSettings, tracing: str):
    """Client span, local activity and normal activity share a trace; the workflow only passes it on."""
    memory = InMemorySpanExporter()
    stop = configure_tracing("wiring", "test", TelemetrySettings(), exporter=memory)
    chosen = ring_of(f"new:{NEW}", tracing=tracing)
    client, desk = await temporal.connect("orders", chosen), Desk()
    async with at_work(client, desk, chosen):
        with telemetry.span("POST /orders"):
            trace_id = telemetry.current_trace_id()
            handle = await start(client, "write")
        await handle.result()
    stop()
    assert [traceparent and traceparent.split("-")[1] for traceparent in desk.traceparents] == [trace_id] * 2
    spans = memory.get_finished_spans()
    assert len({span.get_span_context().trace_id for span in spans}) == 1  # type: ignore[union-attr]
    assert sum("write" in span.name for span in spans) >= 2


@pytest.mark.parametrize("script", ["refuse", "fail-locally", "write"])
async def test_histories_replay(client: Client, desk: Desk, settings: TemporalSettings, script: str):
    """What was decided about a failed local activity is decided the same from its history."""
    handle = await start(client, script)
    await handle.result()
    plugin = temporal.plugin(temporal.key_ring("orders", settings), "orders", settings)
    await Replayer(workflows=[Post], plugins=[plugin]).replay_workflow(await handle.fetch_history())


async def test_the_header_is_the_traceparent_alone(client: Client, desk: Desk):
    """Each header is paid for in each event: 100 bytes for a signal or activity, nothing for a local one."""
    with telemetry.span("POST /orders"):
        handle = await start(client, "write")
    await handle.result()
    events = (await handle.fetch_history()).events
    headers = [event.activity_task_scheduled_event_attributes.header for event in events]
    headers += [event.workflow_execution_started_event_attributes.header for event in events]
    sizes = [header.ByteSize() for header in headers if header.fields]
    assert len(sizes) == 2
    assert max(sizes) <= 125
    assert all(
        list(json.loads(header.fields["_tracer-data"].data)) == ["traceparent"]
        for header in headers
        if header.fields
    )


async def test_events_are_small(client: Client, desk: Desk):
    """A local step costs one event of a few hundred bytes."""
    handle = await start(client, "write")
    await handle.result()
    events = (await handle.fetch_history()).events
    assert len(events) == 12
    assert sum(event.ByteSize() for event in events) <= 2_800


async def test_the_ui_can_read_on_this_machine_only(client: Client, desk: Desk):
    """The codec server opens payloads of the namespace it is asked for, for pages of this machine."""
    handle = await start(client, "write")
    event = (await handle.fetch_history()).events[0]
    sealed = MessageToJson(event.workflow_execution_started_event_attributes.input)
    app = temporal.codec_server({"orders": temporal.KeyRing.parse(f"new:{NEW}")})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as browser:

        async def decode(content: str, **headers: str) -> httpx.Response:
            return await browser.post("/decode", content=content, headers=here | headers)

        here = {"X-Namespace": "orders", "Origin": "http://localhost:8233"}
        answer = await decode(sealed)
        assert answer.headers["access-control-allow-origin"] == here["Origin"]
        assert json.loads(Parse(answer.text, Payloads()).payloads[1].data)["to"] == PERSON
        assert (await decode(sealed, **{"X-Namespace": "other"})).status_code == 404
        assert (await decode("{")).status_code == 400
        assert "access-control-allow-origin" not in (await decode(sealed, Origin="http://evil.test")).headers
        assert (await decode(sealed, Host="evil.test")).status_code == 400
    await handle.result()


async def test_an_absent_server_is_unavailable(monkeypatch: pytest.MonkeyPatch):
    """Connecting tries again with back-off, then says who did not answer."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{free_port()}")
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await temporal.connect(
            "orders", ring_of(f"k:{NEW}", connect_attempts=2, connect_backoff_seconds=0.05)
        )
    assert time.monotonic() - began < 10
    await asyncio.wait_for(temporal.connect("orders", ring_of(f"k:{NEW}"), lazy=True), 2)
