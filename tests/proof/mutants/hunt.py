"""The checker is checked: each seeded bug is put into the services, and has to be caught by its invariant."""

import argparse
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.proof import checks, quiet
from tests.proof.checks import PROMISES, Violation, violations
from tests.proof.mutants import MUTANTS, Mutant, faults
from tests.proof.mutants.seeded import BUGS, SeededBug
from tests.proof.report import Progress, Report, Tell
from tests.proof.simulate import judged
from tests.proof.simulation import play, storm
from tests.proof.simulation.schedule import Schedule

CAUGHT = "every seeded bug is caught"
HARMLESS = "the same run without the bug is clean"
WATCHED = "every invariant has a seeded bug"
MOST_SEEDS = 60
CHECKOUT = Path(__file__).parents[3]
STORM = "tests/integration/store/test_outbox_storm.py"
RECONCILIATION = "tests/integration/store/test_order_reconciliation.py"
STORED = {
    "SKIP LOCKED relays for the outbox": (
        checks.TOPICS,
        f"{STORM}::test_the_check_finds_a_wrong_relay[SkipLockedRelay]",
    ),
    "bare id cursor in the outbox relay": (
        checks.TOPICS,
        f"{STORM}::test_a_row_that_commits_late_is_not_passed_over[BareCursorRelay-held1]",
    ),
    "relay that marks what nobody acknowledged, on PostgreSQL": (
        checks.TOPICS,
        f"{STORM}::test_the_check_finds_a_wrong_relay[ForgetfulRelay]",
    ),
    "release that forgets a piece": (
        checks.FOUND,
        f"{RECONCILIATION}::test_the_check_of_a_run_finds_what_a_wrong_release_left[1-found1]",
    ),
}
"""Bugs that need a real PostgreSQL: the invariant, and the test that puts each in and has its check find
it."""


@dataclass(frozen=True)
class Caught:
    """Where a bug showed itself, and what is wrong without it."""

    name: str
    invariant: str
    shown_by: str | None
    clean: tuple[Violation, ...] = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cores", type=int, default=multiprocessing.cpu_count(), help="processes that hunt")
    parser.add_argument("--simulated", action="store_true", help="only those that need no PostgreSQL")


def run(options: argparse.Namespace) -> Report:
    return hunted(cores=options.cores, stored=not options.simulated, tell=_tell)


def hunted(*, cores: int = 2, stored: bool = True, tell: Tell = lambda _: None) -> Report:
    """Every bug was looked for, first by its invariant; each missing one is a violation."""
    began = time.monotonic()
    names = [each.name for each in (*MUTANTS, *BUGS)]
    found: list[Caught] = []
    progress = Progress(tell, len(names), "seeded bugs")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, mp_context=context, initializer=quiet.begin) as pool:
        # First, since it waits for its PostgreSQL more than it works.
        on_postgres = pool.submit(_stored) if stored else None
        for caught in pool.map(_hunt, names):
            found.append(caught)
            progress.told(len(found), sum(each.shown_by is None for each in found))
        found.append(_felt())
        found += on_postgres.result() if on_postgres else []
    missed = [Violation(CAUGHT, f"{each.name}: {each.invariant}") for each in found if each.shown_by is None]
    unclean = [Violation(HARMLESS, f"{each.name}: {bad}") for each in found for bad in each.clean]
    unwatched = [
        Violation(WATCHED, each) for each in PROMISES if each not in {one.invariant for one in found}
    ]
    caught_by = {each.name: {"invariant": each.invariant, "shown_by": each.shown_by} for each in found}
    exercised = {"mutants": len(found), "caught": len(found) - len(missed), "caught_by": caught_by}
    return Report(0, [*missed, *unclean, *unwatched], exercised, time.monotonic() - began)


def by_schedule(mutant: Mutant) -> Caught:
    """The explorer's: by the schedule that is known to show it."""
    schedule = Schedule.parse(mutant.shown_by)
    with mutant.applied():
        bad = violations(play.play(schedule).record)
    is_caught = mutant.invariant in {each.invariant for each in bad}
    clean = tuple(violations(play.play(schedule).record))
    return Caught(mutant.name, mutant.invariant, mutant.shown_by if is_caught else None, clean)


def by_seed(bug: SeededBug, seeds: Sequence[int] = range(MOST_SEEDS)) -> Caught:
    """By the first seed in which it breaks the promise that is there for it."""
    for seed in seeds:
        plan = bug.plan(seed)
        with bug.applied():
            bad = judged(storm.play(plan))
        if bug.invariant in {each.invariant for each in bad}:
            return Caught(bug.name, bug.invariant, f"seed {seed}", tuple(judged(storm.play(plan))))
    return Caught(bug.name, bug.invariant, None)


def _hunt(name: str) -> Caught:
    for mutant in MUTANTS:
        if mutant.name == name:
            return by_schedule(mutant)
    return by_seed(next(bug for bug in BUGS if bug.name == name))


def _felt() -> Caught:
    """The proof's own: a fault that does not strike."""
    with faults.cut_that_cuts_nothing():
        is_caught = checks.STRUCK in {each.invariant for each in violations(faults.cut())}
    shown_by = "a cut connection" if is_caught else None
    return Caught(faults.CUT, checks.STRUCK, shown_by, tuple(violations(faults.cut())))


def _stored() -> list[Caught]:
    """All of them in one run of pytest, which needs one PostgreSQL."""
    tests = [test for _, test in STORED.values()]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rp", "-p", "no:cacheprovider", *tests],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    passed = {line.removeprefix("PASSED ").strip() for line in ran.stdout.splitlines()}
    return [
        Caught(name, invariant, test if test in passed else None)
        for name, (invariant, test) in STORED.items()
    ]


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
