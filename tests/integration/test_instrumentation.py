"""SQL and HTTP make spans of the current trace, on a real database and a real socket, and tell no values."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.chassis import telemetry
from contracts.chassis.postgres import Database
from contracts.chassis.settings import PostgresSettings, TelemetrySettings
from contracts.chassis.telemetry.tracing import configure_tracing

PERSON = "Anna Secret"


@pytest.fixture
async def provider() -> AsyncGenerator[str]:
    """The address of something that answers 204 and hangs up."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_statements_and_requests_are_spans_of_the_trace(
    tmp_path: Path, provider: str, make_database: Callable[[str], str]
):
    """Each has its text or address, none has a parameter, a query or a header; quiet work leaves nothing."""
    settings = TelemetrySettings(exporter="file", file=tmp_path / "spans", sql="statement")
    stop = configure_tracing("test", "worker", settings)
    async with (
        Database(PostgresSettings(url=make_database("template1")), "test") as database,
        httpx.AsyncClient(base_url=provider) as http,
    ):
        await database.fetch("select 'nobody is asking' as x")
        with telemetry.span("POST /orders"):
            trace_id = telemetry.current_trace_id()
            rows = await database.fetch("select %(name)s::text as name", name=PERSON)
            async with database.transaction():
                pass
            await http.get("/payments", params={"name": PERSON}, headers={"X-Actor": PERSON})
            with telemetry.quiet():
                await database.fetch("select 'quiet' as x")
                async with database.transaction():
                    pass
        async with database.transaction():
            pass
        assert rows[0]["name"] == PERSON
    stop()
    text = (tmp_path / "spans").read_text()
    spans: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    assert {span["traceId"] for span in spans} == {trace_id}
    attributes = [span["attributes"] for span in spans]
    assert [span["name"] for span in spans].count("transaction") == 1, spans
    assert any("select %(name)s::text" in each.get("db.query.text", "") for each in attributes), spans
    assert any(each.get("url.full") == f"{provider}/payments" for each in attributes), spans
    for unwanted in (PERSON, "Anna", "nobody", "quiet"):
        assert unwanted not in text
