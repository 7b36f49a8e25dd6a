"""A pair on a Temporal server that skips time, with providers that live in the same time."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread

import pytest
import uvicorn
from google.protobuf.empty_pb2 import Empty
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from temporalio.api.testservice.v1 import SleepRequest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from contracts.chassis.temporal import wiring
from deploy.local.ports import Ports
from deploy.local.stack import Stack
from deploy.local.temporal import binary
from deploy.sandbox.app import Sandbox
from tests.integration.fulfillment.house import eventually
from tests.integration.pair import Pair, open_pair

PATIENCE = timedelta(minutes=1)
"""The days of a test have passed by then, however busy the machine is."""


class SkippedTime:
    """The Temporal test server's own time."""

    def __init__(self, client: Client) -> None:
        self._server = client.test_service

    async def now(self) -> datetime:
        answer = await self._server.get_current_time(Empty())
        return answer.time.ToDatetime(tzinfo=UTC)

    async def passes(self, time: timedelta) -> None:
        """So much time has passed, and whatever was due in it has been done."""
        request = SleepRequest()
        request.duration.FromTimedelta(time)
        await self._server.unlock_time_skipping_with_sleep(request, timeout=PATIENCE)


class Month:
    """The pair, the time it lives in, and the switch of its providers."""

    def __init__(self, pair: Pair, time: SkippedTime, is_away: Event) -> None:
        self.pair = pair
        self.passes = time.passes
        self.is_away = is_away
        """While this is set the providers answer 503."""

    async def events(self, order_id: str) -> tuple[int, int]:
        """How long the histories of the order and of its parcel are, once they grow no more."""
        seen: tuple[int, int] | None = None
        while True:
            order = await self.pair.workflow(order_id).fetch_history()
            parcel = await self.pair.parcel(order_id).fetch_history()
            before, seen = seen, (len(order.events), len(parcel.events))
            if seen == before:
                return seen
            await asyncio.sleep(0.5)

    async def completes(self, order_id: str, *step_keys: str) -> None:
        """The warehouse has done these steps, each when it was its turn."""
        for step_key in step_keys:
            await self.pair.completes(order_id, step_key)

    async def has(self, command_id: str, status: str) -> None:
        """The receipt says so, as soon as it does."""

        async def found() -> bool:
            return await self.pair.receipt(command_id) == status

        await eventually(found, what=f"{command_id}: {status}")


@asynccontextmanager
async def open_month(
    engines: Stack, orders_url: str, fulfillments_url: str, folder: Path
) -> AsyncGenerator[Month]:
    """Nothing works yet, and time passes only when it is told to."""
    server = binary().with_name("temporal-test-server")
    is_away = Event()
    async with AsyncExitStack() as opened:
        patch = opened.enter_context(pytest.MonkeyPatch.context())
        environment = await opened.enter_async_context(
            await WorkflowEnvironment.start_time_skipping(
                test_server_existing_path=str(server), test_server_startup_timeout=timedelta(seconds=30)
            )
        )
        address = environment.client.service_client.config.target_host
        # The test server hangs up on whoever pings it more often than every five minutes.
        patch.setattr(wiring, "KeepAliveConfig", lambda **_: None)  # type: ignore[reportUnknownLambdaType]
        time = SkippedTime(await Client.connect(address, keep_alive_config=None))
        sandbox = opened.enter_context(_sandbox(time, folder, is_away))
        pair = await opened.enter_async_context(
            open_pair(engines, sandbox, orders_url, fulfillments_url, temporal_at=address)
        )
        yield Month(pair, time, is_away)


@contextmanager
def _sandbox(time: SkippedTime, folder: Path, is_away: Event) -> Generator[str]:
    """The address of a sandbox whose day is the Temporal server's."""
    loop = asyncio.get_running_loop()
    port = Ports.anywhere()["sandbox"]
    started: list[uvicorn.Server] = []

    def now() -> datetime:
        return asyncio.run_coroutine_threadsafe(time.now(), loop).result(10)

    def serve() -> None:
        # A ledger belongs to the thread that opens it.
        sandbox = Sandbox(folder, now)

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            app = PlainTextResponse("away", 503) if is_away.is_set() else sandbox.app
            await app(scope, receive, send)

        started.append(uvicorn.Server(uvicorn.Config(answer, port=port, lifespan="off", log_level="error")))
        started[0].run()
        sandbox.close()

    thread = Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        for each in started:
            each.should_exit = True
        thread.join(10)
