"""What can never happen to a parcel, whatever is wished in whatever order."""

from collections.abc import Sequence
from datetime import timedelta
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.chassis.errors import Refused
from contracts.envelope import FINAL
from contracts.fulfillment import Stage
from contracts.values import Code, Hold, WarehouseMode
from fulfillment_service.events import (
    AddressChanged,
    CancelAsked,
    CancelRequested,
    FulfillmentEvent,
    HandedOver,
    HandOverStarted,
    HoldPlaced,
    LabelBooked,
    LabelRequested,
    LabelVoided,
    StepStarted,
)
from fulfillment_service.fulfillment import Fulfillment, Step, evolve, steps, wishes
from fulfillment_service.fulfillment.horizon import actions
from tests.unit.parcels import FROZEN, NOW, born, next_facts, wish

ACTIONS = [
    "pause",
    "hold",
    "resume",
    "release",
    "cancel",
    "acceptCancellation",
    "rejectCancellation",
    "updateAddress",
    "completeStep",
    "failStep",
    "resolveException",
]
COMMANDS = [*ACTIONS, "ask", "pause for an hour"]
EVENTS = ["no", "an hour passes", "freeze", "thaw", "knock"]
ENDINGS = ["cancel", "acceptCancellation", "failStep"]
# The way is long, and some wishes end it: most moves go on.
MOVES = st.lists(
    st.sampled_from(
        [*["go"] * 40, *EVENTS * 2, *[each for each in COMMANDS if each not in ENDINGS] * 2, *ENDINGS]
    ),
    min_size=12,
    max_size=60,
)


class World:
    """A parcel, the receipts of what was wished of it, the standing holds and the time."""

    def __init__(self, mode: WarehouseMode, pace_seconds: float) -> None:
        self.parcel = born(mode=mode, pace_seconds=pace_seconds)
        self.log: list[FulfillmentEvent] = []
        self.receipts: dict[str, str] = {}
        self.now = NOW
        self.standing: tuple[Hold, ...] = ()
        self.frozen = 0

    def move(self, move: str, number: int) -> None:
        """One thing happens: a wish, the workflow's next activity, or something in the world."""
        f = self.parcel
        match move:
            case "an hour passes":
                self.now += timedelta(hours=1)
                self.record(steps.elapse(f, self.now))
            case "freeze":
                self.frozen += 1
                handle = f"{FROZEN.handle}-{self.frozen}"
                until = self.now + timedelta(hours=1) if self.frozen % 2 else None
                new = FROZEN.model_copy(update={"handle": handle, "until": until})
                self.standing = (*self.standing, new)
            case "thaw":
                self.standing = self.standing[1:]
            case "knock":
                self.record(steps.meet(f, self.standing))
            case "go" | "no":
                if not (f.mode == "manual" and f.step is Step.HAND_OVER and f.hand_over is None):
                    self.record(next_facts(f, fine=move == "go", standing=self.standing))
            case _:
                self.wish(move, f"c{number}")

    def wish(self, name: str, command_id: str) -> None:
        try:
            facts = wish(self.parcel, name, command_id, now=self.now, standing=self.standing)
        except Refused:
            return
        self.record(facts)
        self.receipts[command_id] = wishes.status_of(self.parcel, command_id)

    def record(self, facts: Sequence[FulfillmentEvent]) -> None:
        for advance in wishes.advances(self.parcel, facts):
            assert self.receipts[advance.command_id] not in FINAL
            self.receipts[advance.command_id] = advance.status
        for fact in facts:
            check(self.parcel, fact)
            after = evolve(self.parcel, fact)
            assert after.percent >= self.parcel.percent
            assert (after.percent == 100) == (after.stage is Stage.SHIPPED)
            assert after.steps_done >= self.parcel.steps_done or after.setback
            self.parcel = after
            self.log.append(fact)


