"""Errors as RFC 9457 problem+json, and a door that lets in only what can be understood and stored.

The door reads a body once, within its limit, before any route sees it: what is not JSON, repeats a name,
nests too deeply or holds a character that PostgreSQL cannot keep is answered there, so no route can make it a
5xx. No answer quotes what was sent.
"""

import asyncio
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, cast

import psycopg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contracts.chassis import telemetry
from contracts.chassis.admission import Admission
from contracts.chassis.errors import (
    Conflict,
    Invalid,
    NotFound,
    Overloaded,
    Refused,
    TandemError,
    TooMany,
    TooOften,
    Unavailable,
)
from contracts.chassis.settings import ApiSettings
from contracts.values import Code
from contracts.values import Message as WireMessage

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
_DEEPEST = 32
_LISTED_FAULTS = 10
_RETRYABLE = frozenset(
    (
        Code.UNAVAILABLE,
        Code.OVERLOADED,
        Code.CONFLICT,
        Code.TOO_MANY_WISHES,
        Code.TOO_MANY_REQUESTS,
        Code.TOO_SLOW,
        Code.STORE_BEHIND,
    )
)
_NEVER_TURNED_AWAY = ("/health/", "/metrics")
"""How somebody sees that we are overloaded."""
_STATUS_BY_CODE: Mapping[Code, int] = {
    Code.VERSION_MISMATCH: 412,
    # Not 503: nothing is away, and asking again helps only when a person has decided.
    Code.STORE_BEHIND: 409,
    Code.BODY_TOO_LARGE: 413,
    Code.UNSUPPORTED_MEDIA_TYPE: 415,
    Code.METHOD_NOT_ALLOWED: 405,
}
_STATUS_BY_TYPE: Mapping[type[TandemError], int] = {
    Refused: 409,
    Invalid: 422,
    NotFound: 404,
    TooMany: 429,
    Conflict: 409,
    Unavailable: 503,
}


class Fault(WireMessage):
    """One thing that is wrong with a request."""

    field: str
    """Such as `items[0].quantity`, or `header If-Match`."""
    problem: str


class Problem(WireMessage):
    """What every answer of 400 and above says."""

    type: str
    """`urn:tandem:problem:` and the code."""
    title: str
    status: int
    code: Code
    detail: str
    current_status: str | None = None
    current_step: str | None = None
    allowed_actions: Annotated[list[str], Field(default_factory=list)]
    """What would be accepted now."""
    cut_off: str | None = None
    """The fact after which this is refused for good."""
    retryable: bool = False
    """True when the same request may succeed later."""
    command_id: str | None = None
    trace_id: str | None = None
    errors: Annotated[list[Fault], Field(default_factory=list)]


def install(app: FastAPI, settings: ApiSettings) -> None:
    """Every error of this application is a problem+json answer with a trace id."""
    for kind in (*_STATUS_BY_TYPE, TandemError):
        app.add_exception_handler(kind, _answering(_of_ours))
    for kind in (psycopg.OperationalError, PoolTimeout, PoolClosed, TooManyRequests):
        app.add_exception_handler(kind, _answering(_of_a_store_that_is_away))
    for kind in (psycopg.DataError, UnicodeError):
        app.add_exception_handler(kind, _answering(_of_an_unstorable_value))
    app.add_exception_handler(RequestValidationError, _answering(_of_validation))
    app.add_exception_handler(HTTPException, _answering(_of_routing))
    app.add_middleware(Door, settings=settings)
    app.add_middleware(telemetry.TraceIdHeader)


def problem(
    status: int,
    code: Code,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    extensions: Mapping[str, Any] | None = None,
) -> Response:
    """The answer itself; extensions are further members, or other values for the standard ones."""
    members: dict[str, Any] = {
        "type": f"urn:tandem:problem:{code.lower().replace('_', '-')}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "code": code,
        "detail": detail,
        "currentStatus": None,
        "currentStep": None,
        "allowedActions": [],
        "retryable": code in _RETRYABLE,
        "traceId": telemetry.current_trace_id(),
        **(extensions or {}),
    }
    return Response(json.dumps(members), status, dict(headers or {}), MEDIA_TYPE)


