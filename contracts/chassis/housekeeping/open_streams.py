"""Open streams that nothing runs for, or that nobody moves: both services look for these among their own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import LiteralString

from contracts.chassis.faults import Resolution
from contracts.chassis.postgres import Database, Row
from contracts.chassis.reconciler import Finding, Kind, Repair, Rule, Seen, knocking
from contracts.chassis.settings import HousekeepingSettings
from contracts.chassis.temporal.presence import Attendance, Presence


@dataclass(frozen=True, slots=True)
class Subject:
    """What a service's streams are about: orders, or parcels."""

    noun: str
    view: LiteralString
    id: LiteralString
    """The column of the view that names one."""
    stream: Callable[[str], str]
    workflow_id: Callable[[str], str]


def resolutions(row: Row) -> Sequence[Resolution]:
    """What a person may do about an order or a parcel; its view tells whether it can still be cancelled."""
    is_free = "cancel" in row["document"]["allowedActions"]
    return ("retry", "skip", "cancel") if is_free else ("retry", "skip")


@dataclass(frozen=True, slots=True)
class Case:
    """What is wrong with an open stream that was quiet for a while."""

    kind: Kind
    reason: str
    repair: Repair | None = None


def open_stream_rule(
    subject: Subject,
    database: Database,
    attendance: Attendance,
    settings: HousekeepingSettings,
    *,
    page: LiteralString,
    judge: Callable[[Row], Case | None],
) -> Rule:
    """Looks through the open ones, a page at a time and round and round.

    `page` asks for the next `%(limit)s` after the id `%(after)s`: `id`, `version`, `step`, `status` and what
    the judge needs, who says what is wrong with one whose workflow runs; most often nothing."""

    async def look(cursor: str) -> Seen:
        rows = await database.fetch(
            page,
            after=cursor,
            limit=settings.reconcile_page,
            quiet=settings.quiet,
            stalled=settings.stalled,
            wish=settings.wish,
        )
        present = await attendance.of([subject.workflow_id(row["id"]) for row in rows])
        findings = [
            _finding(subject, row, presence, case)
            for row, presence in zip(rows, present.values(), strict=True)
            if (case := _absence(subject, row, presence) or _failure(presence) or judge(row))
        ]
        is_full = len(rows) == settings.reconcile_page
        return Seen(findings, cursor=rows[-1]["id"] if is_full else "")

    return Rule(f"open-{subject.noun}s", look)


def _absence(subject: Subject, row: Row, presence: Presence) -> Case | None:
    if presence.is_running:
        return None
    if presence.is_completed:
        return Case(Kind.WORKFLOW_COMPLETED, "its workflow says it is done")
    knock = knocking(subject.workflow_id(row["id"]), tries=3)
    return Case(Kind.WORKFLOW_MISSING, "no workflow runs for it", knock)


def _failure(presence: Presence) -> Case | None:
    """A mistake of ours, which no hold and no person's step explains."""
    if presence.failing is None:
        return None
    return Case(Kind.NO_PROGRESS, f"its {presence.failing.what} fails again and again")


def _finding(subject: Subject, row: Row, presence: Presence, case: Case) -> Finding:
    return Finding(
        case.kind,
        row["id"],
        subject.stream(row["id"]),
        f"{subject.noun} {row['id']} at {row['step']}: {case.reason}",
        {"status": row["status"], "step": row["step"], **presence.evidence},
        mark=presence.mark(row["version"]),
        version=row["version"],
        repair=case.repair,
        resolutions=resolutions(row),
    )
