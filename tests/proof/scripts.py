"""Fifty scripts that run on real engines as well, and what has to be the same there: how an order ends.

They were drawn by chance, and only those were kept that end the same whatever the order of events and whoever
lingers (`is_steady`): on real engines nobody says who is first. `python -m tests.proof.scripts` draws others.
"""

import logging
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import structlog

from tests.proof.checks import violations
from tests.proof.record import Door, Message, Record
from tests.proof.simulation import explore
from tests.proof.simulation.play import play
from tests.proof.simulation.schedule import DOORS, MESSAGES, Injection, Kill, Schedule

ORDERS_OF_EVENTS = 8
LINGERS = 0.03
DRAWN_FROM = (
    "manual", "manual", "manual", "instant", "held", "declined", "late-money", "lost-money", "lost-capture",
    "lost-void", "late-label", "lost-label", "lost-hand-over", "lost-label-void",
)  # fmt: skip
_PLACES = re.compile(
    r"(order\.(hold_stock|authorize|confirm|startFulfillmentWorkflow|record_outcome|capture|undo)"
    r"|parcel\.(accept|book_label|void_label|hand_over|settle))#1|parcel\.work#\d"
)
"""Where an activity begins, and how often before does not depend on time."""
_BRIDGES = ("order.startFulfillmentWorkflow#1",)
"""Activities that are given up on after ten seconds, so that one whose worker died is soon another one's."""
KEPT = Path(__file__).parent / "simulation" / "kept_scripts.txt"
"""The fifty, one a line."""


@dataclass(frozen=True)
class End:
    """How a schedule ended, without what time may reorder and without the names that differ."""

    outcomes: tuple[str | None, ...]
    facts: Counter[tuple[str, str]]
    receipts: Counter[tuple[str, str, str]]


def kept() -> list[Schedule]:
    return [Schedule.parse(line) for line in KEPT.read_text().splitlines()]


def end_of(record: Record) -> End:
    answers = [fact for fact in record.facts if fact.type == "FulfillmentAnswered"]
    facts = Counter((fact.service, fact.type) for fact in record.facts if fact.type != "FulfillmentAnswered")
    # A wish that is accepted and takes effect at once is answered once or twice: that is a matter of time.
    facts["orders", "FulfillmentAnswered"] = len({fact.data["command_id"] for fact in answers})
    # How often somebody came to help is one as well; what came of it is in the facts.
    wishes = [each for each in record.receipts if ".help-" not in each.command_id]
    return End(
        tuple(ended.outcome for ended in record.workflows),
        facts,
        Counter((each.service, _plain(each.command_id), each.status) for each in wishes),
    )


def _plain(command_id: str) -> str:
    """The command's name without its order's or its run's."""
    if command_id.startswith("place"):
        return "place"
    return re.sub(r"^.*/", "bare/", command_id.rpartition("ORD-")[2].partition(".")[2] or command_id)


def is_steady(schedule: Schedule) -> bool:
    """It comes to all of its places and ends the same, whatever the order of events and whoever lingers."""
    ends: list[End] = []
    for seed in range(ORDERS_OF_EVENTS):
        played = play(replace(schedule, seed=seed), lingers=LINGERS if seed else 0.0)
        ends.append(end_of(played.record))
        comes = {each.point for each in schedule.injections} <= {*played.points}
        # Who lingers may have left a knock behind that nobody needs any more.
        if not comes or ends[-1] != ends[0] or (not seed and violations(played.record)):
            return False
    return True


def drawn(seed: int) -> Iterator[Schedule]:
    """Schedules without end, each steady: one to three wishes, doubled ones and lost attempts among them."""
    chance = Random(seed)
    while True:
        script = chance.choice(DRAWN_FROM)
        places = [point for point in explore.points(script) if _PLACES.fullmatch(point)]
        wishes = tuple(_wish(chance, places) for _ in range(chance.choice((1, 1, 2, 3))))
        ordered = tuple(sorted(wishes, key=lambda each: places.index(each.point)))
        schedule = Schedule(script, ordered)
        if is_steady(schedule):
            yield schedule


def _wish(chance: Random, places: list[str]) -> Injection:
    point = chance.choice(places)
    message: Message = chance.choice((*MESSAGES, "cancel", "address", "pause"))
    # Before there is a parcel nobody can be asked about one.
    doors: tuple[Door, ...] = DOORS if point.startswith("parcel") else ("order-rest", "order-signal")
    door = chance.choice(doors)
    dies: tuple[Kill, ...] = ("kill-before", "kill-after") if point in _BRIDGES else ("",)
    return Injection(point, message, door, chance.choice((1, 1, 2)), chance.choice(dies))


def _told(number: int, seed: int) -> Iterator[str]:
    known: set[str] = set()
    for schedule in drawn(seed):
        if (line := str(schedule)) not in known:
            known.add(line)
            yield line
        if len(known) == number:
            return


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    for line in _told(int(sys.argv[1]), int(sys.argv[2])):
        print(line, flush=True)
