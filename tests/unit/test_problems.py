"""What a client is told when something is wrong, and what gets through the door."""

import json
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Annotated, Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI, Header
from psycopg_pool import PoolTimeout
from pydantic import ConfigDict

from contracts.chassis import problems, telemetry
from contracts.chassis.errors import Conflict, Invalid, NotFound, Refused, TandemError, TooMany, Unavailable
from contracts.chassis.settings import ApiSettings
from contracts.values import Code, LineItem, Message, Text200

SECRET = "Anna-Secret"


class Parcel(Message):
    model_config = ConfigDict(extra="forbid")

    name: Text200
    items: list[LineItem] = []


ERRORS: dict[str, Exception] = {
    "refused": Refused("It has ended.", code=Code.ALREADY_ENDED, cut_off="HandOverStarted"),
    "busy": TooMany("Too many.", retry_after=timedelta(seconds=11.2)),
    "never": TooMany("Far too many."),
    "reused": Invalid("The key was used.", code=Code.KEY_REUSED),
    "missing": NotFound(),
    "conflict": Conflict(),
    "mismatch": Conflict("It has changed.", code=Code.VERSION_MISMATCH),
    "away": Unavailable(retry_after=timedelta(seconds=2.5)),
    "pool": PoolTimeout(SECRET),
    "database": psycopg.OperationalError(SECRET),
    "data": psycopg.DataError(SECRET),
    "encoding": UnicodeEncodeError("utf-8", SECRET, 0, 1, SECRET),
    "ours": TandemError(SECRET),
    "bug": RuntimeError(SECRET),
}


