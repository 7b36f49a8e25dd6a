"""What a seed makes of a run: its orders, its wishes, and everything that goes wrong.

A plan is drawn from its seed and can be written down: a bad one is made smaller by leaving things out, and is
kept as it was, whatever the drawing becomes later.
"""

from collections.abc import Sequence
from datetime import timedelta
from random import Random
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from contracts.chassis.settings import PROVIDER_ATTEMPTS
from contracts.values import WarehouseMode
from fulfillment_service.events import FulfillmentEvent
from order_service.events import OrderEvent
from tests.proof.record import Door, Message
from tests.proof.simulation.kafka import Sent
from tests.proof.simulation.providers import Behaviour

SKUS = ("TEAPOT", "TEA-ASSAM", "SPOON")
FACTS = tuple(sorted({fact.__name__ for fact in (*get_args(OrderEvent), *get_args(FulfillmentEvent))}))
USUAL = (
    "OrderPlaced", "StockHeld", "PaymentAuthorizationRequested", "PaymentAuthorized", "OrderConfirmed",
    "FulfillmentRequested", "FulfillmentStarted", "FulfillmentAccepted", "StepStarted", "StepCompleted",
    "LabelRequested", "LabelBooked", "HandOverStarted", "HandedOver", "FulfillmentCompleted",
    "CaptureRequested", "PaymentCaptured", "HoldPlaced", "CancelRequested", "FulfillmentInstructed",
)  # fmt: skip
"""Facts that most runs come to."""
LIKELY: dict[Message, int] = {"cancel": 6, "pause": 3, "address": 3}
LATEST_STEP = 250
"""A lone order takes about 150 steps with all that follows from it."""
Side = Literal["order", "parcel"]
Provider = Literal["payments", "carrier"]
CALLS: dict[Provider, dict[str, tuple[Behaviour, ...]]] = {
    "payments": {
        "authorize": ("lost", "away", "down", "no"),
        "capture": ("lost", "away", "down"),
        "void": ("lost", "away", "down"),
        "lookup": ("away",),
    },
    "carrier": {
        "book": ("lost", "away", "down", "no"),
        "hand-over": ("lost", "away", "down", "no"),
        "void": ("lost", "away", "down"),
        "lookup": ("away",),
    },
}
"""How each operation may go wrong, so that the order still has a way to its end."""


BREAKS: dict[Provider, dict[str, tuple[Behaviour, ...]]] = {
    "payments": {
        "authorize": ("lost", "away", "down", "nonsense"),
        "capture": ("lost", "away", "down", "no", "nonsense"),
        "void": ("lost", "away", "down", "no", "nonsense"),
        "lookup": ("away",),
    },
    "carrier": {
        "book": ("lost", "away", "down", "no", "nonsense"),
        "hand-over": ("lost", "away", "down", "no", "nonsense"),
        "void": ("lost", "away", "down"),
        "lookup": ("away",),
    },
}
"""How each of them may go wrong until a person helps."""