def _answering(answer: Callable[[Any], Response]) -> Callable[[Request, Exception], Any]:
    async def handler(_request: Request, error: Exception) -> Response:
        return answer(error)

    return handler


def _of_ours(error: TandemError) -> Response:
    by_type = (status for kind, status in _STATUS_BY_TYPE.items() if isinstance(error, kind))
    status = _STATUS_BY_CODE.get(error.code) or next(by_type, 500)
    if status == 500:
        log.error("request failed", error=error)
        return problem(500, Code.INTERNAL, _UNEXPECTED)
    extensions = dict(error.extensions)
    if isinstance(error, Refused) and error.cut_off:
        extensions.setdefault("cutOff", error.cut_off)
    return problem(
        status, error.code, error.detail, headers=_retry_after(error, status), extensions=extensions
    )


def _retry_after(error: TandemError, status: int) -> dict[str, str]:
    if status not in (429, 503):
        return {}
    after = error.retry_after if isinstance(error, Unavailable | TooMany) else None
    if isinstance(error, TooMany) and after is None:
        return {}
    return {"Retry-After": str(max(1, math.ceil(after.total_seconds())) if after else 1)}


def _of_a_store_that_is_away(error: Exception) -> Response:
    log.warning("store is away", error=error)
    return _of_ours(Unavailable("The store does not answer now; try again."))


def _of_an_unstorable_value(error: Exception) -> Response:
    log.error("a value came through that cannot be stored", error=error)
    return problem(422, Code.INVALID_REQUEST, f"A value of the request cannot be stored; {_FOUND_BY}.")


def _of_routing(error: HTTPException) -> Response:
    headers = error.headers
    match error.status_code:
        case 404:
            return problem(404, Code.NOT_FOUND, "There is no such path.", headers=headers)
        case 405:
            detail = "This path does not take that method; see the header Allow."
            return problem(405, Code.METHOD_NOT_ALLOWED, detail, headers=headers)
        case 413:
            return problem(413, Code.BODY_TOO_LARGE, "The body is too large.", headers=headers)
        case status if status < 500:
            log.warning("a request was not understood", error=error, status=status)
            detail = f"The request cannot be understood; {_FOUND_BY}."
            return problem(status, Code.INVALID_REQUEST, detail, headers=headers)
        case _:
            return problem(500, Code.INTERNAL, _UNEXPECTED)


_FOUND_BY = "the trace id finds it in our logs"
_UNEXPECTED = f"Something unexpected went wrong; {_FOUND_BY}."


def _of_validation(error: RequestValidationError) -> Response:
    errors = cast("Sequence[Mapping[str, Any]]", error.errors())
    faults = [(_field(each["loc"]), _said(each)) for each in errors]
    shown = [f"{field}: {said}" for field, said in faults[:3]]
    more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
    listed = [{"field": field, "problem": said} for field, said in faults[:_LISTED_FAULTS]]
    return problem(422, Code.INVALID_REQUEST, "; ".join(shown) + more, extensions={"errors": listed})


_PLAIN_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_-]{0,39}$")


def _field(location: Iterable[str | int]) -> str:
    """`items[0].quantity`; a name that no field of ours could have is not repeated."""
    place, *path = location
    field = ""
    for part in path:
        if isinstance(part, int):
            field += f"[{part}]"
        else:
            name = part if _PLAIN_NAME.match(part) else "(unknown)"
            field += f".{name}" if field else name
    return (field or "body") if place == "body" else f"{place} {field}"


def _said(error: Mapping[str, Any]) -> str:
    """Pydantic's sentence without its second half, which in parsing errors quotes the value."""
    kind, message = str(error["type"]), str(error["msg"])
    match kind:
        case "value_error" | "assertion_error":
            return message.partition(", ")[2] or "is not valid"
        case "extra_forbidden":
            return "is not a field of this request"
        case "missing":
            return "is required"
        case "union_tag_invalid":
            return "is none of the kinds that are known"
        case _ if kind.endswith(("_parsing", "_error")):
            return message.partition(", ")[0]
        case _:
            return message


class Unreadable(Exception):
    """The body is turned away at the door."""

    def __init__(self, status: int, code: Code, detail: str) -> None:
        super().__init__(detail)
        self.answer = (status, code, detail)


