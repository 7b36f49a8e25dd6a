"""What happens to an order and when: a script, and wishes at named points, in a line that can be replayed.

`manual: parcel.work#3 cancel@order-rest x2; parcel.task#7 pause@parcel-signal kill-before` reads: the order
of the script `manual`; before the third `work` of the parcel's workflow a cancel over the orders' REST door,
twice under one command id; when the parcel's seventh workflow task is due its worker dies, then a pause comes
as a signal.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, cast, get_args

from contracts.values import WarehouseMode
from tests.proof.record import Door, Message
from tests.proof.simulation.providers import Behaviour

Kill = Literal["", "kill-before", "kill-after"]
MESSAGES: tuple[Message, ...] = ("pause", "resume", "hold", "release", "cancel", "address")
ALL_MESSAGES: tuple[Message, ...] = get_args(Message)
DOORS: tuple[Door, ...] = get_args(Door)

_WISH = re.compile(
    r"(?P<point>\S+) (?P<message>[a-z-]+)@(?P<door>[a-z-]+)(?: x(?P<times>\d))?(?: (?P<kill>kill-\w+))?"
)


@dataclass(frozen=True, slots=True)
class Injection:
    """A wish at a point of the run."""

    point: str
    message: Message
    door: Door
    times: int = 1
    """More than once is the same command again, under the same command id."""
    kill: Kill = ""
    """The worker whose point it is dies just before, or just after."""

    def __str__(self) -> str:
        twice = f" x{self.times}" if self.times > 1 else ""
        return f"{self.point} {self.message}@{self.door}{twice}{' ' + self.kill if self.kill else ''}"

    @property
    def worker(self) -> str:
        return self.point.partition(".")[0]

    @classmethod
    def parse(cls, text: str) -> "Injection":
        """Raises ValueError for a text that no injection writes."""
        found = _WISH.fullmatch(text.strip())
        if found is None or found["message"] not in ALL_MESSAGES or found["door"] not in DOORS:
            raise ValueError(f"not `POINT MESSAGE@DOOR [xN] [kill-before|kill-after]`: {text.strip()!r}")
        return cls(
            found["point"],
            cast("Message", found["message"]),
            cast("Door", found["door"]),
            int(found["times"] or 1),
            cast("Kill", found["kill"] or ""),
        )


@dataclass(frozen=True)
class Script:
    """An order, the warehouse it meets and the people who help it on."""

    name: str
    mode: WarehouseMode = "manual"
    pace_seconds: float = 0
    opening: tuple[Injection, ...] = ()
    """Wishes that belong to the script itself."""
    payments: Mapping[str, tuple[Behaviour, ...]] = field(default_factory=dict[str, tuple[Behaviour, ...]])
    carrier: Mapping[str, tuple[Behaviour, ...]] = field(default_factory=dict[str, tuple[Behaviour, ...]])
    answer: Literal["accept", "reject"] | None = None
    """What a person says to a request for cancellation, late; None where nobody is asked."""
    lifetime: timedelta = timedelta(days=7)
    """Of an authorization."""
    room: int | None = None
    """Workflow tasks after which the server suggests to continue as new."""
    token: str = "tok_ok"
    """What makes the sandbox's payments behave like this."""
    zip_code: str = "12345"
    """What makes the sandbox's carrier behave like this."""


PAUSE = Injection("order.authorize#1", "pause", "order-rest")
FREEZE = Injection("parcel.accept#1", "freeze", "parcel-rest")

SCRIPTS = {
    script.name: script
    for script in (
        Script("manual"),
        Script("paced", mode="automatic", pace_seconds=1),
        Script("held", opening=(PAUSE,)),
        Script(
            "rough",
            mode="automatic",
            pace_seconds=1,
            payments={"authorize": ("lost",), "capture": ("away", "lost"), "void": ("lost",)},
            carrier={"book": ("lost",), "hand-over": ("no", "lost"), "void": ("away",)},
        ),
        Script("asked", mode="automatic", pace_seconds=1, answer="accept"),
        Script("asked-in-vain", mode="automatic", pace_seconds=1, answer="reject"),
        Script("frozen", mode="automatic", pace_seconds=1, opening=(FREEZE,)),
        Script(
            "lapsing",
            lifetime=timedelta(minutes=20),
            opening=(PAUSE,),
            payments={"authorize": ("ok", "no", "lost")},
        ),
        Script("cramped", opening=(PAUSE,), room=2),
        Script("instant", mode="automatic"),
        Script("declined", payments={"authorize": ("no",)}, token="tok_declined"),
        Script("late-money", payments={"authorize": ("down", "down")}, token="tok_500_2"),
        Script("lost-money", payments={"authorize": ("lost",)}, token="tok_timeout_done"),
        Script("lost-capture", payments={"capture": ("lost",)}, token="tok_capture_timeout_done"),
        Script("lost-void", payments={"void": ("lost",)}, token="tok_void_timeout_done"),
        Script("late-label", carrier={"book": ("down",)}, zip_code="50001"),
        Script("lost-label", carrier={"book": ("lost",)}, zip_code="50400"),
        Script("lost-hand-over", carrier={"hand-over": ("lost",)}, zip_code="50401"),
        Script("lost-label-void", carrier={"void": ("lost",)}, zip_code="50402"),
    )
}


@dataclass(frozen=True, slots=True)
class Schedule:
    """One run to make."""

    script: str
    injections: tuple[Injection, ...] = ()
    seed: int = 0

    def __str__(self) -> str:
        chance = f" (seed {self.seed})" if self.seed else ""
        return f"{self.script}{chance}: {'; '.join(map(str, self.injections)) or 'nothing'}"

    @classmethod
    def parse(cls, text: str) -> "Schedule":
        """The schedule that was printed like this. Raises ValueError for anything else."""
        found = re.fullmatch(r"(?P<script>[a-z-]+)(?: \(seed (?P<seed>\d+)\))?: (?P<wishes>.+)", text.strip())
        if found is None or found["script"] not in SCRIPTS:
            known = ", ".join(SCRIPTS)
            raise ValueError(f"not `SCRIPT: POINT MESSAGE@DOOR; …` with a script of {known}: {text!r}")
        wishes = [] if found["wishes"] == "nothing" else found["wishes"].split(";")
        return cls(found["script"], tuple(map(Injection.parse, wishes)), int(found["seed"] or 0))
