"""The simulation: real code on twins, the same run for the same line, and a worker's death in its middle.

A statement that the twin does not know fails here: see `tests/proof/simulation/statements.py`."""

from dataclasses import replace

import pytest

from tests.proof.checks import violations
from tests.proof.mutants import MUTANTS, Mutant
from tests.proof.record import Record
from tests.proof.simulation.play import play
from tests.proof.simulation.schedule import SCRIPTS, Injection, Schedule


def types(record: Record, service: str) -> list[str]:
    return [fact.type for fact in record.facts if fact.service == service]


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_script_comes_to_its_end(script: str):
    """Also without any wish of the explorer's nothing breaks."""
    played = play(Schedule(script))
    assert violations(played.record) == []
    outcomes = [ended.outcome for ended in played.record.workflows]
    assert outcomes == (["FAILED"] if script == "declined" else ["SHIPPED", "SHIPPED"])


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        ("manual: order.authorize#1/2-asks cancel@order-rest", "CANCELLED"),
        ("paced: parcel.work#2 cancel@order-signal x2", "CANCELLED"),
        ("paced: parcel.hand_over#1/2-asks cancel@parcel-rest", "SHIPPED"),
        ("paced: parcel.task#3 timed-hold@parcel-rest; parcel.task#5 freeze@parcel-rest", "SHIPPED"),
        ("asked: parcel.work#2 cancel@order-rest", "CANCELLED"),
        ("asked-in-vain: parcel.work#2 cancel@order-rest", "SHIPPED"),
    ],
)
def test_a_wish_at_a_point_has_its_effect(line: str, outcome: str):
    """Whatever comes between, the order ends as it should."""
    record = play(Schedule.parse(line)).record
    assert violations(record) == []
    assert {ended.outcome for ended in record.workflows} == {outcome}


@pytest.mark.parametrize(
    "line",
    [
        "manual: order.task#3 cancel@parcel-rest; parcel.task#4 pause@parcel-signal",
        "paced: order.task#4 cancel@parcel-signal; order.task#5 cancel@parcel-signal",
    ],
)
def test_a_signal_in_the_very_last_moment_has_a_receipt(line: str):
    """It comes while the parcel's last answer is on its way, in the task that would have been the last."""
    assert violations(play(Schedule.parse(line)).record) == []


def test_the_same_line_is_the_same_run():
    """Facts, receipts and points, also where chance decides who goes on first."""
    schedule = Schedule("paced", (Injection("parcel.work#2", "pause", "order-rest"),), seed=7)
    first, again = play(schedule), play(schedule)
    assert (first.points, first.record) == (again.points, again.record)
    assert first.points != play(replace(schedule, seed=8)).points


def test_a_worker_that_dies_runs_its_local_activities_again():
    """What the first had stored is found, and nothing of it is stored again."""
    line = "paced: parcel.accept#1/1-stored cancel@parcel-rest kill-after"
    played = play(Schedule.parse(line))
    assert violations(played.record) == []
    assert "parcel.accept#2" in played.points
    assert types(played.record, "fulfillments")[:2] == ["FulfillmentAccepted", "CancelRequested"]


def test_a_lost_call_is_made_again_after_its_time_out():
    """The carrier took the parcel, the worker died: the next attempt finds out."""
    played = play(Schedule.parse("paced: parcel.hand_over#1/3-answered pause@parcel-rest kill-before"))
    assert violations(played.record) == []
    assert "parcel.hand_over#2" in played.points
    assert [each.operation for each in played.record.effects].count("hand-over") == 1


@pytest.mark.parametrize(
    "line",
    [
        "manual: nothing",
        "held (seed 3): parcel.task#2 cancel@order-rest",
        "paced: order.task#1 pause@order-signal x2 kill-before; parcel.work#1 address@parcel-rest",
    ],
)
def test_a_schedule_reads_as_it_is_written(line: str):
    """So what the explorer prints can be replayed."""
    assert str(Schedule.parse(line)) == line


@pytest.mark.parametrize("line", ["", "nowhere: nothing", "manual: somewhere", "manual: a b@c", "manual"])
def test_what_is_no_schedule_is_said(line: str):
    with pytest.raises(ValueError, match="not `"):
        Schedule.parse(line)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_seeded_bug_breaks_its_promise(mutant: Mutant):
    """In the schedule that is known to show it; the explorer finds such a schedule by itself."""
    schedule = Schedule.parse(mutant.shown_by)
    assert violations(play(schedule).record) == []
    with mutant.applied():
        found = violations(play(schedule).record)
    assert mutant.invariant in {each.invariant for each in found}
    assert violations(play(schedule).record) == []
