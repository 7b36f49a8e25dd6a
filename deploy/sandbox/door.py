"""How a provider is spoken to over HTTP: strict bodies, one answer per key, problems as JSON."""

import asyncio
import json
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from deploy.sandbox.ledger import Ledger
from deploy.sandbox.misbehaviour import Operation, Trouble
from deploy.sandbox.verdicts import Answer, Call, Verdict

MAX_BODY_BYTES = 16 * 1024
MAX_KEY_LENGTH = 255
CUT = "tandem.cut"
"""The ASGI extension that drops the connection; see `server.CuttableProtocol`."""

STRICT = ConfigDict(
    alias_generator=to_camel,
    validate_by_name=False,
    validate_by_alias=True,
    extra="forbid",
    frozen=True,
    hide_input_in_errors=True,
)
Body = TypeVar("Body", bound=BaseModel)


class Problem(HTTPException):
    """A request that no provider looks at; it leaves no trace in a ledger."""

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.code = code


class Cut(Response):
    """No answer: the connection ends without a byte."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"][CUT]()
        while (await receive())["type"] != "http.disconnect":
            pass


class Door:
    """One provider's way in: from the request to its ledger and back."""

    def __init__(self, ledger: Ledger, stopping: asyncio.Event) -> None:
        self.ledger = ledger
        self._stopping = stopping

    async def serve(self, call: Call, trouble: Trouble, decide: Callable[[], Verdict]) -> Response:
        """Does it once per key and answers, slowly or not at all where the script says so.

        Between two waits nothing else runs, so that a twin finds either nothing or the stored answer.
        """
        if (
            trouble.delay_seconds
            and not self.ledger.is_stored(call.key)
            and await self._stops_within(trouble.delay_seconds)
        ):
            return Cut()
        answer = self.ledger.perform(call, trouble, decide)
        if (
            answer.applied
            and trouble.silent_seconds is not None
            and (trouble.silent_seconds == 0 or await self._stops_within(trouble.silent_seconds))
        ):
            return Cut()
        return _response(answer)

    async def operation(self, request: Request) -> Response:
        """The stored answer of a key, with what it was about."""
        found = self.ledger.operation(request.path_params["key"])
        if found is None:
            raise Problem(404, "not_found", "No finished operation has this key.")
        return json_response(200, found)

    async def _stops_within(self, seconds: float) -> bool:
        """True when the process is told to stop before the time is over."""
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True


async def read(request: Request, model: type[Body]) -> Body:
    """The request's body. Raises Problem when it is not exactly what the model says."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise Problem(415, "unsupported_media_type", "Send application/json.")
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise Problem(413, "body_too_large", f"A body has at most {MAX_BODY_BYTES} bytes.")
    except ClientDisconnect:
        raise Problem(400, "invalid_request", "The body ended early.") from None
    try:
        return model.model_validate_json(bytes(body))
    except ValidationError as error:
        raise Problem(422, "invalid_request", _explained(error)) from None


def call_of(
    request: Request, operation: Operation, body: BaseModel | None = None, *, about: str | None = None
) -> Call:
    """The call with its key and fingerprint, about what the path or `about` names.

    Raises Problem when the key cannot be one."""
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= MAX_KEY_LENGTH and key.isascii() and key.isprintable()):
        detail = f"Idempotency-Key: 1 to {MAX_KEY_LENGTH} printable ASCII characters."
        raise Problem(422, "invalid_request", detail)
    about = about or request.path_params.get("reference")
    content = body.model_dump_json() if body else ""
    fingerprint = blake2b(f"{operation}\n{about}\n{content}".encode(), digest_size=16).digest()
    return Call(operation, key, fingerprint, about)


def json_response(status: int, content: Any, headers: Mapping[str, str] | None = None) -> Response:
    media_type = "application/json" if status < 400 else "application/problem+json"
    return Response(json.dumps(content, separators=(",", ":")), status, headers, media_type)


def problem_response(
    status: int, code: str, detail: str, headers: Mapping[str, str] | None = None
) -> Response:
    content = {"type": "about:blank", "status": status, "code": code, "detail": detail}
    return json_response(status, content, headers)


def _response(answer: Answer) -> Response:
    headers = {"Idempotent-Replayed": "true"} if answer.replayed else None
    return json_response(answer.http_status, answer.body, headers)


def _explained(error: ValidationError) -> str:
    """Where and what, without the values: they may name a person."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in found[:5])[:500]
