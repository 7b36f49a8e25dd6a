"""`tandem proof explorer`: every wish at every boundary of an order, and whether each seeded bug is found."""

import gc
import logging
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import Any

import structlog

from tests.proof.checks import Violation, violations
from tests.proof.mutants import MUTANTS, Mutant
from tests.proof.simulation import explore
from tests.proof.simulation.play import play
from tests.proof.simulation.schedule import Schedule

BATCH = 20
QUIET_SECONDS = 2.0
TELL_EVERY_SECONDS = 2.0
MOST_TRIES = 600
"""Schedules after which a seeded bug counts as not found."""
MOST_SHOWN = 10

Tell = Callable[[str], None]


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
class Report:
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
    def is_good(self) -> bool:
        return not self.bad and all(self.caught.values())

    @property
    def shortest(self) -> Bad | None:
        return min(self.bad, key=lambda each: each.length, default=None)

    def figures(self) -> dict[str, Any]:
        """One JSON object."""
        shown = sorted(self.bad, key=lambda each: each.length)[:MOST_SHOWN]
        return {
            "schedules": self.schedules,
            "violations": len(self.bad),
            "mutants_caught": sum(shown is not None for shown in self.caught.values()),
            "mutants": len(self.caught),
            "seconds": round(self.seconds, 1),
            "boundaries": self.boundaries,
            "points": self.points,
            "bad": [
                {"schedule": str(each.schedule), "violations": [str(found) for found in each.found]}
                for each in shown
            ],
            "caught_by": self.caught,
        }

    def lines(self) -> list[str]:
        """The same in words."""
        caught = sum(shown is not None for shown in self.caught.values())
        explored = f"{self.schedules} schedules over {self.boundaries} workflow tasks, {self.points} points"
        said = [
            f"{explored}, in {self.seconds:.0f} s",
            f"bad schedules: {len(self.bad)}",
            f"seeded bugs found: {caught} of {len(self.caught)}",
            *(f"  not found: {name}" for name, shown in self.caught.items() if shown is None),
        ]
        if self.shortest:
            said += ["the shortest bad schedule:", f"  {self.shortest.schedule}"]
            said += [f"  {found}" for found in self.shortest.found]
            said += ["replay it: tandem proof explorer --replay " + repr(str(self.shortest.schedule))]
        return said


def explored(*, full: bool = False, seed: int = 0, cores: int = 2, tell: Tell = lambda _: None) -> Report:
    """The whole selection was played, and each seeded bug looked for."""
    began, report = time.monotonic(), Report()
    schedules = list(explore.everything(seed) if full else explore.selection(seed))
    for script in dict.fromkeys(schedule.script for schedule in schedules):
        points = explore.points(script, seed)
        report.points += len(points)
        report.boundaries += len(explore.boundaries(points))
    progress = _Progress(tell, len(schedules))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, mp_context=context, initializer=_begin) as pool:
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


class _Progress:
    """Says how far it is, once it takes longer than a person waits in silence."""

    def __init__(self, tell: Tell, total: int) -> None:
        self._tell = tell
        self._total = total
        self._next = time.monotonic() + QUIET_SECONDS

    def told(self, done: int, bad: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + TELL_EVERY_SECONDS
            self._tell(f"{done} of {self._total} schedules, {bad} of them bad")


# In the processes that do the work.


def _begin() -> None:
    """Nobody reads what the services log here, nor what the SDK says of a workflow that raised."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
    gc.freeze()


def _judge(batch: Sequence[tuple[int, Schedule]]) -> list[Bad]:
    return [Bad(schedule, tuple(judged(schedule)), place) for place, schedule in batch]


def _hunt(asked: tuple[str, int]) -> tuple[str, str | None]:
    name, seed = asked
    found = catching(next(mutant for mutant in MUTANTS if mutant.name == name), seed)
    return name, str(found) if found else None


def _batches(numbered: Sequence[tuple[int, Schedule]]) -> Iterable[Sequence[tuple[int, Schedule]]]:
    return [numbered[place : place + BATCH] for place in range(0, len(numbered), BATCH)]
