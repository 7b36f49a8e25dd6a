"""The proxy passes on, cuts, refuses and slows, and says how often it did."""

import asyncio
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from tests.proof.chaos.proxy import Proxy


@asynccontextmanager
async def echo() -> AsyncGenerator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(1024):
            writer.write(chunk)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def asked(proxy: Proxy, said: bytes) -> bytes:
    """What came back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        writer.write(said)
        return await reader.read(1024)
    finally:
        writer.close()


async def test_what_goes_in_comes_out_until_it_is_cut():
    """A cut resets who is connected and a closed proxy refuses whoever comes; both are counted."""
    async with echo() as address, Proxy("echo", lambda: address) as proxy:
        assert await asked(proxy, b"hello") == b"hello"
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"x")
        assert await reader.read(1) == b"x"
        proxy.is_closed = True
        assert proxy.cut() == 1
        with pytest.raises(ConnectionError):
            await reader.readexactly(1)
        with pytest.raises(ConnectionError):
            await asked(proxy, b"hello")
        assert proxy.refused == 1
        proxy.is_closed = False
        assert await asked(proxy, b"again") == b"again"


async def test_what_is_slowed_is_counted():
    """There and back."""
    async with echo() as address, Proxy("echo", lambda: address) as proxy:
        proxy.delay_seconds = 0.001
        assert await asked(proxy, b"hello") == b"hello"
        assert proxy.slowed == 2


async def test_a_broker_is_made_to_say_the_address_of_the_proxy():
    """Wherever a frame names it; else a client would go past the proxy from its second connection on."""
    async with echo() as address, Proxy("echo", lambda: address, is_kafka=True) as proxy:
        host, port = "127.0.0.1", int(address.rpartition(":")[2])
        frame = b"\x00\x01" + host.encode() + struct.pack(">i", port) + b"end"
        said = struct.pack(">i", len(frame)) + frame
        answer = await asked(proxy, said)
        assert answer == said.replace(struct.pack(">i", port), struct.pack(">i", proxy.port))
