"""The process around the sandbox: one socket, one event loop, an orderly end."""

import asyncio
import gc
import signal
import socket
from pathlib import Path

from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from deploy.sandbox.app import Sandbox
from deploy.sandbox.door import CUT

_GRACE_SECONDS = 2
_KEEP_ALIVE_SECONDS = 75
"""Longer than clients keep an idle connection (httpx: 5), else a call now and then meets a closing one."""


class CuttableProtocol(HttpToolsProtocol):
    """Lets a handler end the connection without an answer, as a network does."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {CUT: self.transport.abort}  # type: ignore[typeddict-item]  # our own name


class SandboxServer(Server):
    """Stops the waiting that scripts ask for before it waits for running calls."""

    def __init__(self, config: Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping.set()
        await super().shutdown(sockets)


def serve(host: str, port: int, state: Path) -> None:
    """Serves until SIGTERM or SIGINT. Raises OSError or sqlite3.Error when port or state are in use."""
    listener = socket.create_server((host, port), backlog=1024)
    sandbox = Sandbox(state)
    config = Config(
        sandbox.app,
        loop="uvloop",
        http=CuttableProtocol,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        headers=[("Tandem-Simulated", "true")],
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    # uvicorn gives the signal back once it has stopped; what follows must still run, and the exit be 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _nothing)
    gc.collect()
    gc.freeze()
    address, bound = listener.getsockname()[:2]
    print(f"provider sandbox (simulated) on http://{address}:{bound}, scenarios at /scenarios", flush=True)
    try:
        SandboxServer(config, sandbox.stopping).run([listener])
    finally:
        sandbox.close()


def _nothing(*_: object) -> None:
    """The signal has done its work."""
