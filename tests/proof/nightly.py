"""Everything that takes a night: simulation and chaos at full size, outages, recovery, and upgrades."""

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence

from deploy.local import kafka_apache
from deploy.local.child import StartError
from tests.bench import recovery
from tests.proof import chaos, simulate
from tests.proof.chaos.outage import outage
from tests.proof.checks import Violation
from tests.proof.report import Report, figures_of
from tests.proof.upgrade.stories import upgrades

RECOVERS = "the pair goes on soon after a kill"
CARRIED_OUT = "every part of the night is carried out"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART",
                        help=f"any of {', '.join(PARTS)}")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=100_000, help="of the simulation")
    parser.add_argument("--chaos-seeds", type=int, nargs="+", default=[1, 2, 3], help="one run for each")
    parser.add_argument("--orders", type=int, default=2000, help="in each run of chaos")
    parser.add_argument("--faults", type=int, default=150, help="in each run of chaos")
    parser.add_argument("--kafka-minutes", type=float, default=20, help="how long Kafka is away")
    parser.add_argument("--temporal-minutes", type=float, default=10, help="how long Temporal is away")
    parser.add_argument("--rounds", type=int, default=10, help="kills of each process")
    parser.add_argument("--kafka", choices=("embedded", "apache"), help="apache where there is a Java")


def run(options: argparse.Namespace) -> Report:
    """What all parts found; each tells its own figures."""
    options.kafka = options.kafka or _best_kafka()
    reports: list[tuple[str, Report]] = []
    for part in options.only:
        print(f"nightly: {part}", file=sys.stderr, flush=True)
        reports += _carried_out(part, options)
    whole = figures_of(reports)
    whole.exercised["kafka"] = options.kafka
    return whole


def _carried_out(part: str, options: argparse.Namespace) -> Sequence[tuple[str, Report]]:
    """A part that breaks off is a violation, and the others still tell theirs."""
    began = time.monotonic()
    try:
        return PARTS[part](options)
    except Exception as error:
        traceback.print_exc()
        broken = Violation(CARRIED_OUT, f"{type(error).__name__}: {error}")
        return [(part, Report(0, [broken], {}, time.monotonic() - began))]


def _simulation(options: argparse.Namespace) -> Sequence[tuple[str, Report]]:
    parser = argparse.ArgumentParser()
    simulate.add_arguments(parser)
    return [("simulation", simulate.run(parser.parse_args(["--seeds", str(options.seeds)])))]


def _chaos(options: argparse.Namespace) -> Sequence[tuple[str, Report]]:
    """Each process stands still for longer than an activity may take, too."""
    parser = argparse.ArgumentParser()
    chaos.add_arguments(parser)
    size = [f"--orders={options.orders}", f"--faults={options.faults}", f"--kafka={options.kafka}"]
    return [
        (f"chaos {seed}", chaos.run(parser.parse_args([*size, "--freeze=42", f"--seed={seed}"])))
        for seed in options.chaos_seeds
    ]


def _kafka_outage(options: argparse.Namespace) -> Sequence[tuple[str, Report]]:
    return [("kafka outage", outage("kafka", options.kafka_minutes, kafka=options.kafka))]


def _temporal_outage(options: argparse.Namespace) -> Sequence[tuple[str, Report]]:
    return [("temporal outage", outage("temporal", options.temporal_minutes, kafka=options.kafka))]


def _recovery(options: argparse.Namespace) -> Sequence[tuple[str, Report]]:
    began = time.monotonic()
    told = recovery.figures(recovery.measure(options.rounds, kafka=options.kafka))
    late = [
        Violation(RECOVERS, f"{kind}: p95 is {each['p95']} of {each['limit']} s")
        for kind, each in told.items()
        if not each["meets"]
    ]
    return [("recovery", Report(0, late, told, time.monotonic() - began))]


def _best_kafka() -> str:
    try:
        kafka_apache.java()
    except StartError as error:
        print(f"nightly: the embedded broker, because {error}", file=sys.stderr)
        return "embedded"
    return "apache"


PARTS: Mapping[str, Callable[[argparse.Namespace], Sequence[tuple[str, Report]]]] = {
    "simulation": _simulation,
    "chaos": _chaos,
    "kafka-outage": _kafka_outage,
    "temporal-outage": _temporal_outage,
    "recovery": _recovery,
    "upgrade": lambda _: [("upgrade", upgrades())],
}
