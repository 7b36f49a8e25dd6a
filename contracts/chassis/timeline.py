"""The story of one order as one service can tell it: its own facts and what it heard of the other's."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, LiteralString

from pydantic import ConfigDict, Field

from contracts.chassis.postgres import Database, Row
from contracts.chassis.requests import after, cursor_of
from contracts.values import Message

# A fact and an event of one time are in the order of their streams, so a page never shifts.
_READ: LiteralString = """
    with told as (
        select
            recorded_at as at,
            %(service)s as service,
            stream,
            events.version,
            type,
            meta ->> 'actor' as actor,
            meta ->> 'commandId' as command_id,
            data ->> 'step_key' as step_key,
            coalesce(data -> 'hold' ->> 'handle', data ->> 'handle') as handle,
            coalesce(data -> 'hold' ->> 'holder', data ->> 'holder') as holder,
            coalesce(data -> 'hold' ->> 'reason', data ->> 'reason', data ->> 'code') as reason,
            coalesce(pii.content ->> 'reason', pii.content ->> 'note') as note,
            null::timestamptz as heard_at
        from events
        left join pii on pii.ref = meta ->> 'commandId' and pii.kind = 'note' and pii.version = 1
        where stream = %(stream)s
        union all
        select
            at,
            %(other)s,
            stream,
            sequence,
            type,
            data ->> 'actor',
            data ->> 'commandId',
            data ->> 'stepKey',
            coalesce(data -> 'hold' ->> 'handle', data ->> 'handle'),
            data -> 'hold' ->> 'holder',
            coalesce(data -> 'hold' ->> 'reason', data ->> 'code'),
            null,
            heard_at
        from heard
        where order_id = %(order_id)s
    ),
    ordered as (
        select *, at - lag(at) over (order by at, stream, version) as since_previous
        from told
    )
    select *
    from ordered
    where %(after_at)s::timestamptz is null
       or (at, stream, version) > (%(after_at)s, %(after_stream)s::text, %(after_version)s::integer)
    order by at, stream, version
    limit %(limit)s
    """


@dataclass(frozen=True, slots=True)
class Teller:
    """Which service tells of which order; the other one is known by hearsay."""

    service: str
    other: str
    stream: str
    order_id: str


class Page(Message):
    """Which part of the story; an unknown parameter is an error."""

    model_config = ConfigDict(extra="forbid")

    cursor: Annotated[str, Field(max_length=300)] | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 200


async def read(database: Database, teller: Teller, page: Page) -> dict[str, Any]:
    """What happened, oldest first; `next` is the cursor of the following page, absent on the last one."""
    after_at, place = after(page.cursor, _place)
    stream, version = (place or "@0").split("@")
    rows = await database.fetch(
        _READ,
        service=teller.service,
        other=teller.other,
        stream=teller.stream,
        order_id=teller.order_id,
        after_at=after_at,
        after_stream=stream,
        after_version=int(version),
        limit=page.limit + 1,
    )
    shown: dict[str, Any] = {"timeline": [_entry(row) for row in rows[: page.limit]]}
    if len(rows) > page.limit:
        last = rows[page.limit - 1]
        shown["next"] = cursor_of(last["at"], f"{last['stream']}@{last['version']}")
    return shown


def _place(name: str) -> str:
    stream, _, version = name.partition("@")
    if not (stream and version.isascii() and version.isdigit() and len(version) < 10):
        raise ValueError("not a place of ours")
    return name


def _entry(row: Row) -> dict[str, Any]:
    heard_after = row["heard_at"] - row["at"] if row["heard_at"] else None
    entry = {
        "at": row["at"],
        "service": row["service"],
        "stream": row["stream"],
        "version": row["version"],
        "type": row["type"],
        "actor": row["actor"],
        "commandId": row["command_id"],
        "stepKey": row["step_key"],
        "handle": row["handle"],
        # Not always the actor: a hold may come with the parcel, and a standing one is met much later.
        "holder": row["holder"] if row["holder"] != row["actor"] else None,
        "reason": row["reason"],
        "note": row["note"],
        "sincePreviousMs": _milliseconds(row["since_previous"]),
        # The two services' clocks may differ by a little.
        "heardAfterMs": _milliseconds(heard_after),
    }
    return {name: value for name, value in entry.items() if value is not None}


def _milliseconds(passed: timedelta | None) -> int | None:
    return None if passed is None else max(0, round(passed.total_seconds() * 1000))
