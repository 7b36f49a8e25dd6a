"""What a seed means: which orders come when, who wishes what at which fact, and which fault strikes when.

Drawn before anything runs, so that the same seed is the same plan whatever the machine does."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from tests.proof.record import Door, Message

FaultKind = Literal[
    "kill-api", "kill-worker", "kill-relay", "kill-consumer", "kill-providers",
    "freeze-api", "freeze-worker", "freeze-relay", "freeze-consumer", "freeze-temporal",
    "restart-postgres", "restart-temporal", "restart-kafka",
    "cut-postgres", "cut-temporal", "cut-kafka", "cut-providers",
    "slow-postgres", "slow-temporal", "slow-kafka", "slow-providers",
    "double-records", "double-knocks", "delay-knocks",
    "clock-api", "clock-worker", "clock-relay", "clock-consumer",
]  # fmt: skip
FAULTS: tuple[FaultKind, ...] = get_args(FaultKind)
USUAL: tuple[FaultKind, ...] = tuple(kind for kind in FAULTS if not kind.startswith("clock-"))
"""What needs nothing installed."""

ENDS = ("PaymentCaptured", "OrderCancelled", "OrderFailed", "CaptureRefused")
MOMENTS = (
    "OrderPlaced", "StockHeld", "PaymentAuthorizationRequested", "PaymentAuthorized", "OrderConfirmed",
    "FulfillmentRequested", "FulfillmentStarted", "FulfillmentAccepted", "StepStarted", "StepCompleted",
    "LabelRequested", "LabelBooked", "HandOverStarted", "HandedOver", "FulfillmentCompleted", "end",
)  # fmt: skip
"""The facts at whose appearance a wish is sent; `end` is after the last one."""
MESSAGES: tuple[Message, ...] = ("pause", "hold", "cancel", "address")
DOORS: tuple[Door, ...] = ("order-rest", "parcel-rest")

TOKENS = (
    "tok_timeout_done", "tok_timeout_done_500", "tok_500_1", "tok_500_2", "tok_slow_400", "tok_declined",
    "tok_insufficient_funds", "tok_capture_500_1", "tok_capture_timeout_done", "tok_void_500_1",
    "tok_void_timeout_done",
)  # fmt: skip
ZIP_CODES = ("50001", "50002", "40800", "50400", "50401", "50402", "50101", "50201", "40900")
"""What the sandbox makes providers do, except what no time heals."""
REFUSED_ONCE = "tok_capture_refused_1"
"""A person has to have the capture tried again; one order of each run has it."""
_STRUCK = 0.85
"""Of the time in which orders come: the last ones come after the last fault, so that each is felt."""


@dataclass(frozen=True)
class Create:
    """An order to place, so many seconds after the beginning."""

    number: int
    at: float
    how: Literal["plain", "manual", "paced"]
    is_doubled: bool = False
    token: str = "tok_ok"
    zip_code: str = "12345"


@dataclass(frozen=True)
class Command:
    """A wish for the order of that number, at the instant the fact appears."""

    number: int
    moment: str
    message: Message
    door: Door
    after: float
    """Seconds from the fact to the wish."""
    undo_after: float
    """Seconds until what held is lifted."""


@dataclass(frozen=True)
class Fault:
    """Something that breaks, so many seconds after the beginning."""

    number: int
    at: float
    kind: FaultKind
    pick: int
    """Which of those that may break does."""
    seconds: float
    """How long it lasts, where it lasts."""


@dataclass(frozen=True)
class Plan:
    """All of a run."""

    seed: int
    creates: Sequence[Create]
    commands: Sequence[Command]
    faults: Sequence[Fault]


def drawn(
    seed: int,
    orders: int,
    faults: int,
    *,
    seconds: float,
    kinds: Sequence[FaultKind] = FAULTS,
    freeze_seconds: float = 16.0,
) -> Plan:
    """The plan of that seed: orders come for so many seconds, and faults strike while they do.

    A process stands still longer than a lease (10 s), a claimed knock (15 s) or a workflow task (10 s)."""
    dice = random.Random(f"{seed}/{orders}/{faults}/{seconds}/{','.join(kinds)}")
    creates = [_create(dice, number, seconds * number / orders) for number in range(orders)]
    helped = orders // 3
    creates[helped] = Create(helped, creates[helped].at, "plain", token=REFUSED_ONCE)
    commands = [_command(dice, number) for number in range(orders) if dice.random() < 0.5]
    commands = [command for command in commands if command.number != helped]
    deck: list[FaultKind] = []
    while len(deck) < faults:
        # Each kind once before any comes twice.
        deck += dice.sample(kinds, len(kinds))
    struck = [
        Fault(
            number,
            round(_STRUCK * seconds * (number + dice.uniform(0.3, 1.0)) / max(faults, 1), 2),
            kind,
            dice.randrange(1000),
            _lasting(dice, kind, freeze_seconds),
        )
        for number, kind in enumerate(deck[:faults])
    ]
    return Plan(seed, creates, commands, struck)


def _create(dice: random.Random, number: int, at: float) -> Create:
    how = dice.choices(("plain", "manual", "paced"), (7, 2, 2))[0]
    token, zip_code = "tok_ok", "12345"
    if how == "plain" and dice.random() < 0.35:
        token = dice.choice(TOKENS)
    elif how == "plain" and dice.random() < 0.35:
        zip_code = dice.choice(ZIP_CODES)
    return Create(number, round(at, 2), how, dice.random() < 0.2, token, zip_code)


def _command(dice: random.Random, number: int) -> Command:
    return Command(
        number,
        dice.choice(MOMENTS),
        dice.choice(MESSAGES),
        dice.choice(DOORS),
        round(dice.choice((0.0, 0.0, dice.uniform(0, 0.2))), 3),
        round(dice.uniform(0.2, 3.0), 2),
    )


def _lasting(dice: random.Random, kind: FaultKind, freeze_seconds: float) -> float:
    match kind.partition("-")[0]:
        case "freeze":
            return round(freeze_seconds * dice.uniform(1, 1.1), 1)
        case "cut":
            return round(dice.uniform(0.5, 3), 1)
        case "slow":
            return round(dice.uniform(3, 6), 1)
        case "delay":
            return round(dice.uniform(2, 5), 1)
        case "clock":
            return round(dice.uniform(6, 12), 1)
        case _:
            return 0.0
