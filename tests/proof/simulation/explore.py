"""Every wish at every boundary, alone, doubled, in pairs and with workers that die: which schedules to play.

A script is played once without any wish to learn its boundaries: each workflow task of both workflows, and
between them each activity, each commit inside of one, and each moment at which a provider or the other
service has been asked or has answered.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, product

from tests.proof.record import Door, Message
from tests.proof.simulation.play import play
from tests.proof.simulation.schedule import ALL_MESSAGES, DOORS, MESSAGES, SCRIPTS, Injection, Kill, Schedule

PAIRED: tuple[Message, ...] = ("cancel", "pause", "address")


def points(script: str, seed: int = 0) -> list[str]:
    """The named points of the script, in the order in which a run comes to them."""
    return play(Schedule(script, seed=seed)).points


def boundaries(points: Sequence[str]) -> list[str]:
    """The workflow tasks of both workflows."""
    return [point for point in points if ".task#" in point]


def alone(
    script: str,
    points: Sequence[str],
    *,
    messages: Sequence[Message] = MESSAGES,
    doors: Sequence[Door] = DOORS,
    times: int = 1,
    kill: Kill = "",
    seed: int = 0,
) -> Iterator[Schedule]:
    """Each message through each door at each point."""
    for point, message, door in product(points, messages, doors):
        if message == "freeze" and door != "parcel-rest":
            continue
        yield Schedule(script, (Injection(point, message, door, times, kill),), seed)


def in_pairs(
    script: str, points: Sequence[str], *, doors: Sequence[tuple[Door, Door]], kill: Kill = "", seed: int = 0
) -> Iterator[Schedule]:
    """Each two of cancel, pause and address at each two points, the second not before the first."""
    through = cycle(doors)
    for place, first in enumerate(points):
        for second, one, other in product(points[place:], PAIRED, PAIRED):
            door, another = next(through)
            yield Schedule(
                script, (Injection(first, one, door), Injection(second, other, another, 1, kill)), seed
            )


FORCEFUL: tuple[Message, ...] = ("pause", "hold", "cancel", "address")
"""Those that do something to an order that nobody holds."""
FORCE: tuple[tuple[int, Kill], ...] = ((2, ""), (1, "kill-before"), (1, "kill-after"))
REST: tuple[Door, ...] = ("order-rest", "parcel-rest")
OTHERS: Mapping[str, tuple[Message, ...]] = {
    "held": ("resume", "release", "cancel", "address"),
    "paced": ("timed-hold", "freeze"),
    "rough": ("cancel", "address"),
    "asked": ("cancel",),
    "asked-in-vain": ("cancel",),
    "frozen": ("cancel", "resume"),
    "lapsing": ("cancel", "resume"),
    "cramped": ("cancel", "resume"),
}
"""Further scripts, and the wishes that they are about."""
ALL_DOORS: Sequence[tuple[Door, Door]] = tuple(product(DOORS, DOORS))


def selection(seed: int = 0) -> Iterator[Schedule]:
    """What fits into three minutes on two cores: every boundary, message and door, and pairs of wishes."""
    for script in ("manual", "paced"):
        places = points(script, seed)
        tasks = boundaries(places)
        yield Schedule(script, seed=seed)
        yield from alone(script, tasks, seed=seed)
        # Between two tasks a signal only waits for the next one, but whoever writes to the stream is at once.
        yield from alone(script, sorted({*places} - {*tasks}, key=places.index), doors=REST, seed=seed)
        if script == "manual":
            for times, kill in FORCE:
                yield from alone(script, tasks, messages=FORCEFUL, times=times, kill=kill, seed=seed)
            yield from in_pairs(script, tasks, doors=ALL_DOORS, seed=seed)
    for script, messages in OTHERS.items():
        tasks = boundaries(points(script, seed))
        yield Schedule(script, seed=seed)
        doors = DOORS if script == "held" else REST
        yield from alone(script, tasks, messages=messages, doors=doors, seed=seed)


def everything(seed: int = 0) -> Iterator[Schedule]:
    """Every script, every named point, every variant, and the pairs through all doors."""
    for script in SCRIPTS:
        places = points(script, seed)
        yield Schedule(script, seed=seed)
        for times, kill in product((1, 2), ("", "kill-before", "kill-after")):
            yield from alone(script, places, messages=ALL_MESSAGES, times=times, kill=kill, seed=seed)
        for pair in ALL_DOORS:
            yield from in_pairs(script, boundaries(places), doors=[pair], seed=seed)
        yield from in_pairs(script, boundaries(places), doors=ALL_DOORS, kill="kill-before", seed=seed)
