"""A hundred orders among twelve faults on real processes: nothing is lost, doubled or stuck."""

from pathlib import Path

import pytest

from tests.proof.chaos import SECONDS_PER_ORDER
from tests.proof.chaos.clocks import MISSING, libfaketime
from tests.proof.chaos.plan import FAULTS, FaultKind, drawn
from tests.proof.chaos.run import chaos, judged_again
from tests.proof.checks import PROMISES, STRUCK
from tests.proof.report import Report

ORDERS, SEED = 100, 2
BREAKS: tuple[FaultKind, ...] = (
    "kill-api",
    "kill-worker",
    "kill-relay",
    "kill-consumer",
    "kill-providers",
    "restart-postgres",
    "restart-temporal",
    "restart-kafka",
    "freeze-worker",
    "cut-postgres",
    "slow-temporal",
    "double-records",
)
"""Each once; who is struck, when and in which order is the seed's."""
CLOCKS: tuple[FaultKind, ...] = ("clock-api", "clock-worker")
KINDS = (*BREAKS, *(CLOCKS if libfaketime() else ()))


def test_a_seed_is_a_plan():
    """The same orders, wishes and faults at the same times; another seed is another plan."""
    once, again = (drawn(7, 100, 12, seconds=60) for _ in range(2))
    assert once == again
    assert drawn(8, 100, 12, seconds=60) != once


def test_every_kind_comes_before_any_comes_again():
    """And the last orders come after the last fault, so that each is felt."""
    plan = drawn(3, 200, len(FAULTS), seconds=60)
    assert {fault.kind for fault in plan.faults} == set(FAULTS)
    assert max(fault.at for fault in plan.faults) < plan.creates[-10].at


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the run is kept."""
    return tmp_path_factory.mktemp("chaos") / "run.jsonl"


@pytest.fixture(scope="module")
def report(kept: Path) -> Report:
    plan = drawn(SEED, ORDERS, len(KINDS), seconds=SECONDS_PER_ORDER * ORDERS, kinds=KINDS)
    return chaos(plan, keep=kept)


@pytest.mark.timeout(1800)
def test_every_fault_is_among_orders(report: Report):
    """Otherwise the promises below would be kept in peace."""
    assert report.exercised["orders"] == ORDERS
    assert "CAPTURE_FAILED" in report.exercised["exceptions"]
    assert report.exercised["faults"].keys() == set(KINDS), report.exercised
    assert [each.evidence for each in report.violations if each.invariant == STRUCK] == []


@pytest.mark.timeout(1800)
def test_clocks_are_minutes_wrong_meanwhile(report: Report):
    """Nothing may be decided by a process's own clock."""
    if not libfaketime():
        pytest.skip(MISSING)
    assert set(CLOCKS) <= report.exercised["faults"].keys(), report.exercised


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "promise", [each for each in PROMISES if each != STRUCK], ids=lambda promise: promise.replace(" ", "-")
)
def test_while_everything_breaks(report: Report, promise: str):
    """A test for each promise, so that whoever reads a name knows which one was broken."""
    assert [each.evidence for each in report.violations if each.invariant == promise] == []


@pytest.mark.timeout(1800)
def test_a_run_that_was_kept_is_judged_as_it_was(report: Report, kept: Path):
    assert judged_again(kept).violations == report.violations
    assert {each.invariant for each in report.violations} <= set(PROMISES)
