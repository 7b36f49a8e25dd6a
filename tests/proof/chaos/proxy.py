"""A TCP proxy on loopback through which connections are cut and slowed."""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Self

_CHUNK = 64 * 1024


class Proxy:
    """An address in front of another one."""

    def __init__(self, name: str, target: Callable[[], str], *, is_kafka: bool = False) -> None:
        self.name = name
        self.delay_seconds = 0.0
        """Before each chunk is passed on."""
        self.is_closed = False
        """True while nobody gets through."""
        self.slowed = 0
        """Chunks that waited."""
        self.refused = 0
        self._target = target
        self._is_kafka = is_kafka
        self._open: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.move()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def move(self) -> None:
        """It stands somewhere else; nobody listens at the address it had."""
        before, self._server = self._server, await asyncio.start_server(self._accept, "127.0.0.1", 0)
        if before is not None:
            before.close()

    @property
    def port(self) -> int:
        assert self._server is not None
        return self._server.sockets[0].getsockname()[1]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        return len(self._open) // 2

    def cut(self) -> int:
        """Every connection is reset; how many that were."""
        count = self.connections
        for writer in self._open:
            _reset(writer)
        self._open.clear()
        return count

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._target().rpartition(":")
        if self.is_closed or not port:
            self.refused += 1
            _reset(writer)
            return
        try:
            back, forth = await asyncio.open_connection(host, int(port))
        except OSError:
            _reset(writer)
            return
        self._open |= {writer, forth}
        answers = self._frames(back, writer, host, int(port)) if self._is_kafka else self._pass(back, writer)
        ways = [asyncio.create_task(self._pass(reader, forth)), asyncio.create_task(answers)]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (writer, forth):
                self._open.discard(end)
                end.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                await self._send(writer, chunk)

    async def _frames(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int
    ) -> None:
        """A Kafka broker says where it stands, and clients go there: it is made to say our address."""
        said = host.encode() + struct.pack(">i", port)
        ours = host.encode() + struct.pack(">i", writer.get_extra_info("sockname")[1])
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                size = await reader.readexactly(4)
                frame = await reader.readexactly(struct.unpack(">i", size)[0])
                await self._send(writer, size + frame.replace(said, ours))

    async def _send(self, writer: asyncio.StreamWriter, chunk: bytes) -> None:
        if self.delay_seconds:
            self.slowed += 1
            await asyncio.sleep(self.delay_seconds)
        writer.write(chunk)
        await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """The other side sees a reset, and no end in good order."""
    found: socket.socket = writer.get_extra_info("socket")
    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
