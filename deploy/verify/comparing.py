"""What must agree about one stream, wherever it is told; pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

GAPLESS = "streams have no gaps"
FOLDS = "every stream folds"
PROJECTED = "projections are the fold of the log"
OUTBOX = "the outbox tells the log"
TOPIC = "the topic tells the log"
HEARD = "the other service has taken in every fact"
WORKFLOW = "workflows and streams agree"

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that does not hold, and what shows it."""

    invariant: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Told:
    """One public event, as a row of the outbox or a record of a topic carries it."""

    event_id: str
    sequence: int
    type: str
    data: Json


@dataclass(frozen=True, slots=True)
class Waiting(Told):
    """The same in the outbox."""

    is_published: bool = True


@dataclass(slots=True)
class Stream:
    """One stream, and what every place says of it."""

    name: str
    facts: Sequence[tuple[int, str]] = ()
    """Version and event id of each stored fact, oldest first."""
    trouble: str | None = None
    """Why the facts do not fold, by the kind of the error."""
    is_ended: bool = False
    folded: Json | None = None
    shown: Json | None = None
    """Its row in the service's own view, by the names of `folded`."""
    due: Sequence[Told] = ()
    """What the log means to the world: one event for each fact."""
    outbox: Sequence[Waiting] = ()
    topic: Sequence[Told] = field(default_factory=list[Told])
    """In the order of its partition, repetitions included."""
    applied: Sequence[tuple[int, str]] = ()
    """Sequence and event id of what the other service took in."""
    heard: Json | None = None
    """What the other service's view shows of it, None when it shows nothing."""
    meant: Json | None = None
    """What it should show."""
    workflow: str | None = None
    """Temporal's word for the newest run; None where there is none."""


def violations(stream: Stream) -> Iterator[Violation]:
    """Everything in which the places differ about this stream."""
    if stream.trouble:
        yield Violation(FOLDS, f"{stream.name}: {stream.trouble}")
        return
    for check in _CHECKS:
        yield from check(stream)


def _gaps(stream: Stream) -> Iterator[Violation]:
    versions = [version for version, _ in stream.facts]
    if versions != list(range(1, len(versions) + 1)):
        yield Violation(GAPLESS, f"{stream.name} has versions {versions}")


def _projection(stream: Stream) -> Iterator[Violation]:
    if stream.shown is None:
        yield Violation(PROJECTED, f"{stream.name} is not shown")
    elif found := _different(stream.shown, stream.folded or {}):
        yield Violation(PROJECTED, f"{stream.name} is shown with another {found}")


def _outbox(stream: Stream) -> Iterator[Violation]:
    """Rows are swept some days after they were published; what is still there must be right."""
    due = {each.sequence: each for each in stream.due}
    for row in stream.outbox:
        yield from _against(stream.name, row, due.get(row.sequence), OUTBOX)
        if not row.is_published:
            yield Violation(OUTBOX, f"sequence {row.sequence} of {stream.name} waits to be published")
    kept = {row.sequence for row in stream.outbox}
    if lost := [n for n in due if kept and n > min(kept) and n not in kept]:
        yield Violation(OUTBOX, f"{stream.name} has no rows for {lost}")


def _topic(stream: Stream) -> Iterator[Violation]:
    """Every fact whose row is still kept is there; the first occurrences are in the order of the stream."""
    due = {each.sequence: each for each in stream.due}
    published = {row.sequence for row in stream.outbox if row.is_published}
    first: list[int] = []
    for record in stream.topic:
        yield from _against(stream.name, record, due.get(record.sequence), TOPIC)
        if record.sequence in published and record.sequence not in first:
            first.append(record.sequence)
    if first != sorted(first):
        yield Violation(TOPIC, f"{stream.name} was told as {first}")
    if missing := sorted(published - set(first)):
        yield Violation(TOPIC, f"{stream.name} lacks {missing}")


def _against(name: str, told: Told, due: Told | None, invariant: str) -> Iterator[Violation]:
    """What is told is what the log says; a field that only one of them knows is of another release."""
    if due is None:
        yield Violation(invariant, f"{name} has no fact {told.sequence}")
    elif (told.event_id, told.type) != (due.event_id, due.type):
        yield Violation(invariant, f"sequence {told.sequence} of {name} is another event")
    elif found := [key for key in told.data.keys() & due.data.keys() if told.data[key] != due.data[key]]:
        yield Violation(invariant, f"sequence {told.sequence} of {name} tells another {sorted(found)}")


def _heard(stream: Stream) -> Iterator[Violation]:
    known = dict(stream.facts)
    for sequence, event_id in stream.applied:
        if known.get(sequence) != event_id:
            yield Violation(HEARD, f"sequence {sequence} of {stream.name} is another event there")
    published = {row.sequence for row in stream.outbox if row.is_published}
    if missing := sorted(published - {sequence for sequence, _ in stream.applied}):
        yield Violation(HEARD, f"{missing} of {stream.name} are not taken in")
    if stream.meant is not None and (found := _different(stream.heard or {}, stream.meant)):
        yield Violation(HEARD, f"{stream.name} is shown there with another {found}")


def _workflow(stream: Stream) -> Iterator[Violation]:
    """An ended stream has a completed workflow, or one so old that Temporal has forgotten it."""
    if stream.is_ended and stream.workflow not in ("COMPLETED", None):
        yield Violation(WORKFLOW, f"{stream.name} has ended, its workflow is {stream.workflow}")
    if not stream.is_ended and stream.workflow != "RUNNING":
        yield Violation(WORKFLOW, f"{stream.name} is open, its workflow is {stream.workflow or 'not there'}")


def _different(one: Json, other: Json) -> list[str]:
    """The names that have another value, those inside of a document as `document.name`."""
    found: list[str] = []
    for name in sorted(one.keys() | other.keys()):
        ours, theirs = one.get(name), other.get(name)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            found += [f"{name}.{inner}" for inner in _different(_json(ours), _json(theirs))]
        elif ours != theirs:
            found.append(name)
    return found


def _json(found: Any) -> Json:
    return found


_CHECKS: Sequence[Callable[[Stream], Iterator[Violation]]] = (
    _gaps,
    _projection,
    _outbox,
    _topic,
    _heard,
    _workflow,
)