WORLDS = st.builds(World, st.sampled_from(get_args(WarehouseMode)), st.sampled_from([0, 1]))


@settings(max_examples=300, deadline=None)
@given(WORLDS, MOVES)
def test_whatever_is_wished_the_invariants_hold(world: World, moves: list[str]):
    """No step begins under a hold; cancelled and handed over never both; the last address is handed over."""
    for number, move in enumerate(moves):
        world.move(move, number)
    comes_to_an_end(world)
    assert set(world.receipts.values()) <= FINAL
    names = [type(fact).__name__ for fact in world.log]
    assert not ("FulfillmentCancelled" in names and "HandedOver" in names)
    booked, voided = labels_of(world.log)
    assert booked - voided == (1 if world.parcel.outcome == "SHIPPED" else 0)
    assert (world.parcel.costs.booked_minor, world.parcel.costs.wasted_minor) == (booked, voided)


@settings(max_examples=150, deadline=None)
@given(WORLDS, MOVES)
def test_what_the_horizon_says_is_what_the_command_does(world: World, moves: list[str]):
    """In every state: allowed means granted and something changes; a code means refused with that code."""
    for number, move in enumerate(moves):
        foretold(world)
        world.move(move, number)
    foretold(world)


def foretold(world: World) -> None:
    """Each action is what its command then does; that there is no request to answer is said by silence."""
    # The first request is the one that the command answers.
    said = {action.name: action for action in reversed(actions(world.parcel, world.standing))}
    for name in ACTIONS:
        outcome = done(world, name)
        if name in said:
            assert said[name].allowed == (outcome is True), (said[name], outcome)
            assert said[name].code == (outcome if isinstance(outcome, Code) else None), said[name]
        else:
            assert name in ("acceptCancellation", "rejectCancellation")
            assert outcome in (Code.NO_SUCH_REQUEST, Code.ALREADY_ENDED)


def done(world: World, name: str) -> bool | Code:
    """True when the command changes something, False when it does not, the code when it is refused."""
    try:
        return bool(wish(world.parcel, name, "new", now=world.now, standing=world.standing))
    except Refused as refusal:
        return refusal.code


def comes_to_an_end(world: World) -> None:
    """Left alone, with every obstacle taken away, a parcel always comes to an end."""
    while world.parcel.is_asked:
        world.wish("rejectCancellation", "no")
    if world.parcel.trouble and not world.parcel.is_undone:
        world.record(wishes.resolve_exception(world.parcel))
    world.standing = ()
    world.move("knock", 0)
    if world.parcel.holds and not (world.parcel.is_undone or world.parcel.is_ended):
        world.wish("release", "last")
    while world.parcel.step is not Step.END:
        f = world.parcel
        new = next_facts(f) or wishes.complete_step(f, step_key=f.step_key or "none")
        assert new, f"stuck at {f.step}"
        world.record(new)


def labels_of(log: Sequence[FulfillmentEvent]) -> tuple[int, int]:
    """So many labels were booked and so many voided; each costs one."""
    return (
        sum(isinstance(fact, LabelBooked) for fact in log),
        sum(isinstance(fact, LabelVoided) for fact in log),
    )


def check(f: Fulfillment, fact: FulfillmentEvent) -> None:
    """The fact is one that may follow this state."""
    match fact:
        case StepStarted() | LabelRequested() | HandOverStarted():
            assert not f.holds
            assert not f.asked
            assert not f.is_undone
            assert not f.is_ended
            assert not f.is_moving
            if isinstance(fact, HandOverStarted):
                assert f.label is not None
                assert f.label.address_version == f.address_version
        case HandedOver():
            assert not f.is_cancelled
            assert f.label is not None
            assert f.label.address_version == f.address_version
        case HoldPlaced() | CancelRequested() | CancelAsked() | AddressChanged():
            assert f.hand_over is None
            assert f.stage is not Stage.SHIPPED
        case _:
            assert not f.is_ended
