"""The routes for what waits for a person: see it, claim it, and do something about it.

What a stream's facts raised is resolved by a wish of that stream, decided as any other. What was seen from
beside it (`mismatch`) has no facts there, and is closed in the table: see `mismatches`. A claim binds: nobody
else resolves what is claimed until it is released.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse
from pydantic import Field

from contracts.chassis import exceptions, mismatches, pii, receipts
from contracts.chassis.errors import Invalid, Refused
from contracts.chassis.mismatches import Word
from contracts.chassis.postgres import Database, Row
from contracts.chassis.requests import Caller, after, caller, cursor_of
from contracts.envelope import Wish, WishName, WishPayload
from contracts.order import Because, Request
from contracts.values import Code


class Door(Protocol):
    """What these routes need of a service."""

    @property
    def database(self) -> Database: ...


ByCaller = Annotated[Caller, Depends(caller)]
_How = Literal["retry", "skip"]
Submit = Callable[[Any, Caller, str, WishName, Wish], Awaitable[JSONResponse]]


@dataclass(frozen=True, slots=True)
class Subjects:
    """What a service's exceptions are about, and how something is wished of it."""

    named: Callable[[str], dict[str, str]]
    """The names of one, its workflow's id among them where it has one; none of what is nothing of ours."""
    submit: Submit
    cancel: WishName


