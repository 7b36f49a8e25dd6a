"""How a process of ours lives: ready when it can work, live while it makes progress, and stopped in reverse.

On SIGTERM the process first says that it is not ready, then finishes what it holds, then closes what it
opened, the last thing first; all of it within a bound.
"""

import asyncio
import gc
import os
import signal
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import structlog
import uvicorn
import uvloop
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from contracts.chassis.settings import HealthSettings

log = structlog.get_logger()

READY = Gauge("tandem_ready", "1 while the process can work and every loop of it makes progress")


_BACKLOG = 512
"""Connections that the kernel keeps for us while we are busy."""


class Health:
    """What a process says of itself: a loop that is watched must make progress, or we are not live."""

    def __init__(self, settings: HealthSettings) -> None:
        self._settings = settings
        self._seen: dict[str, float] = {}
        self.is_ready = False

    def watch(self, loop: str) -> Callable[[], None]:
        """The function by which a loop says that it made progress."""
        self._seen[loop] = time.monotonic()

        def progress() -> None:
            self._seen[loop] = time.monotonic()

        return progress

    def stalled(self) -> list[str]:
        """The loops that made no progress for too long."""
        limit = time.monotonic() - self._settings.stalled_after_seconds
        return [loop for loop, seen in self._seen.items() if seen < limit]

    def can_work(self) -> bool:
        """The process can work, and every loop that is watched makes progress."""
        return self.is_ready and not self.stalled()

    def routes(self) -> list[Route]:
        """`/health/live`, `/health/ready` and `/metrics`."""
        return [
            Route("/health/live", self._live),
            Route("/health/ready", self._ready),
            Route("/metrics", self._metrics),
        ]

    async def _live(self, _: Request) -> Response:
        stalled = self.stalled()
        return _said("stalled" if stalled else "live", stalled)

    async def _ready(self, _: Request) -> Response:
        stalled = self.stalled()
        return _said("ready" if self.can_work() else "not ready", stalled)

    async def _metrics(self, _: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def _said(status: str, stalled: list[str]) -> Response:
    is_well = status in ("live", "ready")
    return JSONResponse({"status": status, "stalled": stalled}, status_code=200 if is_well else 503)


Loop = Callable[[], Coroutine[Any, Any, None]]
"""Runs until it is cancelled."""


@dataclass(frozen=True)
class Role:
    """What a process does: loops that run until it stops, and perhaps a door of its own."""

    loops: Mapping[str, Loop]
    door: ASGIApp | None = None
    host: str = "127.0.0.1"
    port: int = 0


@asynccontextmanager
async def together(*roles: AbstractAsyncContextManager[Role]) -> AsyncGenerator[Role]:
    """Several roles in one process; the door is that of the one that has a door."""
    async with AsyncExitStack() as opened:
        all_of_them = [await opened.enter_async_context(role) for role in roles]
        loops = {name: loop for role in all_of_them for name, loop in role.loops.items()}
        door = next((role for role in all_of_them if role.door is not None), all_of_them[0])
        yield replace(door, loops=loops)


OpenRole = Callable[[Health], AbstractAsyncContextManager[Role]]


def run(open_role: OpenRole, settings: HealthSettings, flush: Callable[[], None] = lambda: None) -> int:
    """The role runs until SIGTERM or SIGINT, or until one of its loops fails; the exit code says which."""
    bound = _Bound(settings.stop_seconds)
    try:
        return uvloop.run(_run(open_role, settings, bound))
    finally:
        flush()
        bound.lift()


async def _run(open_role: OpenRole, settings: HealthSettings, bound: "_Bound") -> int:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    health = Health(settings)
    READY.set_function(health.can_work)
    async with AsyncExitStack() as opened:
        opening = asyncio.ensure_future(opened.enter_async_context(open_role(health)))
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            bound.begin()
            opening.cancel()
            await asyncio.wait({opening})
            return 0
        role = opening.result()
        tasks = [asyncio.create_task(loop(), name=name) for name, loop in role.loops.items()]
        server = _server(role, health, settings)
        if server is not None:
            tasks.append(asyncio.create_task(server.serve(), name="door"))
        # What was loaded stays: no collection has to walk through it again while somebody waits.
        gc.collect()
        gc.freeze()
        health.is_ready = True
        await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        health.is_ready = False
        bound.begin()
        failed = [task for task in tasks if task.done()]
        for task in failed:
            log.error("a loop ended by itself", loop=task.get_name(), error=_reason(task))
        await _drain(tasks, server, settings)
        return 1 if failed else 0


def _reason(task: asyncio.Task[None]) -> BaseException | None:
    return None if task.cancelled() else task.exception()


class _Bound:
    """Once begun, the process is gone after so many seconds, whatever still closes.

    A thread, because a loop that is blocked fires no timers."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timer = threading.Timer(seconds, self._cut_off)
        self._timer.daemon = True

    def begin(self) -> None:
        self._timer.start()

    def lift(self) -> None:
        self._timer.cancel()

    def _cut_off(self) -> None:
        log.error("stopping took too long, the rest is cut off", seconds=self._seconds)
        os._exit(1)


async def _drain(
    tasks: list[asyncio.Task[None]], server: uvicorn.Server | None, settings: HealthSettings
) -> None:
    if server is not None:
        # A load balancer sees `not ready` before the door closes.
        await asyncio.sleep(settings.drain_seconds)
        server.should_exit = True
    for task in tasks:
        if task.get_name() != "door":
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class _Server(uvicorn.Server):
    """A server that leaves the signals to us."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def _server(role: Role, health: Health, settings: HealthSettings) -> uvicorn.Server | None:
    """The role's own door, or the small one that only tells its health; None when neither is wanted."""
    door = role.door or (Starlette(routes=health.routes()) if settings.port else None)
    if door is None:
        return None
    configuration = uvicorn.Config(
        door,
        host=role.host if role.door else settings.host,
        port=role.port if role.door else settings.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=max(1, int(settings.stop_seconds / 2)),
    )
    return _Server(configuration)
