"""Bugs of the proof itself: a fault that nobody feels, which a run has to notice."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, suppress
from typing import Any, cast
from unittest.mock import patch

from tests.proof.chaos import faults
from tests.proof.chaos.faults import Faults
from tests.proof.chaos.house import House
from tests.proof.chaos.plan import Fault
from tests.proof.chaos.proxy import Proxy
from tests.proof.record import Record

CUT = "cut that cuts nothing"
_PATIENCE_SECONDS = 1.0
_GREETING = b"hello"


def cut_that_cuts_nothing() -> AbstractContextManager[Any]:
    """Every connection stays as it is."""
    return patch.object(Proxy, "cut", return_value=0)


def cut() -> Record:
    """A run of one connection and one fault, which cuts it."""
    with patch.object(faults, "eventually", _briefly(faults.eventually)):
        return asyncio.run(_cut())


async def _cut() -> Record:
    server = await asyncio.start_server(_listen, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, Proxy("postgres", lambda: address) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        await reader.readexactly(len(_GREETING))
        nobody = cast("Any", None)
        struck = Faults(House(nobody, {"postgres": proxy}), nobody)
        record = Record(struck=[await struck.strike(Fault(1, 0.0, "cut-postgres", 0, 0.05))])
        writer.close()
        return record


async def _listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_GREETING)
    with suppress(ConnectionError):
        await reader.read()
    writer.close()


def _briefly(eventually: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def briefly(ask: Callable[[], Awaitable[Any]], *, seconds: float) -> Any:
        return await eventually(ask, seconds=min(seconds, _PATIENCE_SECONDS))

    return briefly
