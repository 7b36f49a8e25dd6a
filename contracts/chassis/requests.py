"""What every wish over REST brings in its headers, and how its receipt is answered."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Header, Query, Request
from fastapi.responses import JSONResponse
from pydantic.alias_generators import to_camel
from uuid_utils.compat import uuid7

from contracts.chassis.errors import Invalid, Refused
from contracts.chassis.event_store import Fact
from contracts.chassis.receipts import Granted
from contracts.values import Code, command_id

_KEY = re.compile(r"^[\x21-\x7e]{1,255}$")
_ACTOR = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")
_DRY_RUN = re.compile(r"^dry[_-]?run$", re.IGNORECASE)
"""Whoever misspells it means it; taken as unknown, the wish would be granted for real."""
_SECONDS = re.compile(r'^"?([0-9]{1,9})"?$')
_ETAG = re.compile(r'^(?:W/)?"(\d{1,9})"$')


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, under which command id, and on which version of what they ask about."""

    command_id: str
    actor: str
    expected_version: int | None
    respond_async: bool
    wait: int | None = None
    """So many seconds for the other service to answer."""
    dry_run: bool = False
    """Only what would happen is asked for; nothing does, and no key is used up."""


LONGEST_WAIT = 60
Prefer = Annotated[
    str | None,
    Header(
        description="`wait=N` answers as soon as there is something to tell, at the latest after N seconds, "
        f"of which at most {LONGEST_WAIT} are taken. `respond-async` answers 202 at once."
    ),
]


async def patience(prefer: Prefer = None) -> int | None:
    """How many seconds the caller would wait. Raises Invalid when that is no number."""
    for preference in (prefer or "").split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            seconds = _SECONDS.match(value.strip())
            if seconds is None:
                raise Invalid(f"Prefer: wait must be a whole number of seconds, up to {LONGEST_WAIT}")
            return min(int(seconds.group(1)), LONGEST_WAIT)
    return None


XActor = Annotated[str | None, Header(description="Who you are, for the audit trail; unverified for now.")]


def _actor(named: str | None) -> str:
    if named is not None and _ACTOR.match(named) is None:
        raise Invalid("X-Actor must be 1 to 64 letters, digits or _ . : -")
    return named or "anonymous"


async def actor_without_rehearsal(request: Request, x_actor: XActor = None) -> str:
    """Who asks for something that has no dry run. Raises Invalid when one is asked for."""
    if any(_DRY_RUN.match(name) for name in request.query_params):
        raise Invalid("this cannot be rehearsed; nothing was done")
    return _actor(x_actor)


async def caller(
    request: Request,
    *,
    idempotency_key: Annotated[
        str | None,
        Header(description="The same key and body give the stored answer; at most 255 characters."),
    ] = None,
    if_match: Annotated[str | None, Header(description='The ETag you read, such as "7".')] = None,
    prefer: Prefer = None,
    x_actor: XActor = None,
    dry_run: Annotated[
        bool,
        Query(alias="dryRun", description="Answers what would happen, facts included, and changes nothing."),
    ] = False,
) -> Caller:
    """The caller of a wish. Raises Invalid for a header that cannot be what it should be."""
    if idempotency_key is not None and _KEY.match(idempotency_key) is None:
        raise Invalid("Idempotency-Key must be 1 to 255 visible ASCII characters")
    actor = _actor(x_actor)
    version = _ETAG.match(if_match) if if_match is not None else None
    if if_match is not None and version is None:
        raise Invalid('If-Match must be an ETag as we gave it, such as "7"')
    if misspelt := [name for name in request.query_params if name != "dryRun" and _DRY_RUN.match(name)]:
        raise Invalid(f"query {misspelt[0]}: the parameter is called dryRun; nothing was done")
    key = None if dry_run else idempotency_key
    named = command_id(request.url.path, key) if key else str(uuid7())
    return Caller(
        command_id=named,
        actor=actor,
        expected_version=int(version.group(1)) if version else None,
        respond_async="respond-async" in (prefer or ""),
        wait=await patience(prefer),
        dry_run=dry_run,
    )


def answered(
    granted: Granted[Any], caller: Caller, about: dict[str, Any], refusal: dict[str, Any] | None = None
) -> JSONResponse:
    """200 when the wish is granted, or would be; 202 while the other service must still answer.

    Raises Refused when it is rejected.
    `about` names the order or fulfillment; `refusal` says where it stands, for a client that was refused."""
    receipt = granted.receipt
    if receipt.status == "REJECTED":
        refused = Refused(receipt.detail, code=receipt.code or Code.NOT_ALLOWED_NOW, cut_off=receipt.cut_off)
        named = {"dryRun": True} if caller.dry_run else {"commandId": receipt.command_id}
        refused.extensions = {**named, **(refusal or {})}
        raise refused
    if caller.dry_run:
        return rehearsed(granted, about)
    waits = receipt.status == "RECEIVED" or (caller.respond_async and caller.wait is None)
    headers = {"ETag": f'"{granted.version}"'} if granted.version else {}
    if granted.replayed:
        headers["Idempotent-Replayed"] = "true"
    if waits:
        headers["Location"] = f"/commands/{receipt.command_id}"
    headers |= preference_applied(caller.wait)
    body = {**about, **receipt.model_dump(mode="json", exclude_none=True)}
    return JSONResponse(body, status_code=202 if waits else 200, headers=headers)


def preference_applied(wait: int | None) -> dict[str, str]:
    """The header that says how long an answer was allowed to take."""
    return {} if wait is None else {"Preference-Applied": f"wait={wait}"}


def rehearsed(granted: Granted[Any], about: dict[str, Any]) -> JSONResponse:
    """What the wish would have led to: the status, the receipt's, and the facts; none of it is stored."""
    state: Any = granted.state
    answer = {
        **about,
        "dryRun": True,
        "status": state.status,
        "receiptStatus": granted.receipt.status,
        "facts": [{"type": type(fact).__name__, "data": _shown(fact)} for fact in granted.facts],
    }
    return JSONResponse(answer)


def _shown(fact: Fact) -> dict[str, Any]:
    """A fact as others see it: its stored names are Python's."""
    data = fact.model_dump(mode="json", exclude_none=True)
    return {to_camel(name): value for name, value in data.items()}


def action_of(action: Any, call: tuple[str, str, Any]) -> dict[str, Any]:
    """An action of a horizon as others see it; one that is allowed with method, path and body of its call."""
    known = {name: value for name, value in asdict(action).items() if value is not None}
    shown = {to_camel(name): value for name, value in known.items()}
    if "cost" in known:
        shown["cost"] = {to_camel(name): value for name, value in known["cost"].items()}
    if action.allowed:
        shown["call"] = dict(zip(("method", "path", "body"), call, strict=True))
    return shown


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
