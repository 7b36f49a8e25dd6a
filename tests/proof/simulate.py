"""Random seeds: a few orders each, their wishes and everything that goes wrong, in a simulation."""

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.proof import quiet
from tests.proof.checks import CHECKS, ON_TOPICS, Violation, violations
from tests.proof.record import Record
from tests.proof.report import Progress, Report, Tell
from tests.proof.simulation import storm
from tests.proof.simulation.plan import Plan, drawn
from tests.proof.simulation.storm import Stormed

BATCH = 10
KEPT = Path(__file__).parent / "simulation" / "kept_seeds.jsonl"
"""Plans that once broke something, one a line; the tests play them for ever."""
PLURALS = {"wish": "wishes", "crash": "crashes", "misbehave": "misbehaviours"}
MOST_SHRUNK = 3
"""So many bad seeds are made smaller."""


@dataclass(frozen=True)
class Outcome:
    """What one plan came to."""

    seed: int
    violations: tuple[Violation, ...]
    exercised: Counter[str]


def judged(stormed: Stormed) -> list[Violation]:
    """Everything that is wrong with the run, topics and inboxes included."""
    return violations(stormed.record, (*CHECKS, *ON_TOPICS))


def smallest(plan: Plan) -> Plan:
    """The bad plan without whatever it does not need to break the same promise."""
    broken = {each.invariant for each in judged(storm.play(plan))}
    left_out: list[int] = []
    for place in reversed(range(len(plan.happenings))):
        smaller = plan.without([*left_out, place])
        if broken & {each.invariant for each in judged(storm.play(smaller))}:
            left_out.append(place)
    return plan.without(left_out)


def kept() -> list[Plan]:
    """The plans that are played again for ever."""
    return [Plan.model_validate_json(line) for line in KEPT.read_text().splitlines() if line]


def simulated(
    seeds: Sequence[int], *, cores: int = 2, shrinks: bool = True, tell: Tell = lambda _: None
) -> Report:
    """Each seed was played; the first bad ones are shown, made smaller, as lines that can be kept."""
    began, exercised = time.monotonic(), Counter[str]()
    bad: list[Outcome] = []
    progress = Progress(tell, len(seeds), "seeds")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, mp_context=context, initializer=quiet.begin) as pool:
        for outcomes in pool.map(_judge, _batches(seeds)):
            for outcome in outcomes:
                exercised += outcome.exercised
                bad += [outcome] if outcome.violations else []
            progress.told(exercised["seeds"], len(bad))
        smaller = list(pool.map(_shrunk, [each.seed for each in bad[:MOST_SHRUNK]] if shrinks else []))
    for line in smaller:
        tell(f"keep this line in {KEPT.name}: {line}")
    found = [
        Violation(each.invariant, f"seed {outcome.seed}: {each.evidence}")
        for outcome in bad
        for each in outcome.violations
    ]
    told: dict[str, Any] = dict(exercised)
    told |= {"bad_seeds": [each.seed for each in bad]}
    advice = f"tandem proof simulate --seeds 1 --seed {bad[0].seed} --tell" if bad else None
    return Report(seeds[0] if seeds else 0, found, told, time.monotonic() - began, advice)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--cores", type=int, default=multiprocessing.cpu_count(), help="processes that play")
    parser.add_argument("--tell", action="store_true", help="tell the first seed's story")


def run(options: argparse.Namespace) -> Report:
    if options.tell:
        plan = drawn(options.seed)
        bad = judged(storm.play(plan))
        _tell("\n".join(told(smallest(plan) if bad else plan)))
        return Report(options.seed, bad, {"seeds": 1})
    seeds = range(options.seed, options.seed + options.seeds)
    return simulated(seeds, cores=options.cores, tell=_tell)


def told(plan: Plan) -> list[str]:
    """The plan, and its story fact by fact with what is wrong."""
    stormed = storm.play(plan)
    record = stormed.record
    return [
        *plan.lines(),
        *(f"{fact.at:%d %H:%M:%S} {fact.stream:40} {fact.version:3} {fact.type}" for fact in record.facts),
        *(f"{each.service:12} {each.command_id} {each.status} {each.code or ''}" for each in record.receipts),
        *(f"{each.message} by {each.door}: {each.told}" for each in record.sent),
        *(f"{each.workflow_id} {each.status} {each.outcome}" for each in record.workflows),
        *(f"{each.stream} {each.code} {each.step} open={each.is_open}" for each in record.exceptions),
        *(str(found) for found in judged(stormed)),
        plan.model_dump_json(),
    ]


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# In the processes that do the work.


def _judge(seeds: Sequence[int]) -> list[Outcome]:
    return [_outcome(seed) for seed in seeds]


def _outcome(seed: int) -> Outcome:
    stormed = storm.play(drawn(seed))
    return Outcome(seed, tuple(judged(stormed)), _exercised(stormed))


def _exercised(stormed: Stormed) -> Counter[str]:
    kinds = Counter({PLURALS.get(kind, f"{kind}s"): n for kind, n in stormed.happened.items()})
    record = stormed.record
    ends = Counter((each.outcome or each.status).lower() for each in record.workflows)
    return kinds + Counter(
        seeds=1,
        steps=stormed.steps,
        facts=len(record.facts),
        replays=stormed.replays,
        published=len(record.published),
        exceptions=len(record.exceptions),
        **{f"resolved_by_{how}": number for how, number in _resolutions(record).items()},
        published_again=len(record.published) - len({each.event_id for each in record.published}),
        **{f"ended_{name}": number for name, number in ends.items()},
    )


def _resolutions(record: Record) -> Counter[str]:
    return Counter(fact.data["resolution"] for fact in record.facts if fact.type == "ExceptionResolved")


def _shrunk(seed: int) -> str:
    return smallest(drawn(seed)).model_dump_json()


def _batches(seeds: Sequence[int]) -> Iterable[Sequence[int]]:
    return [seeds[place : place + BATCH] for place in range(0, len(seeds), BATCH)]
