"""What every wish over REST brings in its headers, and how its receipt is answered."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Header, Request
from fastapi.responses import JSONResponse
from uuid_utils.compat import uuid7

from contracts.chassis.errors import Invalid, Refused
from contracts.chassis.receipts import Granted
from contracts.values import Code, command_id

_KEY = re.compile(r"^[\x21-\x7e]{1,255}$")
_ACTOR = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")
_ETAG = re.compile(r'^(?:W/)?"(\d{1,9})"$')


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, under which command id, and on which version of what they ask about."""

    command_id: str
    actor: str
    expected_version: int | None
    respond_async: bool


async def caller(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(description="The same key and body give the stored answer; at most 255 characters."),
    ] = None,
    if_match: Annotated[str | None, Header(description='The ETag you read, such as "7".')] = None,
    prefer: Annotated[str | None, Header(description="`respond-async` answers 202 at once.")] = None,
    x_actor: Annotated[
        str | None, Header(description="Who you are, for the audit trail; unverified for now.")
    ] = None,
) -> Caller:
    """The caller of a wish. Raises Invalid for a header that cannot be what it should be."""
    if idempotency_key is not None and _KEY.match(idempotency_key) is None:
        raise Invalid("Idempotency-Key must be 1 to 255 visible ASCII characters")
    if x_actor is not None and _ACTOR.match(x_actor) is None:
        raise Invalid("X-Actor must be 1 to 64 letters, digits or _ . : -")
    version = _ETAG.match(if_match) if if_match is not None else None
    if if_match is not None and version is None:
        raise Invalid('If-Match must be an ETag as we gave it, such as "7"')
    named = command_id(request.url.path, idempotency_key) if idempotency_key else str(uuid7())
    return Caller(
        command_id=named,
        actor=x_actor or "anonymous",
        expected_version=int(version.group(1)) if version else None,
        respond_async="respond-async" in (prefer or ""),
    )


def answered(
    granted: Granted[Any], caller: Caller, about: dict[str, Any], refusal: dict[str, Any] | None = None
) -> JSONResponse:
    """200 when the wish is granted, 202 when the other service must still answer.

    Raises Refused when it is rejected.
    `about` names the order or fulfillment; `refusal` says where it stands, for a client that was refused."""
    receipt = granted.receipt
    if receipt.status == "REJECTED":
        refused = Refused(receipt.detail, code=receipt.code or Code.NOT_ALLOWED_NOW, cut_off=receipt.cut_off)
        refused.extensions = {"commandId": receipt.command_id, **(refusal or {})}
        raise refused
    waits = receipt.status == "RECEIVED" or caller.respond_async
    headers = {"ETag": f'"{granted.version}"'} if granted.version else {}
    if granted.replayed:
        headers["Idempotent-Replayed"] = "true"
    if waits:
        headers["Location"] = f"/commands/{receipt.command_id}"
    body = {**about, **receipt.model_dump(mode="json", exclude_none=True)}
    return JSONResponse(body, status_code=202 if waits else 200, headers=headers)


def cursor_of(moment: datetime, name: str) -> str:
    """Where a page ended, for the next one to go on."""
    return base64.urlsafe_b64encode(json.dumps([moment.isoformat(), name]).encode()).decode()


def after(cursor: str | None, id_of: Callable[[str], str]) -> tuple[datetime | None, str | None]:
    """What a cursor of ours says. Raises Invalid for anything else; `id_of` knows which ids there can be."""
    if cursor is None:
        return None, None
    try:
        moment, name = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        return datetime.fromisoformat(moment), id_of(name)
    except (ValueError, TypeError, AttributeError) as error:
        raise Invalid("cursor must be the `next` of a page of ours") from error


def as_of(moment: datetime, source: str = "projection") -> dict[str, Any]:
    """How fresh an answer is, and where it comes from."""
    return {"asOf": moment, "source": source}
