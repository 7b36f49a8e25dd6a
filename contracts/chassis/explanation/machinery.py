"""What the machinery under a workflow may lack: Temporal, a worker, a provider, a relay, Kafka. Pure."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from contracts.chassis.explanation.evidence import Evidence
from contracts.chassis.explanation.words import Next, Reason, Unblock, clock, lasted
from contracts.values import Code

PROVIDERS = {"the payment provider": "payments", "the carrier": "carrier"}
"""With the names of their circuit breakers."""
LONGEST_POLL = timedelta(seconds=70)
"""A worker asks for work at least once a minute, also when there is none."""
PATIENCE = timedelta(seconds=5)
"""What is younger than this is on its way."""
SLOW = timedelta(seconds=10)
_ENGINEER = "an engineer"


@dataclass(frozen=True, slots=True)
class PendingActivity:
    """A call that is being made, or will be made again."""

    name: str
    attempt: int = 1
    failure: str | None = None
    """The kind of the last failure; no text of it."""
    since: datetime | None = None
    """When this attempt began, or when it could have begun."""
    next_at: datetime | None = None
    """None while it runs or waits for a worker."""
    is_running: bool = False
    queue: str | None = None
    """Where it waits for a worker; None for the workflow's own."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What Temporal says of a workflow and of the queue it needs a worker of."""

    answers: bool = True
    run: str = "RUNNING"
    """`NONE` for a workflow that Temporal does not know."""
    closed_at: datetime | None = None
    pending: tuple[PendingActivity, ...] = ()
    last_poll_at: datetime | None = None
    task_since: datetime | None = None
    """A task of it waits for a worker since then."""


Inspect = Callable[[str], Awaitable[Inspection]]
"""From a workflow id to what Temporal says of it; takes two seconds at most and never raises."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The workflow that is to drive something, and whom its activities ask."""

    task_queue: str
    is_needed: bool
    """False once the stream has ended: then nothing has to run."""
    asks: Mapping[str, str] = field(default_factory=dict[str, str])


def machinery(evidence: Evidence, inspection: Inspection, machine: Machine) -> list[Reason]:
    """The reasons that are nobody's decision, those that stop everything first."""
    return [
        *_temporal(evidence, inspection, machine),
        *_calls(evidence.now, inspection, machine),
        *_rows(evidence, inspection),
    ]


def _temporal(evidence: Evidence, inspection: Inspection, machine: Machine) -> Iterator[Reason]:
    if not machine.is_needed:
        return
    if not inspection.answers:
        yield Reason(
            "TEMPORAL",
            "Temporal, which does not answer; wishes are still taken, and nothing is lost",
            unblock=(Unblock(who=_ENGINEER, how="bring Temporal back"),),
        )
    elif inspection.run == "NONE":
        yield Reason("WORKFLOW", f"its workflow, which has not begun: {_knocks(evidence)}", evidence.knock_at)
    elif inspection.run != "RUNNING":
        yield Reason(
            "WORKFLOW",
            f"its workflow, which was ended from outside ({inspection.run})",
            since=inspection.closed_at,
            code=inspection.run,
            next=Next(what="the relay starts it again, and it goes on from its stream"),
        )
    elif (missing := _missing_worker(evidence.now, inspection, machine)) is not None:
        yield Reason(
            "WORKER",
            f"a worker: {missing} the queue {machine.task_queue}",
            since=inspection.task_since or inspection.last_poll_at,
            unblock=(Unblock(who=_ENGINEER, how=f"start a worker of the queue {machine.task_queue}"),),
        )


def _missing_worker(now: datetime, inspection: Inspection, machine: Machine) -> str | None:
    ours = [each for each in inspection.pending if each.queue in (None, machine.task_queue)]
    waits = [inspection.task_since, *map(_waits, ours)]
    since = min((moment for moment in waits if moment), default=None)
    if since is not None and now - since > PATIENCE:
        return f"for {lasted(now - since)} none has taken its task from"
    if inspection.last_poll_at is None:
        return "none polls"
    silent = now - inspection.last_poll_at
    return f"for {lasted(silent)} none has polled" if silent > LONGEST_POLL else None


def _waits(pending: PendingActivity) -> datetime | None:
    return None if pending.is_running or pending.next_at else pending.since


def _knocks(evidence: Evidence) -> str:
    if evidence.knock_at is None:
        return "nobody has asked for it yet"
    return f"the relay has been asked to start it for {lasted(evidence.now - evidence.knock_at)}"