class Door:
    """ASGI middleware: turns away what no route could use or what is too much, and answers for any route
    that breaks."""

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self._app = app
        self._settings = settings
        self._admission = Admission(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_NEVER_TURNED_AWAY):
            await self._app(scope, receive, send)
            return
        begun = False

        async def sent(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            with self._admission.knock(scope):
                body = await self._read(scope, receive)
                async with self._admission.place():
                    if body:
                        _require_storable(_parsed(body))
                    await self._app(scope, _replayed(body, receive), sent)
        except Unreadable as error:
            await problem(*error.answer)(scope, receive, send)
        except (TooOften, Overloaded) as error:
            await _of_ours(error)(scope, receive, send)
        except Exception as error:
            log.error("request failed", error=error, method=scope["method"])
            if begun:
                raise
            await problem(500, Code.INTERNAL, _UNEXPECTED)(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        if "\x00" in scope["path"] or not _is_text(scope["path"]):
            raise Unreadable(404, Code.NOT_FOUND, "There is no such path.")
        if b"%00" in scope.get("query_string", b""):
            raise Unreadable(422, Code.INVALID_REQUEST, "query: must not contain NUL")
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return b""
        headers = dict(scope["headers"])
        try:
            async with asyncio.timeout(self._settings.body_seconds):
                body = await self._limited(headers.get(b"content-length", b"0"), receive)
        except TimeoutError:
            raise Unreadable(408, Code.TOO_SLOW, "The body did not come in time.") from None
        if body:
            _require_json(headers.get(b"content-type", b"").decode("latin-1"))
        return body

    async def _limited(self, announced: bytes, receive: Receive) -> bytes:
        if announced.isdigit() and int(announced[:20]) > self._settings.max_body_bytes:
            raise self._too_large()
        chunks: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > self._settings.max_body_bytes:
                raise self._too_large()
            more = message.get("more_body", False)
        return b"".join(chunks)

    def _too_large(self) -> Unreadable:
        return Unreadable(
            413, Code.BODY_TOO_LARGE, f"The body is larger than {self._settings.max_body_bytes} bytes."
        )


def _replayed(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _require_json(content_type: str) -> None:
    media_type, _, parameters = content_type.lower().partition(";")
    charset = parameters.partition("charset=")[2].strip().strip('"')
    if media_type.strip() != "application/json" or charset not in ("", "utf-8", "utf8"):
        detail = "The body must be application/json in UTF-8."
        raise Unreadable(415, Code.UNSUPPORTED_MEDIA_TYPE, detail)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body.decode(), object_pairs_hook=_without_repeats, parse_constant=_no_constant)
    except UnicodeDecodeError:
        detail = "The body is not UTF-8."
    except json.JSONDecodeError as error:
        detail = f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
    except RecursionError:
        detail = f"The body nests deeper than {_DEEPEST} levels."
    except ValueError as error:
        # Ours, or Python's own limit of 4300 digits.
        detail = str(error) if isinstance(error, _Fault) else "The body has a number with too many digits."
    raise Unreadable(400, Code.INVALID_REQUEST, detail)


class _Fault(ValueError):
    """A sentence of ours about the JSON."""


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Fault("The body has an object that names a field twice.")
    return found


def _no_constant(_name: str) -> Any:
    raise _Fault("The body has a number that JSON does not know, such as NaN.")


def _require_storable(value: Any, where: tuple[str | int, ...] = ("body",)) -> None:
    if len(where) > _DEEPEST:
        raise Unreadable(400, Code.INVALID_REQUEST, f"The body nests deeper than {_DEEPEST} levels.")
    match value:
        case str():
            if "\x00" in value or not _is_text(value):
                detail = f"{_field(where)}: must not contain NUL or lone surrogate characters"
                raise Unreadable(422, Code.INVALID_REQUEST, detail)
        case dict():
            for name, inner in cast("dict[str, Any]", value).items():
                _require_storable(name, where)
                _require_storable(inner, (*where, name))
        case list():
            for index, inner in enumerate(cast("list[Any]", value)):
                _require_storable(inner, (*where, index))
        case _:
            pass


def _is_text(value: str) -> bool:
    """False for a lone surrogate, which no encoding can write."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