class Item(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class When(Item):
    """At a step of the run, or right after a fact of that order or its parcel was stored; else at the end."""

    step: int | None = None
    fact: str | None = None

    def __str__(self) -> str:
        return f"step {self.step}" if self.fact is None else f"after {self.fact}"


class PlaceOrder(Item):
    """An order that somebody places, once or more often under the same key."""

    kind: Literal["order"] = "order"
    step: int
    mode: WarehouseMode
    pace_seconds: float
    lines: tuple[tuple[str, int], ...]
    times: int = 1


class WishFor(Item):
    """A wish for one of the orders."""

    kind: Literal["wish"] = "wish"
    order: int
    """Which one, in the order of the plan."""
    when: When
    message: Message
    door: Door
    times: int = 1


class Crash(Item):
    """A process dies, and comes back a moment later."""

    kind: Literal["crash"] = "crash"
    when: When
    order: int
    worker: str


class Stop(Item):
    """Whoever is next does nothing for so long, as if its process were stopped."""

    kind: Literal["stop"] = "stop"
    step: int
    seconds: float


class Misbehave(Item):
    """The n-th call of an operation goes wrong."""

    kind: Literal["misbehave"] = "misbehave"
    provider: Provider
    operation: str
    n: int
    how: Behaviour


class Break(Item):
    """An operation goes wrong every time from here on, until a person has it repaired."""

    kind: Literal["break"] = "break"
    step: int
    provider: Provider
    operation: str
    how: Behaviour


class Trip(Item):
    """Somebody opens a circuit breaker by hand, for a while."""

    kind: Literal["trip"] = "trip"
    step: int
    provider: Provider
    seconds: float


class Cut(Item):
    """The n-th transaction, signal or send loses its connection before it or after it."""

    kind: Literal["cut"] = "cut"
    side: Side
    what: Literal["database", "temporal", "kafka"]
    n: int
    how: Sent


class Rebalance(Item):
    """The partitions of a group change hands; its offsets may be set back."""

    kind: Literal["rebalance"] = "rebalance"
    step: int
    side: Side
    rewind: int = 0


Happening = Annotated[
    PlaceOrder | WishFor | Crash | Stop | Misbehave | Break | Trip | Cut | Rebalance,
    Field(discriminator="kind"),
]


class Plan(Item):
    """One run, whole."""

    seed: int
    evicted: float = 0.0
    """How likely a worker has dropped the workflow before a task, so that it is replayed."""
    room: int | None = None
    """Workflow tasks after which the server suggests to continue as new."""
    answer: Literal["accept", "reject"] | None = None
    lifetime: timedelta = timedelta(days=7)
    """Of an authorization."""
    stock: int = 100
    """Pieces of each article."""
    threshold: int = 10
    """Failures in a row that open a circuit breaker."""
    attempts: int = PROVIDER_ATTEMPTS
    """How often a provider is asked before a person is."""
    relays: int = 1
    members: int = 1
    knows_keys: bool = True
    """Whether the providers do a call again that they did under the same key."""
    happenings: tuple[Happening, ...] = ()

    def without(self, left_out: Sequence[int]) -> "Plan":
        """The same without the happenings at those places."""
        kept = tuple(each for place, each in enumerate(self.happenings) if place not in left_out)
        return self.model_copy(update={"happenings": kept})

    def lines(self) -> list[str]:
        """In words, one happening a line."""
        how = self.model_dump(exclude={"happenings"}, exclude_defaults=True, mode="json")
        return [str(how), *(f"{each.kind}: {_told(each)}" for each in self.happenings)]


def drawn(seed: int) -> Plan:
    """The plan of this seed, always the same."""
    chance = Random(seed)
    orders = chance.choices((1, 2, 3, 4), (45, 32, 15, 8))[0]
    stops = _some(chance, (0, 1, 2), (60, 25, 15))
    placed = [_order(chance, number) for number in range(orders)]
    relays, members = chance.choices((1, 2), (65, 35))[0], chance.choices((1, 2), (65, 35))[0]
    workers = _workers(relays, members)
    wishes = [_wish(chance, orders) for _ in range(_some(chance, (0, 1, 2, 3, 5), (5, 20, 30, 25, 20)))]
    crashes = [
        Crash(when=_when(chance), order=chance.randrange(orders), worker=chance.choice(workers))
        for _ in range(_some(chance, (0, 1, 2, 4), (25, 35, 25, 15)))
    ]
    plan = Plan(
        seed=seed,
        evicted=chance.choices((0.0, 0.1, 0.4, 1.0), (30, 35, 25, 10))[0],
        # More than it takes to send a full lane again: a server suggests it after thousands of events.
        room=chance.choices((None, 10, 20), (80, 8, 12))[0],
        answer=chance.choices((None, "accept", "reject"), (76, 12, 12))[0],
        lifetime=timedelta(minutes=20) if chance.random() < 0.12 else timedelta(days=7),
        stock=chance.choices((100, 2), (85, 15))[0],
        threshold=chance.choice((10, 10, 2)),
        relays=relays,
        members=members,
        # Two attempts at once on a provider without keys would be two effects, and nobody's fault.
        knows_keys=bool(stops) or chance.random() < 0.7,
        happenings=(
            *placed,
            *wishes,
            *crashes,
            *(_stop(chance) for _ in range(stops)),
            *(_misbehave(chance) for _ in range(_some(chance, (0, 1, 2, 4), (30, 30, 25, 15)))),
            *(_cut(chance) for _ in range(_some(chance, (0, 1, 3), (40, 35, 25)))),
            *(_rebalance(chance) for _ in range(_some(chance, (0, 1, 2), (50, 30, 20)))),
        ),
    )
    # Drawn last: whatever is drawn before it stays what it was.
    broken = [_break(chance, plan) for _ in range(_some(chance, (0, 1, 2, 3), (60, 20, 12, 8)))]
    broken += [_trip(chance) for _ in range(_some(chance, (0, 1), (85, 15)))]
    attempts = chance.choice((1, 2, 3)) if broken else PROVIDER_ATTEMPTS
    return plan.model_copy(update={"attempts": attempts, "happenings": (*plan.happenings, *broken)})


def _some(chance: Random, numbers: Sequence[int], weights: Sequence[int]) -> int:
    return chance.choices(numbers, weights)[0]


def _workers(relays: int, members: int) -> list[str]:
    """Workflows' workers most of all: they have most to lose."""
    found: list[str] = []
    for side in ("order", "parcel"):
        found += [side] * 3 + [f"{side}-relay", f"{side}-consumer"]
        found += [f"{side}-relay-2"] * (relays - 1) + [f"{side}-consumer-2"] * (members - 1)
    return found


def _step(chance: Random) -> int:
    return chance.randrange(1, LATEST_STEP)


def _when(chance: Random) -> When:
    if chance.random() < 0.5:
        return When(step=_step(chance))
    return When(fact=chance.choice(USUAL if chance.random() < 0.8 else FACTS))


def _order(chance: Random, number: int) -> PlaceOrder:
    mode: WarehouseMode = chance.choice(("manual", "automatic"))
    lines = chance.sample(SKUS, chance.choices((1, 2, 3), (60, 25, 15))[0])
    return PlaceOrder(
        step=0 if number == 0 else chance.randrange(200),
        mode=mode,
        pace_seconds=chance.choice((0, 1)) if mode == "automatic" else 0,
        lines=tuple((sku, chance.randint(1, 2)) for sku in lines),
        times=2 if chance.random() < 0.2 else 1,
    )


def _wish(chance: Random, orders: int) -> WishFor:
    messages: tuple[Message, ...] = get_args(Message)
    message = chance.choices(
        messages, [3 if each in ("pause", "cancel", "address") else 1 for each in messages]
    )[0]
    doors: tuple[Door, ...] = get_args(Door)
    return WishFor(
        order=chance.randrange(orders),
        when=_when(chance),
        message=message,
        door="parcel-rest" if message == "freeze" else chance.choice(doors),
        times=2 if chance.random() < 0.25 else 1,
    )


def _stop(chance: Random) -> Stop:
    return Stop(step=_step(chance), seconds=chance.choice((0.5, 5, 12, 40, 120)))


def _misbehave(chance: Random) -> Misbehave:
    provider = chance.choice(get_args(Provider))
    operation = chance.choice(list(CALLS[provider]))
    how = chance.choice(CALLS[provider][operation])
    return Misbehave(provider=provider, operation=operation, n=chance.choice((1, 1, 1, 2, 3)), how=how)


def _break(chance: Random, plan: Plan) -> Break:
    """Not for good where two attempts may be out at once: the late one would do what counts as refused."""
    provider = chance.choice(get_args(Provider))
    operation = chance.choice(list(BREAKS[provider]))
    stops = any(isinstance(each, Stop) for each in plan.happenings)
    ways: list[Behaviour] = [
        how for how in BREAKS[provider][operation] if how not in ("no", "nonsense") or not stops
    ]
    step = 0 if chance.random() < 0.5 else _step(chance)
    return Break(step=step, provider=provider, operation=operation, how=chance.choice(ways))


def _trip(chance: Random) -> Trip:
    provider = chance.choice(get_args(Provider))
    return Trip(step=_step(chance), provider=provider, seconds=chance.choice((20, 90, 240)))


def _cut(chance: Random) -> Cut:
    what = chance.choice(("database", "temporal", "kafka"))
    return Cut(
        side=chance.choice(get_args(Side)),
        what=what,
        n=chance.randint(1, 30 if what == "database" else 8),
        how=chance.choice(("lost", "away")),
    )


def _rebalance(chance: Random) -> Rebalance:
    return Rebalance(
        step=_step(chance), side=chance.choice(get_args(Side)), rewind=chance.choice((0, 0, 2, 20))
    )


def _told(each: Happening) -> str:
    return " ".join(f"{name}={value}" for name, value in each if name != "kind")
