"""What waits for a person, in a table of each service: raised once while it lasts, claimed, and resolved.

What a stream's facts raise is written by its projection, in the facts' own transaction, and carries the id of
the fact that raised it. What is seen from beside a stream (`mismatch`) is raised by whoever sees it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from contracts.chassis.errors import NotFound, Refused
from contracts.chassis.faults import Fault, Resolution
from contracts.chassis.postgres import Connection, Database, Row
from contracts.values import Code

# One row is open for each (stream, code, step): raised again, it keeps its id, its age and its claim.
_RAISE: LiteralString = """
    insert into exceptions (
        id, stream, subject, code, fault, step, reason, evidence, resolutions, raised_at
    )
    values (
        %(id)s, %(stream)s, %(subject)s, %(code)s, %(fault)s, %(step)s, %(reason)s, %(evidence)s,
        %(resolutions)s, coalesce(%(raised_at)s, clock_timestamp())
    )
    on conflict (stream, code, step) where resolved_at is null do update
    set fault = excluded.fault,
        reason = excluded.reason,
        evidence = excluded.evidence,
        resolutions = excluded.resolutions
    returning id
    """

_RESOLVE: LiteralString = """
    update exceptions
    set resolved_at = clock_timestamp(),
        resolution = %(resolution)s,
        resolved_by = %(by)s
    where stream = %(stream)s
      and code = %(code)s
      and step is not distinct from %(step)s
      and resolved_at is null
    """

_RESOLVE_ONE: LiteralString = """
    update exceptions
    set resolved_at = clock_timestamp(),
        resolution = %(resolution)s,
        resolved_by = %(by)s
    where id = %(id)s
      and resolved_at is null
      and (claimed_by is null or claimed_by = %(by)s)
    returning id
    """

_CLAIM: LiteralString = """
    update exceptions
    set claimed_by = %(by)s,
        claimed_at = coalesce(claimed_at, now())
    where id = %(id)s
      and resolved_at is null
      and (claimed_by is null or claimed_by = %(by)s)
    returning id
    """

_RELEASE: LiteralString = """
    update exceptions
    set claimed_by = null,
        claimed_at = null
    where id = %(id)s
    """

_SELECT: LiteralString = """
    select *, extract(epoch from now() - raised_at)::float as age_seconds
    from exceptions
    """

_FIND: LiteralString = _SELECT + "where id = %(id)s"

_CLAIMED: LiteralString = (
    _SELECT + "where subject = %(subject)s and resolved_at is null and claimed_by is not null"
)

# The longest waiting first; a page never shifts when new ones come.
_PAGE: LiteralString = (
    _SELECT
    + """
    where (resolved_at is null or %(resolved)s)
      and (%(subject)s::text is null or subject = %(subject)s)
      and (%(code)s::text is null or code = %(code)s)
      and (%(after_at)s::timestamptz is null or (raised_at, id) > (%(after_at)s, %(after_id)s::uuid))
    order by raised_at, id
    limit %(limit)s
    """
)


# Whoever comes second finds the level there already.
_ESCALATE: LiteralString = """
    update exceptions
    set level = case when raised_at < now() - %(again)s::interval then 2 else 1 end,
        escalated_at = now()
    where resolved_at is null
      and level < case
          when raised_at < now() - %(again)s::interval then 2
          when raised_at < now() - %(first)s::interval then 1
          else 0
      end
    returning id, subject, code, level
    """

_COUNT: LiteralString = """
    select level, count(*) as open
    from exceptions
    where resolved_at is null
    group by level
    """
LEVELS = (0, 1, 2)
"""New, waiting for too long, and for much too long."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a person has to know about it. Nothing personal in reason or evidence."""

    stream: str
    subject: str
    """The order or the fulfillment, or what else it is about."""
    code: Code
    fault: Fault
    reason: str
    """One sentence: what does not go on, and why."""
    step: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """How often it was tried, the last error's kind, the provider key; what was found where two disagree."""
    resolutions: Sequence[Resolution] = ()
    """What may be done about it, the usual one first."""
    id: UUID | None = None
    """Of the fact that raises it; None makes a new one."""
    raised_at: datetime | None = None


