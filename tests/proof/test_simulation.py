"""The seeds that CI plays: none breaks a promise, and none that ever did breaks one again."""

import pytest

from tests.proof.simulate import judged, kept, simulated
from tests.proof.simulation import storm
from tests.proof.simulation.plan import FACTS, USUAL, Plan, drawn

SEEDS = 1_000
LONGEST_SECONDS = 1800
"""A minute and a half on two quiet cores; a busy machine is no failure."""


@pytest.mark.timeout(LONGEST_SECONDS)
def test_a_thousand_seeds_leave_the_promises_whole():
    """A bad one is printed, made smaller, as a line for the kept seeds."""
    report = simulated(range(SEEDS), tell=print)
    assert report.violations == [], "\n".join(report.lines())
    assert report.exercised["seeds"] == SEEDS


@pytest.mark.parametrize("plan", kept(), ids=lambda plan: f"seed {plan.seed}")
def test_what_once_broke_a_promise_breaks_none(plan: Plan):
    assert judged(storm.play(plan)) == []


def test_the_same_seed_is_the_same_run():
    """Facts, receipts and topics, and what is read back is what was written."""
    plan = drawn(11)
    first, again = storm.play(plan), storm.play(Plan.model_validate_json(plan.model_dump_json()))
    assert (first.steps, first.record) == (again.steps, again.record)


def test_wishes_are_aimed_at_facts_that_exist():
    assert set(USUAL) <= set(FACTS)
