"""Every wish at every boundary of a simulated order, and whether each seeded bug is found."""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import Any

from tests.proof import quiet
from tests.proof.checks import Violation, violations
from tests.proof.mutants import MUTANTS, Mutant
from tests.proof.report import MOST_SHOWN, Progress, Report, Tell
from tests.proof.simulation import explore
from tests.proof.simulation.play import play
from tests.proof.simulation.schedule import Schedule

BATCH = 20
MOST_TRIES = 600
"""Schedules after which a seeded bug counts as not found."""
MISSED = "every seeded bug is found"


@dataclass(frozen=True)
class Bad:
    """A schedule that broke something."""

    schedule: Schedule
    found: tuple[Violation, ...]
    place: int
    """Where it stands in the exploration, earlier boundaries first."""

    @property
    def length(self) -> tuple[int, int, int, int]:
        """Fewest wishes first, then those sent once, then those without a death, then the earliest."""
        wishes = self.schedule.injections
        return (
            len(wishes),
            sum(each.times for each in wishes),
            sum(bool(each.kill) for each in wishes),
            self.place,
        )


@dataclass
class Explored:
    """What was explored, and what was found."""

    schedules: int = 0
    boundaries: int = 0
    """Workflow tasks of the scripts."""
    points: int = 0
    bad: list[Bad] = field(default_factory=list[Bad])
    caught: dict[str, str | None] = field(default_factory=dict[str, str | None])
    """For each seeded bug a schedule that shows it; None when it was not found."""
    seconds: float = 0.0

    @property
    def shortest(self) -> Bad | None:
        return min(self.bad, key=lambda each: each.length, default=None)

    @property
    def missed(self) -> list[str]:
        """Seeded bugs that nothing showed."""
        return [name for name, shown in self.caught.items() if shown is None]

    def report(self, seed: int) -> Report:
        """The shortest bad schedules, and the seeded bugs that were not found."""
        shown = sorted(self.bad, key=lambda each: each.length)[:MOST_SHOWN]
        found = [
            Violation(each.invariant, f"{bad.schedule}: {each.evidence}")
            for bad in shown
            for each in bad.found
        ]
        found += [Violation(MISSED, name) for name in self.missed]
        exercised: dict[str, Any] = {
            "schedules": self.schedules,
            "bad_schedules": len(self.bad),
            "boundaries": self.boundaries,
            "points": self.points,
            "mutants": len(self.caught),
            "caught_by": self.caught,
        }
        advice = f"tandem proof explore --replay {str(self.shortest.schedule)!r}" if self.shortest else None
        return Report(seed, found, exercised, self.seconds, advice)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--full", action="store_true", help="every script, point, door and variant: hours")
    parser.add_argument(
        "--seed", type=int, default=0, help="another order of events; 0 is first come, first served"
    )
    parser.add_argument("--cores", type=int, default=2, help="processes that explore")
    parser.add_argument(
        "--replay", type=Schedule.parse, metavar="SCHEDULE", help="play this one, as it was printed"
    )


def run(options: argparse.Namespace) -> Report:
    """The selection was explored, or the one schedule was told and judged."""
    if options.replay is None:
        found = explored(full=options.full, seed=options.seed, cores=options.cores, tell=_tell)
        return found.report(options.seed)
    began = time.monotonic()
    _tell("\n".join(told(options.replay)))
    return Report(
        options.replay.seed,
        judged(options.replay),
        {"schedule": str(options.replay)},
        time.monotonic() - began,
    )


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def explored(*, full: bool = False, seed: int = 0, cores: int = 2, tell: Tell = lambda _: None) -> Explored:
    """The whole selection was played, and each seeded bug looked for."""
    began, report = time.monotonic(), Explored()
    schedules = list(explore.everything(seed) if full else explore.selection(seed))
    for script in dict.fromkeys(schedule.script for schedule in schedules):
        points = explore.points(script, seed)
        report.points += len(points)
        report.boundaries += len(explore.boundaries(points))
    progress = Progress(tell, len(schedules), "schedules")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, mp_context=context, initializer=quiet.begin) as pool:
        for batch in pool.map(_judge, _batches(list(enumerate(schedules)))):
            report.schedules += len(batch)
            report.bad += [bad for bad in batch if bad.found]
            progress.told(report.schedules, len(report.bad))
        report.caught = dict(pool.map(_hunt, [(mutant.name, seed) for mutant in MUTANTS]))
    report.seconds = time.monotonic() - began
    return report


def judged(schedule: Schedule) -> list[Violation]:
    """What is wrong with this one schedule."""
    return violations(play(schedule).record)


def told(schedule: Schedule) -> list[str]:
    """The schedule's story, fact by fact, and what is wrong with it."""
    record = play(schedule).record
    return [
        str(schedule),
        *(
            f"{fact.at:%d %H:%M:%S} {fact.service:12} {fact.version:3} {fact.type} {fact.data}"
            for fact in record.facts
        ),
        *(f"{each.service:12} {each.command_id} {each.status} {each.code or ''}" for each in record.receipts),
        *(f"{each.message} by {each.door}: {each.told}" for each in record.sent),
        *(str(found) for found in violations(record)),
    ]


def catching(mutant: Mutant, seed: int = 0) -> Schedule | None:
    """A schedule in which the bug breaks the invariant that is there for it; None when none was found."""
    for schedule in islice(mutant_schedules(mutant, seed), MOST_TRIES):
        with mutant.applied():
            if any(found.invariant == mutant.invariant for found in judged(schedule)):
                return schedule
    return None


def mutant_schedules(mutant: Mutant, seed: int) -> Iterator[Schedule]:
    """The mutant's wishes at all points of its script, mixed, so that none has to wait for the last point."""
    script = Schedule.parse(mutant.shown_by).script
    points = explore.points(script, seed)
    schedules = list(explore.alone(script, points, messages=mutant.messages, seed=seed))
    Random(seed).shuffle(schedules)
    yield from schedules


# In the processes that do the work.


def _judge(batch: Sequence[tuple[int, Schedule]]) -> list[Bad]:
    return [Bad(schedule, tuple(judged(schedule)), place) for place, schedule in batch]


def _hunt(asked: tuple[str, int]) -> tuple[str, str | None]:
    name, seed = asked
    found = catching(next(mutant for mutant in MUTANTS if mutant.name == name), seed)
    return name, str(found) if found else None


def _batches(numbered: Sequence[tuple[int, Schedule]]) -> Iterable[Sequence[tuple[int, Schedule]]]:
    return [numbered[place : place + BATCH] for place in range(0, len(numbered), BATCH)]