@pytest.fixture
async def door() -> AsyncGenerator[httpx.AsyncClient]:
    telemetry.ensure_provider()
    app = FastAPI(telemetry=telemetry.rest_telemetry())
    problems.install(app, ApiSettings())

    @app.post("/parcels")
    async def parcel(body: Parcel, idempotency_key: Annotated[str, Header(max_length=5)] = "") -> str:
        return body.name + idempotency_key

    @app.get("/errors/{name}")
    async def fail(name: str) -> None:
        raise ERRORS[name]

    @app.get("/numbers/{number}")
    async def number(number: int, size: int = 1) -> int:
        return number * size

    assert all(callable(route) for route in (parcel, fail, number))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        yield client


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("refused", 409, "ALREADY_ENDED"),
        ("busy", 429, "TOO_MANY_WISHES"),
        ("reused", 422, "KEY_REUSED"),
        ("missing", 404, "NOT_FOUND"),
        ("conflict", 409, "CONFLICT"),
        ("mismatch", 412, "VERSION_MISMATCH"),
        ("away", 503, "UNAVAILABLE"),
        ("pool", 503, "UNAVAILABLE"),
        ("database", 503, "UNAVAILABLE"),
        ("data", 422, "INVALID_REQUEST"),
        ("encoding", 422, "INVALID_REQUEST"),
        ("ours", 500, "INTERNAL"),
        ("bug", 500, "INTERNAL"),
    ],
)
async def test_each_error_has_its_status(door: httpx.AsyncClient, name: str, status: int, code: str):
    """One table maps the errors; a foreign exception's text never reaches the client."""
    answer = await door.get(f"/errors/{name}")
    told = answer.json()
    assert (answer.status_code, told["status"], told["code"]) == (status, status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["Trace-Id"] == told["traceId"]
    assert SECRET not in answer.text
    assert {"type", "title", "detail", "currentStatus", "currentStep", "allowedActions", "retryable"} <= set(
        told
    )
    assert ("Retry-After" in answer.headers) == (status in (429, 503))


@pytest.mark.parametrize(("name", "is_retryable"), [("away", True), ("conflict", True), ("mismatch", False)])
async def test_only_what_the_same_request_can_cure_is_retryable(
    door: httpx.AsyncClient, name: str, is_retryable: bool
):
    """The same If-Match never matches again: its client has to read first."""
    assert (await door.get(f"/errors/{name}")).json()["retryable"] is is_retryable


async def test_an_answer_says_when_to_come_back_and_what_is_too_late(door: httpx.AsyncClient):
    """Retry-After rounds up; a refusal names its cut-off."""
    assert (await door.get("/errors/away")).headers["Retry-After"] == "3"
    assert (await door.get("/errors/busy")).headers["Retry-After"] == "12"
    assert "Retry-After" not in (await door.get("/errors/never")).headers
    assert (await door.get("/errors/refused")).json()["cutOff"] == "HandOverStarted"


@pytest.mark.parametrize("name", ["data", "encoding", "bug"])
async def test_what_no_field_can_be_named_for_is_found_by_its_trace(door: httpx.AsyncClient, name: str):
    """Somebody who asks us has something to give."""
    assert "trace id" in (await door.get(f"/errors/{name}")).json()["detail"]


async def test_extensions_of_an_error_are_told(door: httpx.AsyncClient):
    """Where a thing stands comes from whoever raised the error."""
    ERRORS["standing"] = refused = Refused()
    refused.extensions.update(currentStatus="PICKING", allowedActions=["resume"])
    told = (await door.get("/errors/standing")).json()
    assert (told["currentStatus"], told["allowedActions"]) == ("PICKING", ["resume"])


async def test_a_fault_is_named_by_its_field(door: httpx.AsyncClient):
    """The detail leads to the field and says what it should be, without repeating what was sent."""
    answer = await door.post(
        "/parcels", json={"name": 7, "items": [{"sku": SECRET, "quantity": 0}], SECRET: 1}
    )
    told = answer.json()
    fields = {each["field"] for each in told["errors"]}
    assert {"name", "items[0].sku", "items[0].quantity", "items[0].unitPriceMinor"} <= fields
    assert "name: Input should be a valid string" in told["detail"]
    assert "Anna-Secret" not in json.dumps([each["problem"] for each in told["errors"]])


BODY = {"name": "x"}
JSON = "application/json"


def body_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"{", JSON, 400),
        (b"", JSON, 422),
        (b"null", JSON, 422),
        (b"[]", JSON, 422),
        (b'"x"', JSON, 422),
        (b"7", JSON, 422),
        (b'{"name": "x"} x', JSON, 400),
        (b"{'name': 'x'}", JSON, 400),
        (b'{"name": "x",}', JSON, 400),
        (b'{"name": "a", "name": "b"}', JSON, 400),
        (b'{"name": NaN}', JSON, 400),
        (b'{"name": -Infinity}', JSON, 400),
        (b'{"name": 1e999}', JSON, 422),
        (b'{"name": ' + b"9" * 5000 + b"}", JSON, 400),
        (b'{"name": ' + b"9" * 4000 + b"}", JSON, 422),
        (b'{"name": "\\u0000"}', JSON, 422),
        (b'{"name": "\\ud800"}', JSON, 422),
        (b'{"\\ud800": "x"}', JSON, 422),
        (b'{"name": "\xff"}', JSON, 400),
        (body_of('{"name": "\ud800"}'), JSON, 400),
        ('{"name": "x"}'.encode("utf-16"), JSON, 400),
        (b"\xef\xbb\xbf" + b'{"name": "x"}', JSON, 400),
        (b"[" * 30_000, JSON, 400),
        (b"[" * 200 + b"]" * 200, JSON, 400),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, JSON, 400),
        (b'{"name": "' + b"x" * 70_000 + b'"}', JSON, 413),
        (b'{"name": "x"}', "text/plain", 415),
        (b'{"name": "x"}', "", 415),
        (b'{"name": "x"}', "application/json; charset=latin-1", 415),
        (b"name=x", "application/x-www-form-urlencoded", 415),
        (b"--b\r\n\r\n--b--", "multipart/form-data; boundary=b", 415),
        (b'{"name": "x"}', "application/json; charset=UTF-8", 200),
        (b'{"name": "\\ud83d\\ude00"}', JSON, 200),
    ],
)
async def test_hostile_bodies(door: httpx.AsyncClient, content: bytes, content_type: str, status: int):
    """Whatever the body is, the answer is a problem with a sentence, never a 5xx."""
    answer = await door.post("/parcels", content=content, headers={"content-type": content_type})
    assert answer.status_code == status, answer.text
    if status != 200:
        assert answer.json()["detail"]
        assert answer.json()["code"] != "INTERNAL"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("DELETE", "/parcels", 405),
        ("GET", "/errors/%00", 404),
        ("GET", "/numbers/abc", 422),
        ("GET", "/numbers/" + "9" * 6000, 422),
        ("GET", "/numbers/1?size=%00", 422),
        ("GET", "/numbers/1?size=%ff%fe", 422),
        ("GET", "/numbers/1?size=" + "1" * 5000, 422),
        ("GET", "/%ff%fe", 404),
        ("GET", "/" + "a/" * 2000, 404),
        ("BREW", "/parcels", 405),
    ],
)
async def test_hostile_paths(door: httpx.AsyncClient, method: str, path: str, status: int):
    """Unknown, broken and enormous paths and queries are the caller's fault."""
    answer = await door.request(method, path)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]


async def test_a_long_stream_is_cut_off(door: httpx.AsyncClient):
    """A body without an announced length is read no further than the limit."""

    async def endless() -> AsyncGenerator[bytes]:
        for _ in range(1000):
            yield b" " * 1000

    answer = await door.post("/parcels", content=endless(), headers={"content-type": JSON})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "header", ["Idempotency-Key", "traceparent", "If-Match", "Content-Length", "X-Actor"]
)
@pytest.mark.parametrize("value", [b"\xff\xfe", b"x" * 9000, b"\xed\xa0\x80", b"-1", b"%00"])
async def test_hostile_headers(door: httpx.AsyncClient, header: str, value: bytes):
    """No header makes a route break."""
    headers: Any = {"content-type": JSON, header: value}
    answer = await door.post("/parcels", content=b'{"name": "x"}', headers=headers)
    assert answer.status_code in (200, 413, 422)
