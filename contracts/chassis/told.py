"""What becomes of a case that a person was told: looked at again at once, left for a day, or simply over."""

from collections.abc import Sequence
from typing import Literal, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from contracts.chassis.postgres import Connection, Database, Row
from contracts.values import Code

AT_ONCE = 100
"""So many of what was retried are looked at in one look."""
MOVED_ON = ("moved-on", "reconciler")
"""How and by whom an exception is resolved that is over."""

_RETRIED: LiteralString = """
    select reconciliations.kind, reconciliations.subject, reconciliations.mark, exceptions.stream
    from reconciliations
    join exceptions on exceptions.id = exception_id
    where action = 'RETRIED'
      and kind = any(%(kinds)s)
      and not exists (
          select from reconciliations as later
          where later.kind = reconciliations.kind
            and later.subject = reconciliations.subject
            and later.mark = reconciliations.mark
            and later.id > reconciliations.id
      )
    order by reconciliations.id
    limit %(limit)s
    """

# Every case that the exception told of: it may have been raised for a newer one while it was open.
_ANSWER: LiteralString = """
    insert into reconciliations (kind, subject, mark, found, action, exception_id)
    select distinct kind, subject, mark, %(found)s::jsonb, %(action)s, exception_id
    from reconciliations
    where exception_id = %(exception_id)s and action = 'RAISED'
    """

# Whatever the reconciler told a person of a stream that has moved on since is over. So is a record that is
# not set aside any more, whoever saw to it; the next one of its order is another case.
_OVER: LiteralString = """
    update exceptions
    set resolved_at = clock_timestamp(),
        resolution = %(resolution)s,
        resolved_by = %(by)s
    where code = %(code)s
      and resolved_at is null
      and (
          (evidence ->> 'version')::integer
              < (select max(version) from events where events.stream = exceptions.stream)
          or step = 'RECORD_BLOCKED'
          and not exists (
              select from parked
              where exceptions.evidence ->> 'where' = 'inbox'
                and parked.id = (exceptions.evidence ->> 'id')::bigint
                and parked.outcome is null
          )
          and not exists (
              select from outbox
              where exceptions.evidence ->> 'where' = 'outbox'
                and outbox.id = (exceptions.evidence ->> 'id')::bigint
                and outbox.published_at is null
                and outbox.parked_at is not null
          )
      )
    """


async def close(database: Database) -> None:
    """What was told and has moved on since waits for nobody."""
    resolution, by = MOVED_ON
    await database.execute(_OVER, code=Code.DOES_NOT_ADD_UP, resolution=resolution, by=by)


async def retried(database: Database, kinds: Sequence[str]) -> list[Row]:
    """The cases of these kinds, with their streams, that a person retried and nobody has looked at since."""
    return await database.fetch(_RETRIED, kinds=kinds, limit=AT_ONCE)


async def answer(connection: Connection, exception_id: UUID, how: Literal["retry", "skip"], by: str) -> None:
    """A person has said what is to be done about what was told: it is a new case, or is left for a day."""
    action = {"retry": "RETRIED", "skip": "SKIPPED"}[how]
    await connection.queue(
        _ANSWER, {"exception_id": exception_id, "action": action, "found": Jsonb({"by": by})}
    )
