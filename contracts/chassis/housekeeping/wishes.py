"""Wishes that have no final receipt when they should."""

from collections.abc import Callable
from typing import LiteralString

from contracts.chassis.housekeeping.open_streams import Subject, resolutions
from contracts.chassis.postgres import Database, Row
from contracts.chassis.reconciler import Finding, Kind, Repair, Rule, Seen
from contracts.chassis.settings import HousekeepingSettings

PAGE = 200

_OPEN: LiteralString = """
    select
        receipts.command_id,
        receipts.name,
        receipts.status as receipt,
        {view}.{id} as id,
        {view}.version,
        {view}.step,
        {view}.document,
        exists (
            select from exceptions
            where exceptions.stream = receipts.stream and resolved_at is null
        ) as has_exception
    from receipts
    join {view} on {view}.{id} = substr(receipts.stream, length(%(prefix)s::text) + 1)
    cross join (select steady_since from reconciler_rules where rule = 'all') as house
    where receipts.status in ('RECEIVED', 'ACCEPTED')
      and starts_with(receipts.stream, %(prefix)s)
      and receipts.command_id > %(after)s
      and greatest(receipts.received_at, {view}.updated_at, house.steady_since)
          < now() - case when step = 'end' then %(quiet)s else %(wish)s end
      and (step = 'end' or receipts.status = 'RECEIVED')
    order by receipts.command_id
    limit %(limit)s
    """


def unkept_wish_rule(
    subject: Subject,
    is_explained: Callable[[Row], bool],
    repair: Callable[[Row], Repair],
    database: Database,
    settings: HousekeepingSettings,
) -> Rule:
    """Looks at what was promised and not kept; one that is explained may wait until its stream ends."""
    wishes: LiteralString = _OPEN.format(view=subject.view, id=subject.id)

    async def look(cursor: str) -> Seen:
        rows = await database.fetch(
            wishes,
            after=cursor,
            prefix=subject.stream(""),
            quiet=settings.quiet,
            wish=settings.wish,
            limit=PAGE,
        )
        findings = [
            _finding(subject, row, repair) for row in rows if row["step"] == "end" or not is_explained(row)
        ]
        return Seen(findings, cursor=rows[-1]["command_id"] if len(rows) == PAGE else "")

    return Rule("wishes", look)


def _finding(subject: Subject, row: Row, repair: Callable[[Row], Repair]) -> Finding:
    command_id, is_over = row["command_id"], row["step"] == "end"
    return Finding(
        Kind.WISH_UNSETTLED if is_over else Kind.WISH_UNANSWERED,
        row["id"],
        subject.stream(row["id"]),
        f"{row['name']} {command_id} of {subject.noun} {row['id']} is {row['receipt']}"
        + (f", and the {subject.noun} has ended" if is_over else " for long"),
        {"commandId": command_id, "name": row["name"], "receipt": row["receipt"], "step": row["step"]},
        mark=command_id,
        version=row["version"],
        repair=None if is_over else repair(row),
        resolutions=resolutions(row),
    )
