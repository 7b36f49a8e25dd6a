"""The reconciler: finds what cannot be as it is, repairs it where that is safe, else tells a person.

A rule only looks. What it found is settled here, each case in one transaction: is it still so, what was done
about it before, then the repair or the exception, and a row that says which. So a reconciler that is killed
or runs twice does nothing twice, and what stays as it is is told once and not every minute.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any, Literal, LiteralString
from uuid import UUID

import structlog
from prometheus_client import Counter
from psycopg.types.json import Jsonb

from contracts.chassis import exceptions, knocks, told
from contracts.chassis.errors import Misunderstood, Refused, Unavailable
from contracts.chassis.exceptions import Trouble
from contracts.chassis.faults import Resolution
from contracts.chassis.knocks import Knock
from contracts.chassis.postgres import Connection, Database, Row
from contracts.chassis.telemetry import attached, current_traceparent
from contracts.values import Code

log = structlog.get_logger()

FOUND = Counter("tandem_reconciler_findings", "What the reconciler found and settled", ["kind", "action"])

PAUSE = timedelta(minutes=10)
"""What was done about a case has so long to take effect."""
GAP = timedelta(minutes=10)
"""After so long without a look the house was down, and every patience begins anew."""
REMIND = timedelta(days=1)
"""An exception that was resolved comes back after so long, if nothing has changed."""
PAGES = 20
"""A rule that has more to see goes on at once so often; the rest is for the next look."""


class Kind(StrEnum):
    """What the reconciler may find; new ones are only ever added."""

    WORKFLOW_ENDED = "WORKFLOW_ENDED"
    """Somebody cancelled or terminated it from outside, and its stream is open."""
    WORKFLOW_MISSING = "WORKFLOW_MISSING"
    """The stream is open, and nothing runs for it."""
    WORKFLOW_COMPLETED = "WORKFLOW_COMPLETED"
    """It says that it is done, and its stream is open."""
    NO_PROGRESS = "NO_PROGRESS"
    """It runs, and for long nothing happened that has no reason; or something in it fails again and again."""
    OUTCOME_UNHEARD = "OUTCOME_UNHEARD"
    """The parcel has ended, and its order waits for that."""
    FULFILLMENT_UNHEARD = "FULFILLMENT_UNHEARD"
    """A parcel was asked for, and nothing was ever heard of it."""
    FULFILLMENT_UNKNOWN = "FULFILLMENT_UNKNOWN"
    """There is a parcel that no order asked for."""
    WISH_UNANSWERED = "WISH_UNANSWERED"
    """A wish waits for the other service's answer for long."""
    WISH_UNSETTLED = "WISH_UNSETTLED"
    """All has ended, and a wish has no final receipt."""
    STOCK_KEPT = "STOCK_KEPT"
    """The ledger holds stock for an order that has ended."""
    STOCK_MISSING = "STOCK_MISSING"
    """An order has its stock by its facts, and not in the ledger."""
    STOCK_SUM = "STOCK_SUM"
    """An article's figures are not the sum of its ledger."""
    PAYMENT_LEFT = "PAYMENT_LEFT"
    """An order has ended, and the provider still reserves money for it that it was not paid with."""
    CAPTURE_MISSING = "CAPTURE_MISSING"
    """An order was paid by its facts, and the provider knows nothing of that."""
    CAPTURE_WRONG = "CAPTURE_WRONG"
    """The provider took another amount than the order says; of one that ended without its parcel, any."""
    LABEL_LEFT = "LABEL_LEFT"
    """A parcel has ended, and the carrier still has a label for it that it was not handed over with."""
    RECORD_BLOCKED = "RECORD_BLOCKED"
    """A record can be neither sent nor applied as it is, and those of its order wait behind it."""
    OUTBOX_OLD = "OUTBOX_OLD"
    """Events wait for Kafka for long."""


