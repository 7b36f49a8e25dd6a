"""The fulfillment as its facts have made it, and what comes next."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from contracts import fulfillment as contract
from contracts.chassis.troubles import Open
from contracts.fulfillment import HAND_OVER, PACK, QUALITY, Stage, label_step, pick_step
from contracts.values import Code, Hold, Line, Outcome, WarehouseMode

REFUSALS_BEFORE_EXCEPTION = 3
"""So many hand-overs in a row the carrier may refuse before a person has to look."""


class Step(StrEnum):
    """What the workflow has to do next."""

    WORK = "work"
    """A pick, the quality check or the packing: nothing outside is asked."""
    BOOK_LABEL = "book-label"
    VOID_LABEL = "void-label"
    """The label has an old address, or no parcel any more."""
    HAND_OVER = "hand-over"
    SETTLE = "settle"
    """Put back what was picked, then say how the fulfillment ended."""
    END = "end"


@dataclass(frozen=True, slots=True)
class Label:
    """One label at the carrier, named before it is asked for."""

    n: int
    address_version: int
    provider_key: str
    tracking_reference: str | None = None
    """None while the carrier's answer is unknown."""
    cost_minor: int = 0
    currency: str = ""


@dataclass(frozen=True, slots=True)
class LabelCosts:
    """What the carrier took for labels, and how much of it for labels that were voided."""

    booked_minor: int = 0
    wasted_minor: int = 0
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A cancel that nobody has accepted or rejected yet."""

    command_id: str
    answer_by: datetime


@dataclass(frozen=True, slots=True)
class Setback:
    """Why fewer steps are done than were."""

    reason: Literal["address", "cancel", "failure"]
    command_id: str | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A wish that was taken and has not taken effect yet."""

    command_id: str
    name: Literal["hold", "release", "address", "cancel"]
    subject: str = ""
    """The hold's handle, or the address version."""