def _calls(now: datetime, inspection: Inspection, machine: Machine) -> Iterator[Reason]:
    for pending in inspection.pending:
        whom = machine.asks.get(pending.name, "our own database")
        is_slow = pending.is_running and pending.since is not None and now - pending.since > SLOW
        waits = _waits(pending)
        if waits and now - waits > PATIENCE and pending.queue not in (None, machine.task_queue):
            yield _aside(pending, now - waits, whom)
            continue
        if pending.failure == Code.CIRCUIT_OPEN and whom in PROVIDERS:
            yield _kept_from(pending, whom)
        elif pending.attempt > 1:
            yield _again(pending, whom)
        elif is_slow and pending.since is not None:
            yield Reason(
                "PROVIDER" if whom in PROVIDERS else "RETRY",
                f"{whom}, which has been asked for {lasted(now - pending.since)} ({pending.name})",
                since=pending.since,
            )


def _aside(pending: PendingActivity, waited: timedelta, whom: str) -> Reason:
    """Its queue is for one provider, so either nobody works there, or all of them wait for that provider."""
    return Reason(
        "WORKER",
        f"a worker: for {lasted(waited)} none has taken {pending.name} from the queue {pending.queue}",
        since=pending.since,
        unblock=(
            Unblock(who=_ENGINEER, how=f"start a worker of the queue {pending.queue}, or see to {whom}"),
        ),
    )


def _kept_from(pending: PendingActivity, whom: str) -> Reason:
    until = f" until {clock(pending.next_at)}" if pending.next_at else ""
    breaker = PROVIDERS[whom]
    return Reason(
        "PROVIDER",
        f"{whom}, which is not asked{until}: its circuit breaker is open ({pending.name})",
        since=pending.since,
        until=pending.next_at,
        code=pending.failure,
        next=Next(what=f"{pending.name} is tried again", at=pending.next_at),
        unblock=(
            Unblock(
                who=_ENGINEER,
                how=f"see why with `tandem breaker show {breaker}`, and close it with `tandem breaker reset`",
            ),
        ),
    )


def _again(pending: PendingActivity, whom: str) -> Reason:
    failure = f", the last one failed with {pending.failure}" if pending.failure else ""
    following = Next(what=f"{pending.name} is tried again", at=pending.next_at)
    return Reason(
        "PROVIDER" if whom in PROVIDERS else "RETRY",
        f"{whom}: {pending.name} is in attempt {pending.attempt}{failure}",
        since=pending.since,
        code=pending.failure,
        next=following if pending.next_at else Next(what=f"attempt {pending.attempt} ends"),
        unblock=(Unblock(who=_ENGINEER, how=f"see to {whom}"),),
    )


def _rows(evidence: Evidence, inspection: Inspection) -> Iterator[Reason]:
    """What has not left our database, or could not come in."""
    now = evidence.now
    is_late = evidence.knock_at is not None and now - evidence.knock_at > PATIENCE
    if is_late and inspection.answers and inspection.run == "RUNNING" and evidence.knock_at:
        yield Reason(
            "RELAY",
            f"the relay, which should have told its workflow {lasted(now - evidence.knock_at)} ago",
            since=evidence.knock_at,
            unblock=(Unblock(who=_ENGINEER, how="see that the relay runs"),),
        )
    if evidence.unpublished_at and now - evidence.unpublished_at > PATIENCE:
        yield Reason(
            "OUTBOX",
            f"{_counted(evidence.unpublished, 'event')} of it could not be told on Kafka since "
            f"{clock(evidence.unpublished_at)}, so others see it as it was then",
            since=evidence.unpublished_at,
            stops=False,
            unblock=(Unblock(who=_ENGINEER, how="bring Kafka or the relay back"),),
        )
    for parked in evidence.parked:
        yield Reason(
            "EVENT_PARKED",
            f"an event of {parked.topic} was set aside ({parked.reason}) and with it every later one of this "
            f"order, so the other service is shown as of {clock(parked.at)}",
            since=parked.at,
            stops=False,
            unblock=(Unblock(who=_ENGINEER, how="tandem parked list shows it; replay or discard it"),),
        )
    if evidence.unsendable_at:
        yield Reason(
            "EVENT_PARKED",
            f"Kafka does not take one of its events, which was set aside at {clock(evidence.unsendable_at)}",
            since=evidence.unsendable_at,
            stops=False,
            unblock=(Unblock(who=_ENGINEER, how="mend why, then tandem exceptions retry"),),
        )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