Act = Callable[[Connection], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Repair:
    """What is safe to do about a case, any number of times."""

    action: str
    """What the row calls it, in the past tense."""
    inside: Act | None = None
    """Commits together with the row."""
    outside: Callable[[], Awaitable[None]] | None = None
    """Asks somebody else, before the row. Both raise Refused when the case is one for a person after all,
    which it also is when somebody else does not take the question."""
    tries: int = 1
    """So often, a pause between, before the case is one for a person."""


def knocking(workflow_id: str, *, tries: int = 1) -> Repair:
    """The workflow re-reads its stream; where none runs, one is started."""

    async def knock(connection: Connection) -> None:
        await knocks.add(connection, Knock(workflow_id))

    return Repair("KNOCKED", inside=knock, tries=tries)


@dataclass(frozen=True, slots=True)
class Finding:
    """One case, as a rule saw it."""

    kind: Kind
    subject: str
    """The order or the fulfillment, or what else it is about."""
    stream: str
    reason: str
    """One sentence for whoever has to look at it."""
    found: Mapping[str, Any]
    """What was seen. Nothing personal."""
    mark: str = ""
    """Tells this case from an earlier one of its kind."""
    version: int | None = None
    """Of the stream when it was seen: once that has moved on, the case is not the same any more."""
    repair: Repair | None = None
    resolutions: Sequence[Resolution] = ("retry", "skip")
    """What a person may do about it: have it looked at again at once, or leave it as it is."""
    is_for_a_person: bool = True
    """False where nobody can do more about it than is done anyway, and an alert tells it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look of a rule saw."""

    findings: Sequence[Finding] = ()
    cursor: str = ""
    """Where the next look begins; empty is at the beginning."""
    has_more: bool = False
    """The look ended because its page was full."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Looks at one thing, a page at a time; it changes nothing."""

    name: str
    look: Callable[[str], Awaitable[Seen]]
    """From where the last look ended."""
    every: timedelta = timedelta()
    """At most so often; zero is each time."""
    kinds: Collection[Kind] = ()
    """What it finds, where it would not soon come by again: a retry of one of these is looked at at once."""
    again: Callable[[str], Awaitable[Sequence[Finding]]] | None = None
    """Looks at one stream once more, by a rule that comes by each only once."""


_RULE: LiteralString = """
    select
        cursor,
        looked_at > now() - %(every)s
        and not exists (
            select from reconciliations
            where action = 'RETRIED' and kind = any(%(kinds)s) and at > looked_at
        ) as is_early
    from reconciler_rules
    where rule = %(rule)s
    """

_LOOKED: LiteralString = """
    insert into reconciler_rules (rule, cursor, looked_at)
    values (%(rule)s, %(cursor)s, now())
    on conflict (rule) do update
    set cursor = excluded.cursor,
        looked_at = excluded.looked_at
    """

_BEGUN: LiteralString = """
    update reconciler_rules
    set steady_since = now()
    where rule = 'all'
      and looked_at < now() - %(gap)s
      and steady_since < looked_at
    """

_ALONE: LiteralString = "select pg_advisory_xact_lock(hashtextextended(%(kind)s || ' ' || %(subject)s, 1))"

# What a person had tried again is a new case.
_PAST: LiteralString = """
    select
        count(*) filter (where action not in ('RAISED', 'SKIPPED')) as repaired,
        coalesce(max(at) > now() - %(pause)s, false) as is_recent,
        coalesce(
            max(at) filter (where action in ('RAISED', 'SKIPPED')) > now() - %(remind)s, false
        ) as is_raised
    from reconciliations
    where kind = %(kind)s and subject = %(subject)s and mark = %(mark)s
      and id > coalesce(
          (
              select max(id)
              from reconciliations
              where kind = %(kind)s and subject = %(subject)s and mark = %(mark)s and action = 'RETRIED'
          ),
          0
      )
    """

_VERSION: LiteralString = "select max(version) as version from events where stream = %(stream)s"

_TRACE: LiteralString = (
    "select meta ->> 'traceparent' as traceparent from events where stream = %(stream)s and version = 1"
)

_RECORD: LiteralString = """
    insert into reconciliations (kind, subject, mark, found, action, exception_id)
    values (%(kind)s, %(subject)s, %(mark)s, %(found)s, %(action)s, %(exception_id)s)
    """


_Next = Literal["repair", "raise"]


class Reconciler:
    """Looks by every rule of one service and settles what they find."""

    def __init__(
        self, database: Database, rules: Sequence[Rule], *, pause: timedelta = PAUSE, gap: timedelta = GAP
    ) -> None:
        self._database = database
        self._rules = rules
        self._pause = pause
        self._gap = gap

    async def run(self) -> dict[str, int]:
        """Every rule has looked; how many cases were settled, by kind.

        One that must ask somebody who is away looks again the next time, from where it was. A rule that fails
        keeps none of the others from looking; its error is raised at the end."""
        await self._database.execute(_BEGUN, gap=self._gap)
        settled: dict[str, int] = {}
        failed: list[Exception] = []
        waits = False
        for rule in self._rules:
            try:
                for finding in await self._look(rule):
                    settled[finding.kind] = settled.get(finding.kind, 0) + 1
            except Unavailable:
                log.warning("a rule waits", rule=rule.name)
                waits = True
            except Exception as error:
                log.error("a rule could not look", rule=rule.name, reason=type(error).__name__)
                failed.append(error)
        if failed:
            raise failed[0]
        await told.close(self._database)
        if not waits:
            await self._database.execute(_LOOKED, rule="all", cursor="")
        return settled

    async def settle(self, finding: Finding) -> bool:
        """The case is repaired or a person is told, and a row says so; False when there was nothing to do.

        Whatever is done for a stream is in the trace in which it began."""
        row = await self._database.fetch_one(_TRACE, stream=finding.stream)
        with attached(row["traceparent"] if row else current_traceparent()):
            try:
                return await self._settle(finding)
            except (Refused, Misunderstood):
                return await self._settle(replace(finding, repair=None))

    async def _settle(self, finding: Finding) -> bool:
        repair = finding.repair
        if repair and repair.outside:
            async with self._database.transaction() as connection:
                step = await self._next(connection, finding)
            # Made before the row that says so: killed in between, it is made again, to no other effect.
            if step == "repair":
                await repair.outside()
        async with self._database.transaction() as connection:
            match await self._next(connection, finding):
                case "repair":
                    await self._repair(connection, finding)
                case "raise":
                    await self._raise(connection, finding)
                case None:
                    return False
        return True

    async def _look(self, rule: Rule) -> list[Finding]:
        """What was settled of what the rule saw, page after page."""
        kinds = list(rule.kinds)
        row = await self._database.fetch_one(_RULE, rule=rule.name, every=rule.every, kinds=kinds)
        if row and row["is_early"]:
            return []
        cursor, settled = row["cursor"] if row else "", await self._look_again(rule)
        for _ in range(PAGES):
            seen = await rule.look(cursor)
            settled += [finding for finding in seen.findings if await self.settle(finding)]
            cursor = seen.cursor
            await self._database.execute(_LOOKED, rule=rule.name, cursor=cursor)
            if not seen.has_more:
                break
        return settled

    async def _look_again(self, rule: Rule) -> list[Finding]:
        """What was settled of what a person had tried again, by a rule that would not come by any more."""
        if rule.again is None:
            return []
        settled: list[Finding] = []
        for row in await told.retried(self._database, list(rule.kinds)):
            well = Finding(
                Kind(row["kind"]), row["subject"], row["stream"], "", {}, row["mark"],
                repair=Repair("FOUND_WELL"),
            )  # fmt: skip
            seen = [each for each in await rule.again(row["stream"]) if _case(each) == _case(well)]
            settled += [finding for finding in seen or [well] if await self.settle(finding)]
        return settled

    async def _next(self, connection: Connection, finding: Finding) -> _Next | None:
        """`repair`, `raise`, or None: it is not so any more, or enough was done about it for now."""
        await connection.queue(_ALONE, _case(finding))
        rows = await connection.queue(
            _PAST, {**_case(finding), "pause": self._pause, "remind": max(REMIND, self._pause)}
        )
        past = await rows.fetchone()
        assert past is not None
        if past["is_recent"] or past["is_raised"] or await self._has_moved(connection, finding):
            return None
        if finding.repair and past["repaired"] < finding.repair.tries:
            return "repair"
        return "raise" if finding.is_for_a_person else None

    async def _has_moved(self, connection: Connection, finding: Finding) -> bool:
        if finding.version is None:
            return False
        row = await (await connection.queue(_VERSION, {"stream": finding.stream})).fetchone()
        return row is None or row["version"] != finding.version

    async def _repair(self, connection: Connection, finding: Finding) -> None:
        assert finding.repair is not None
        if finding.repair.inside:
            await finding.repair.inside(connection)
        await record(connection, finding, finding.repair.action)

    async def _raise(self, connection: Connection, finding: Finding) -> None:
        trouble = Trouble(
            stream=finding.stream,
            subject=finding.subject,
            code=Code.DOES_NOT_ADD_UP,
            fault="mismatch",
            step=finding.kind,
            reason=finding.reason,
            evidence={"version": finding.version, **finding.found},
            resolutions=finding.resolutions,
        )
        raised = await exceptions.raise_(connection, trouble)
        await record(connection, finding, "RAISED", raised)


async def record(
    connection: Connection, finding: Finding, action: str, exception_id: UUID | None = None
) -> None:
    """It stays known what was found and what was done about it."""
    FOUND.labels(finding.kind, action).inc()
    log.warning("reconciled", kind=finding.kind, stream=finding.stream, action=action)
    await connection.queue(
        _RECORD,
        {
            **_case(finding),
            "found": Jsonb(dict(finding.found)),
            "action": action,
            "exception_id": exception_id,
        },
    )


def _case(finding: Finding) -> Row:
    return {"kind": finding.kind, "subject": finding.subject, "mark": finding.mark}