@dataclass(frozen=True, slots=True)
class Fulfillment:
    """One parcel's way through the warehouse."""

    order_id: str
    n: int
    lines: tuple[Line, ...]
    country: str
    customer_ref: str
    service_level: str
    mode: WarehouseMode
    pace_seconds: float
    reply_to: str
    warehouse: str
    carrier: str
    address_version: int
    stage: Stage = Stage.WAITING
    holds: tuple[Hold, ...] = ()
    outlived: frozenset[str] = frozenset()
    """Standing holds that ended for this parcel. Their handles are never used again."""
    worked: int = 0
    """So many warehouse steps are completed; they have one order."""
    open_step: str | None = None
    """The warehouse step in flight."""
    labels: int = 0
    """So many labels were asked for."""
    label: Label | None = None
    costs: LabelCosts = LabelCosts()
    hand_overs: int = 0
    hand_over: str | None = None
    """The provider key of the hand-over in flight."""
    refusals: int = 0
    """So many hand-overs were refused since a person last looked."""
    troubles: tuple[Open, ...] = ()
    """What waits for a person, oldest first."""
    failure: Code | None = None
    """Why the parcel is taken apart, when nobody asked for it."""
    asked: tuple[Asked, ...] = ()
    is_cancelled: bool = False
    waiting: tuple[Waiting, ...] = ()
    percent: int = 0
    """Never falls, whatever has to be done again."""
    setback: Setback | None = None
    """The last change because of which something has to be done again."""

    @property
    def fulfillment_id(self) -> str:
        return contract.fulfillment_id(self.order_id, self.n)

    @property
    def stream(self) -> str:
        return contract.stream(self.fulfillment_id)

    def void_key(self, label: int) -> str:
        """A label is voided once, so its own number names the void."""
        return f"{self.stream}:void-label:{label}"

    @property
    def trouble(self) -> Open | None:
        """What a person has to look at first."""
        return self.troubles[0] if self.troubles else None

    @property
    def is_late(self) -> bool:
        """A cancel waits for a person who has been asked for it."""
        return any(trouble.code is Code.CANCEL_UNANSWERED for trouble in self.troubles)

    @property
    def parked(self) -> Open | None:
        """Why what is to be done next waits for a person; None when it does not."""
        return next((each for each in self.troubles if each.is_parked and each.step_key == self.doing), None)

    @property
    def doing(self) -> str:
        """The name of what is in flight or next, the way back included."""
        if self.step is Step.VOID_LABEL and self.label:
            return f"void-{label_step(self.label.n)}"
        return self.step if self.step in (Step.SETTLE, Step.END) else self.step_key or self.step

    @property
    def warehouse_steps(self) -> tuple[str, ...]:
        """The steps that ask nobody outside, in their order."""
        return (*(pick_step(line) for line in range(1, len(self.lines) + 1)), QUALITY, PACK)

    @property
    def is_ended(self) -> bool:
        return self.stage in _ENDS

    @property
    def is_undone(self) -> bool:
        """True from an accepted cancel or a failed step on."""
        return self.is_cancelled or self.failure is not None

    @property
    def is_asked(self) -> bool:
        """Somebody asked for the end, and a person has to decide."""
        return bool(self.asked) and not self.is_undone

    @property
    def is_moving(self) -> bool:
        """A step is in flight: it began and its end is not recorded."""
        asked = self.label is not None and self.label.tracking_reference is None
        return self.open_step is not None or asked or self.hand_over is not None

    @property
    def is_instant(self) -> bool:
        return self.mode == "automatic" and self.pace_seconds == 0

    @property
    def step(self) -> Step:
        """What comes next; a function of the facts alone, so any worker goes on where another one died."""
        if self.is_ended:
            return Step.END
        if self.hand_over is not None:
            return Step.HAND_OVER
        if self.label is not None and self.label.tracking_reference is None:
            # A label whose answer is unknown is resolved before anything else, a cancel included.
            return Step.BOOK_LABEL
        if self.is_undone:
            return Step.VOID_LABEL if self.label else Step.SETTLE
        if self.worked < len(self.warehouse_steps):
            return Step.WORK
        if self.label is None:
            return Step.BOOK_LABEL
        return Step.HAND_OVER if self.label.address_version == self.address_version else Step.VOID_LABEL

    @property
    def step_key(self) -> str | None:
        """The name of the step that is in flight or next; None when the parcel goes nowhere any more."""
        match self.step:
            case Step.WORK:
                return self.open_step or self.warehouse_steps[self.worked]
            case Step.BOOK_LABEL:
                return label_step(self.label.n if self.label else self.labels + 1)
            case Step.HAND_OVER:
                return HAND_OVER
            case Step.VOID_LABEL if not self.is_undone:
                return label_step(self.labels + 1)
            case _:
                return None

    @property
    def obstacle(self) -> Code | None:
        """Why the next step may not begin."""
        if self.trouble is not None:
            return self.trouble.code
        if self.is_asked:
            return Code.CANCEL_IN_PROGRESS
        return Code.ON_HOLD if self.holds else None

    @property
    def begins(self) -> bool:
        """The next thing to do is to begin a step."""
        return self.step in (Step.WORK, Step.BOOK_LABEL, Step.HAND_OVER) and not self.is_moving

    @property
    def is_stopped(self) -> bool:
        """The next step would have to begin, and may not: only a wish or the time can change that."""
        return self.begins and self.obstacle is not None

    @property
    def alarm(self) -> datetime | None:
        """The earliest moment at which time alone changes something; see `steps.elapse`."""
        if self.is_ended or self.is_undone:
            return None
        ends = [hold.until for hold in self.holds if hold.until]
        deadlines = [] if self.is_late else [asked.answer_by for asked in self.asked]
        return min([*ends, *deadlines], default=None)

    @property
    def waits_for_operator(self) -> bool:
        """In manual mode a person says when a warehouse step is done and when the parcel is handed over."""
        if self.mode != "manual":
            return False
        return self.open_step is not None or (self.step is Step.HAND_OVER and self.hand_over is None)

    @property
    def status(self) -> str:
        """What people see: the stage, unless an overlay hides it."""
        if self.is_ended:
            return self.stage.value
        if self.is_cancelled or self.is_asked:
            return "CANCEL_REQUESTED"
        if self.trouble or self.failure:
            return "EXCEPTION"
        return "PAUSED" if self.holds else self.stage.value

    @property
    def outcome(self) -> Outcome | None:
        """How the fulfillment ended, its compensation included; None while it lives."""
        return _ENDS.get(self.stage)

    @property
    def items_picked(self) -> int:
        return sum(line.quantity for line in self.picked)

    @property
    def picked(self) -> tuple[Line, ...]:
        return self.lines[: self.worked]

    @property
    def items_total(self) -> int:
        return sum(line.quantity for line in self.lines)

    @property
    def steps_total(self) -> int:
        """The warehouse steps, one label and the hand-over."""
        return len(self.warehouse_steps) + 2

    @property
    def is_labelled(self) -> bool:
        """There is a booked label, and it says the current address."""
        booked = self.label is not None and self.label.tracking_reference is not None
        is_current = self.label is not None and self.label.address_version == self.address_version
        return booked and is_current

    @property
    def steps_done(self) -> int:
        return self.worked + self.is_labelled + (self.stage is Stage.SHIPPED)


_ENDS: dict[Stage, Outcome] = {
    Stage.SHIPPED: "SHIPPED",
    Stage.CANCELLED: "CANCELLED",
    Stage.FAILED: "FAILED",
}