async def raise_(connection: Connection, trouble: Trouble) -> UUID:
    """It is open; where it was already, that row has the newer reason and evidence. Answers with its id."""
    rows = await connection.queue(
        _RAISE,
        {
            "id": trouble.id or uuid7(),
            "stream": trouble.stream,
            "subject": trouble.subject,
            "code": trouble.code,
            "fault": trouble.fault,
            "step": trouble.step,
            "reason": trouble.reason,
            "evidence": Jsonb(dict(trouble.evidence)),
            "resolutions": list(trouble.resolutions),
            "raised_at": trouble.raised_at,
        },
    )
    row = await rows.fetchone()
    if row is None:
        raise AssertionError("an exception was neither raised nor open")
    return row["id"]


async def resolve(
    connection: Connection,
    stream: str,
    code: Code,
    *,
    step: str | None = None,
    resolution: str,
    by: str,
) -> None:
    """It is not open any more; one that was not stays as it is."""
    await connection.queue(
        _RESOLVE, {"stream": stream, "code": code, "step": step, "resolution": resolution, "by": by}
    )


async def resolve_one(connection: Connection, exception_id: UUID, *, resolution: str, by: str) -> bool:
    """The same by its id; False when it was not open, or somebody else works on it."""
    rows = await connection.queue(_RESOLVE_ONE, {"id": exception_id, "resolution": resolution, "by": by})
    return await rows.fetchone() is not None


async def find(database: Database, exception_id: UUID) -> Row:
    """Its row, with `age_seconds`. Raises NotFound."""
    row = await database.fetch_one(_FIND, id=exception_id)
    if row is None:
        raise NotFound("no such exception here; the other service may know it")
    return row


async def page(
    database: Database,
    *,
    resolved: bool = False,
    subject: str | None = None,
    code: str | None = None,
    after: tuple[datetime | None, str | None] = (None, None),
    limit: int = 50,
) -> list[Row]:
    """The open ones, or all, longest waiting first; `after` is the last row's raised_at and id."""
    after_at, after_id = after
    return await database.fetch(
        _PAGE,
        resolved=resolved,
        subject=subject,
        code=code,
        after_at=after_at,
        after_id=after_id,
        limit=limit,
    )


async def claim(database: Database, exception_id: UUID, by: str) -> Row:
    """Whoever claims it works on it; claimed again by the same, nothing changes.

    Raises Refused when somebody else does or it is resolved, NotFound when there is none."""
    async with database.transaction() as connection:
        claimed = await (await connection.queue(_CLAIM, {"id": exception_id, "by": by})).fetchone()
    row = await find(database, exception_id)
    if claimed is None:
        raise out_of_reach(row)
    return row


def expect_free(row: Row, actor: str) -> None:
    """Nobody else works on it: raises Refused, saying who does. What nobody has claimed is free for all."""
    if row["resolved_at"] is None and row["claimed_by"] not in (None, actor):
        raise _is_taken(row)


async def claimed(database: Database, subject: str) -> list[Row]:
    """What is open about an order or a parcel and somebody works on."""
    return await database.fetch(_CLAIMED, subject=subject)


async def release(database: Database, exception_id: UUID) -> Row:
    """Nobody has claimed it; anyone may lift a claim, since whoever made it may be gone."""
    await database.execute(_RELEASE, id=exception_id)
    return await find(database, exception_id)


async def escalate(database: Database, *, first: timedelta, again: timedelta) -> list[Row]:
    """Those that have waited for so long have the next level; answers with what has it only now."""
    return await database.fetch(_ESCALATE, first=first, again=again)


async def counted(database: Database) -> dict[int, int]:
    """How many are open, by level."""
    rows = await database.fetch(_COUNT)
    return dict.fromkeys(LEVELS, 0) | {row["level"]: row["open"] for row in rows}


def out_of_reach(row: Row) -> Refused:
    """Why nobody who asks can do anything about it: it is resolved, or somebody else works on it."""
    if row["resolved_at"] is not None:
        return _refused(row, f"it is resolved: {row['resolution']}", Code.ALREADY_ENDED)
    return _is_taken(row)


def _is_taken(row: Row) -> Refused:
    detail = f"{row['claimed_by']} works on it; `release` of exception {row['id']} lifts that claim"
    return _refused(row, detail, Code.ALREADY_CLAIMED)


def _refused(row: Row, detail: str, code: Code) -> Refused:
    refused = Refused(detail, code=code)
    refused.extensions = {"claimedBy": row["claimed_by"], "claimedAt": _moment(row["claimed_at"])}
    return refused


def _moment(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
