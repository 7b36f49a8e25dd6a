"""What `tandem verify` compares: a stream that every place tells alike, and each place spoilt in turn."""

import subprocess
from collections.abc import Callable
from dataclasses import replace

import pytest

from contracts.chassis.errors import Unavailable
from deploy.verify import comparing, workflows
from deploy.verify.comparing import Stream, Told, Waiting, violations


def sound() -> Stream:
    due = [Told(f"event-{n}", n, f"tandem.order.fact-{n}.v1", {"status": f"S{n}"}) for n in (1, 2, 3)]
    return Stream(
        name="order-1",
        facts=[(each.sequence, each.event_id) for each in due],
        is_ended=True,
        folded={"status": "S3", "document": {"percent": 100}},
        shown={"status": "S3", "document": {"percent": 100}},
        due=due,
        outbox=[Waiting(each.event_id, each.sequence, each.type, each.data) for each in due],
        topic=[due[0], due[1], due[0], due[1], due[2]],
        applied=[(each.sequence, each.event_id) for each in due],
        heard={"sequence": 3},
        meant={"sequence": 3},
        workflow="COMPLETED",
    )


def test_a_stream_that_is_told_alike_everywhere_is_sound():
    """Also where the topic repeats, the outbox is swept, and an open one runs."""
    swept = sound()
    swept.outbox, swept.topic = swept.outbox[1:], swept.topic[1:]  # cut off between two repetitions
    moving = sound()
    moving.is_ended, moving.workflow = False, "RUNNING"
    forgotten = sound()
    forgotten.workflow = None
    assert [list(violations(each)) for each in (sound(), swept, moving, forgotten)] == [[]] * 4


def test_a_field_that_another_release_did_not_know_is_no_difference():
    """Messages evolve by additions, and what was published before stays as it was."""
    older = sound()
    older.due = [replace(each, data={**each.data, "added": 1}) for each in older.due]
    assert list(violations(older)) == []


def miss_a_fact(stream: Stream) -> None:
    stream.facts = [stream.facts[0], stream.facts[2]]


def show_something_else(stream: Stream) -> None:
    stream.shown = {"status": "S3", "document": {"percent": 99}}


def say_something_else(stream: Stream) -> None:
    stream.outbox = [replace(stream.outbox[0], data={"status": "S9"}), *stream.outbox[1:]]


def leave_one_waiting(stream: Stream) -> None:
    stream.outbox = [*stream.outbox[:2], replace(stream.outbox[2], is_published=False)]


def lose_a_row(stream: Stream) -> None:
    stream.outbox = [stream.outbox[0], stream.outbox[2]]


def tell_out_of_order(stream: Stream) -> None:
    stream.topic = [stream.topic[1], stream.topic[0], stream.topic[4]]


def tell_another_event(stream: Stream) -> None:
    stream.topic = [*stream.topic, replace(stream.topic[0], event_id="event-9")]


def tell_what_is_no_fact(stream: Stream) -> None:
    stream.topic = [*stream.topic, replace(stream.topic[0], sequence=4)]


SPOILT: list[tuple[str, Callable[[Stream], None]]] = [
    (comparing.GAPLESS, miss_a_fact),
    (comparing.FOLDS, lambda stream: setattr(stream, "trouble", "AssertionError")),
    (comparing.PROJECTED, show_something_else),
    (comparing.PROJECTED, lambda stream: setattr(stream, "shown", None)),
    (comparing.OUTBOX, say_something_else),
    (comparing.OUTBOX, leave_one_waiting),
    (comparing.OUTBOX, lose_a_row),
    (comparing.TOPIC, lambda stream: setattr(stream, "topic", stream.topic[:4])),
    (comparing.TOPIC, tell_out_of_order),
    (comparing.TOPIC, tell_another_event),
    (comparing.TOPIC, tell_what_is_no_fact),
    (comparing.HEARD, lambda stream: setattr(stream, "applied", stream.applied[:2])),
    (comparing.HEARD, lambda stream: setattr(stream, "applied", [*stream.applied[:2], (3, "event-9")])),
    (comparing.HEARD, lambda stream: setattr(stream, "heard", None)),
    (comparing.WORKFLOW, lambda stream: setattr(stream, "workflow", "RUNNING")),
    (comparing.WORKFLOW, lambda stream: setattr(stream, "is_ended", False)),
]


@pytest.mark.parametrize(("invariant", "spoil"), SPOILT)
def test_what_differs_is_named(invariant: str, spoil: Callable[[Stream], None]):
    """By the invariant that it breaks."""
    stream = sound()
    spoil(stream)
    assert invariant in {found.invariant for found in violations(stream)}


@pytest.mark.parametrize("printed", [None, "", "not json"])
def test_temporal_that_does_not_answer_is_no_traceback(monkeypatch: pytest.MonkeyPatch, printed: str | None):
    """Whether its process says nothing or does not come to an end."""

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        if printed is None:
            raise subprocess.TimeoutExpired(command, 120)
        return subprocess.CompletedProcess(command, 1, printed)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(Unavailable):
        workflows.standing({})
