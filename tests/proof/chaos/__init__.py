"""Break real processes while orders flow, by a seed, and judge what became of every order."""

import argparse
from pathlib import Path

from tests.proof.chaos.clocks import libfaketime
from tests.proof.chaos.plan import FAULTS, USUAL, drawn
from tests.proof.chaos.run import chaos, judged_again
from tests.proof.report import Report

SECONDS_PER_ORDER = 0.6
"""More than the pair needs on two cores while it is restarted again and again."""
_CLOCKS = "wrong clocks are among them where libfaketime is installed (apt-get install faketime)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--orders", type=int, default=100, help="how many are placed")
    parser.add_argument("--faults", type=int, default=12, help=f"how many strike meanwhile; {_CLOCKS}")
    parser.add_argument("--seed", type=int, default=1, help="the same seed is the same plan")
    parser.add_argument("--seconds", type=float, help="how long orders come; 0.6 for each if not given")
    parser.add_argument("--freeze", type=float, default=16.0, help="seconds that a process stands still")
    parser.add_argument("--kafka", default="embedded", choices=("embedded", "apache"))
    parser.add_argument("--kinds", nargs="+", choices=FAULTS, metavar="KIND", help="only these faults")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="where the run is kept")
    parser.add_argument("--judge", type=Path, metavar="FILE", help="judge a run that was kept, run nothing")


def run(options: argparse.Namespace) -> Report:
    """What was found in a run of these options, or in one that was kept."""
    if options.judge:
        return judged_again(options.judge)
    plan = drawn(
        options.seed,
        options.orders,
        options.faults,
        seconds=options.seconds or SECONDS_PER_ORDER * options.orders,
        kinds=options.kinds or (FAULTS if libfaketime() else USUAL),
        freeze_seconds=options.freeze,
    )
    return chaos(plan, kafka=options.kafka, keep=options.keep)
