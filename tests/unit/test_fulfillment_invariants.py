"""What can never happen to a parcel, whatever is wished in whatever order."""

from collections.abc import Sequence
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.chassis.errors import Refused
from contracts.fulfillment import Stage
from contracts.values import WarehouseMode
from fulfillment_service.events import (
    AddressChanged,
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
from fulfillment_service.fulfillment import Fulfillment, Step, evolve, wishes
from tests.unit.parcels import born, next_facts, wish

COMMANDS = ["pause", "hold", "resume", "release", "cancel", "address", "complete", "fail", "resolve"]
MOVES = st.one_of(
    st.sampled_from(COMMANDS),
    st.sampled_from(["go", "go", "go", "no"]),
)


@settings(max_examples=300, deadline=None)
@given(
    mode=st.sampled_from(get_args(WarehouseMode)),
    pace_seconds=st.sampled_from([0, 1]),
    moves=st.lists(MOVES, max_size=60),
)
def test_whatever_is_wished_the_invariants_hold(mode: WarehouseMode, pace_seconds: float, moves: list[str]):
    """No step begins under a hold; cancelled and handed over never both; the last address is handed over."""
    f = born(mode=mode, pace_seconds=pace_seconds)
    log: list[FulfillmentEvent] = []
    receipts: dict[str, str] = {}

    def record(facts: Sequence[FulfillmentEvent]) -> None:
        nonlocal f
        for advance in wishes.advances(f, facts):
            assert receipts[advance.command_id] == "ACCEPTED"
            receipts[advance.command_id] = advance.status
        for fact in facts:
            check(f, fact)
            after = evolve(f, fact)
            assert after.percent >= f.percent
            assert (after.percent == 100) == (after.stage is Stage.SHIPPED)
            f = after
            log.append(fact)

    def grant(command_id: str, facts: Sequence[FulfillmentEvent]) -> None:
        record(facts)
        receipts[command_id] = wishes.status_of(f, command_id)

    for number, move in enumerate(moves):
        if move in COMMANDS:
            command_id = f"c{number}"
            try:
                facts = wish(f, move, command_id)
            except Refused:
                continue
            grant(command_id, facts)
        elif not (f.mode == "manual" and f.step is Step.HAND_OVER and f.hand_over is None):
            record(next_facts(f, fine=move == "go"))
    # Left alone, with every obstacle taken away, it always comes to an end.
    if f.trouble:
        record(wishes.resolve_exception(f))
    if f.holds and not (f.is_undone or f.is_ended or f.hand_over):
        grant("last", wishes.release(f, handle=None, command_id="last"))
    while f.step is not Step.END:
        new = next_facts(f) or wishes.complete_step(f, step_key=f.step_key or "none")
        assert new, f"stuck at {f.step}"
        record(new)
    assert "ACCEPTED" not in receipts.values()
    names = [type(fact).__name__ for fact in log]
    assert not ("FulfillmentCancelled" in names and "HandOverStarted" in names and "HandedOver" in names)
    assert sum(isinstance(fact, LabelBooked) for fact in log) - sum(
        isinstance(fact, LabelVoided) for fact in log
    ) == (1 if f.outcome == "SHIPPED" else 0)


def check(f: Fulfillment, fact: FulfillmentEvent) -> None:
    """The fact is one that may follow this state."""
    match fact:
        case StepStarted() | LabelRequested() | HandOverStarted():
            assert not f.holds
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
        case HoldPlaced() | CancelRequested() | AddressChanged():
            assert f.hand_over is None
            assert f.stage is not Stage.SHIPPED
        case _:
            assert not f.is_ended