class Page(Request):
    """Which exceptions to list; an unknown parameter is an error."""

    subject: Annotated[str, Field(max_length=64)] | None = None
    """An order or a fulfillment id."""
    code: Code | None = None
    resolved: bool = False
    """Those that are resolved as well."""
    cursor: Annotated[str, Field(max_length=200)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


def routes(subjects: Subjects, granted: dict[int | str, dict[str, Any]]) -> APIRouter:
    """The same ones in each service, over its own table; `granted` describes the answers to a wish."""
    router = APIRouter(prefix="/exceptions")

    @router.get("")
    async def list_exceptions(request: HttpRequest, page: Annotated[Page, Query()]) -> dict[str, Any]:
        """What waits for a person, longest waiting first; `next` is the cursor of the following page."""
        rows = await exceptions.page(
            _door(request).database,
            resolved=page.resolved,
            subject=page.subject,
            code=page.code,
            after=after(page.cursor, _id_of),
            limit=page.limit + 1,
        )
        shown = {"exceptions": [_shown(subjects, row) for row in rows[: page.limit]]}
        last = rows[page.limit - 1] if len(rows) > page.limit else None
        return {**shown, "next": cursor_of(last["raised_at"], str(last["id"]))} if last else shown

    @router.get("/{exception_id}")
    async def show_exception(request: HttpRequest, exception_id: UUID) -> dict[str, Any]:
        """What happened, how often it was tried, what may be done about it, and what was said when it was."""
        database = _door(request).database
        row = await exceptions.find(database, exception_id)
        async with database.connection() as connection:
            said = await pii.get(connection, str(exception_id), "note", 1) or {}
        return {**_shown(subjects, row), "because": said.get("reason"), "note": said.get("note")}

    @router.post("/{exception_id}/claim")
    async def claim_exception(request: HttpRequest, caller: ByCaller, exception_id: UUID) -> dict[str, Any]:
        """Whoever asks works on it; refused while somebody else does."""
        return _shown(subjects, await exceptions.claim(_door(request).database, exception_id, caller.actor))

    @router.post("/{exception_id}/release")
    async def release_exception(request: HttpRequest, exception_id: UUID) -> dict[str, Any]:
        """Nobody has claimed it any more; anyone may lift a claim."""
        return _shown(subjects, await exceptions.release(_door(request).database, exception_id))

    @router.post("/{exception_id}/retry", responses=granted)
    async def retry_exception(
        request: HttpRequest, caller: ByCaller, exception_id: UUID, body: Because | None = None
    ) -> JSONResponse:
        """The step is tried again at once; with other data, once those were changed.

        A record that was set aside is let in or sent once more; whatever else does not add up is looked at
        again, and told anew if it is still so."""
        return await _resolved(request, caller, exception_id, "retry", body)

    @router.post("/{exception_id}/skip", responses=granted)
    async def skip_exception(
        request: HttpRequest, caller: ByCaller, exception_id: UUID, body: Because | None = None
    ) -> JSONResponse:
        """The step is left out, where that is safe: what it was for has been settled elsewhere.

        A record that was set aside is discarded, for which `reason` is required and kept with it. Whatever
        else does not add up is left as it is, and told again after a day if it is still so."""
        return await _resolved(request, caller, exception_id, "skip", body)

    @router.post("/{exception_id}/cancel", responses=granted)
    async def cancel_exception(
        request: HttpRequest, caller: ByCaller, exception_id: UUID, body: Because | None = None
    ) -> JSONResponse:
        """What it is about is cancelled, by the wish that anyone may send for that."""
        door = _door(request)
        row = await exceptions.find(door.database, exception_id)
        await _expect_free(door.database, row, caller)
        if row["fault"] == "mismatch":
            mismatches.expect_offered(row, "cancel")
        return await subjects.submit(
            door, caller, row["subject"], subjects.cancel, _because(body, WishPayload())
        )

    async def _resolved(
        request: HttpRequest, caller: Caller, exception_id: UUID, how: _How, body: Because | None
    ) -> JSONResponse:
        door = _door(request)
        row = await exceptions.find(door.database, exception_id)
        await _expect_free(door.database, row, caller)
        if row["fault"] == "mismatch":
            reason, note = (body.reason, body.note) if body else (None, None)
            return await _resolved_beside(request, caller, row, Word(how, caller.actor, reason, note))
        await _refuse_when_resolved(door.database, row, caller)
        payload = WishPayload(resolution=how, code=row["code"], step_key=row["step"])
        wish = _because(body, payload)
        return await subjects.submit(door, caller, row["subject"], "resolveException", wish)

    async def _resolved_beside(request: HttpRequest, caller: Caller, row: Row, word: Word) -> JSONResponse:
        """Asked once more for the same by the same person, the answer is the same."""
        names, parked = subjects.named(row["subject"]), request.app.state.parked
        if row["resolved_at"] is None:
            await mismatches.expect_possible(_door(request).database, row, word.how)
        elif (row["resolution"], row["resolved_by"]) != (word.how, word.by):
            raise exceptions.out_of_reach(row)
        if caller.dry_run:
            would: dict[str, Any] = {"status": "RESOLVED", "receiptStatus": "EFFECTIVE", "facts": []}
            return JSONResponse({**names, "dryRun": True, **would})
        if row["resolved_at"] is None:
            await mismatches.resolve(_door(request).database, parked, row, word, names.get("workflowId"))
        return JSONResponse({**names, "commandId": caller.command_id, "status": "EFFECTIVE"})

    return router


async def expect_free(database: Database, subject: str, caller: Caller) -> None:
    """Nobody else works on what waits for a person of an order or a parcel. Raises Refused, saying who does.

    Asked once more by the same command, the first answer stands."""
    for row in await exceptions.claimed(database, subject):
        await _expect_free(database, row, caller)


async def _expect_free(database: Database, row: Row, caller: Caller) -> None:
    try:
        exceptions.expect_free(row, caller.actor)
    except Refused:
        if await _is_new(database, caller):
            raise


async def _refuse_when_resolved(database: Database, row: Row, caller: Caller) -> None:
    """Asked once more by the same command, the first answer stands; another exception is another one."""
    if row["resolved_at"] is not None and await _is_new(database, caller):
        raise exceptions.out_of_reach(row)


async def _is_new(database: Database, caller: Caller) -> bool:
    return await database.fetch_one(receipts.FIND, command_id=caller.command_id) is None


def _shown(subjects: Subjects, row: Row) -> dict[str, Any]:
    return {
        "id": str(row["id"]),
        **subjects.named(row["subject"]),
        "subject": row["subject"],
        "code": row["code"],
        "fault": row["fault"],
        "stepKey": row["step"],
        "reason": row["reason"],
        "evidence": row["evidence"],
        "resolutions": row["resolutions"],
        "raisedAt": row["raised_at"],
        "ageSeconds": row["age_seconds"],
        "level": row["level"],
        "escalatedAt": row["escalated_at"],
        "claimedBy": row["claimed_by"],
        "claimedAt": row["claimed_at"],
        "resolvedAt": row["resolved_at"],
        "resolution": row["resolution"],
        "resolvedBy": row["resolved_by"],
    }


def _because(body: Because | None, payload: WishPayload) -> Wish:
    reason, note = (body.reason, body.note) if body else (None, None)
    return Wish(reason=reason, note=note, payload=payload)


def _door(request: HttpRequest) -> Door:
    return request.app.state.door


def _id_of(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError as error:
        raise Invalid("not the id of an exception") from error
