"""Both aggregates under a state machine of hypothesis: what must hold holds, whatever comes.

The pure decisions only: what they answer is folded, a refusal leaves nothing behind.
"""

from functools import reduce
from typing import Any, get_args

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from contracts.envelope import FINAL
from contracts.fulfillment import Stage as ParcelStage
from contracts.order import PaymentStatus, Stage
from contracts.values import Outcome, WarehouseMode
from fulfillment_service.events import HandedOver
from fulfillment_service.fulfillment import evolve as evolve_parcel
from order_service.events import CaptureRequested, PaymentCaptured
from order_service.order import Step, evolve
from tests.fuzz.asking import SEED, fuzzing
from tests.unit import test_fulfillment_invariants as of_parcels
from tests.unit import test_order_invariants as of_orders
from tests.unit.parcels import born

COMMANDS = st.sampled_from([f"c-{number}" for number in range(9)])


class OrderLife(RuleBasedStateMachine):
    """One order: its worker goes on, people wish, the parcel's news come early, late and twice."""

    def __init__(self) -> None:
        super().__init__()
        self.life = of_orders.Life()

    @rule(progress=of_orders._progress)  # pyright: ignore[reportPrivateUsage]
    def goes_on(self, progress: of_orders.Decision) -> None:
        self.life.meets(progress)

    @rule(step=of_orders._steps())  # pyright: ignore[reportPrivateUsage]
    def does_any_step(self, step: of_orders.Decision) -> None:
        self.life.meets(step)

    @rule(command_id=COMMANDS, name=st.sampled_from(of_orders._NAMES))  # pyright: ignore[reportPrivateUsage]
    def is_wished(self, command_id: str, name: str) -> None:
        before = list(self.life.facts)
        self.life.is_wished((command_id, name))
        if self.life.receipts[command_id] == "REJECTED":
            assert self.life.facts == before

    @rule(command_id=COMMANDS, status=st.sampled_from(["ACCEPTED", "EFFECTIVE", "REJECTED", "SUPERSEDED"]))
    def is_answered(self, command_id: str, status: Any) -> None:
        self.life.meets(of_orders._answer((command_id, status, None)))  # pyright: ignore[reportPrivateUsage]

    @rule(outcome=st.sampled_from(get_args(Outcome)), n=st.sampled_from([0, 1, 1, 2]))
    def hears_of_an_end(self, outcome: Outcome, n: int) -> None:
        self.life.meets(of_orders._completion((outcome, n)))  # pyright: ignore[reportPrivateUsage]

    @invariant()
    def is_the_fold_of_its_facts(self) -> None:
        first, *rest = self.life.facts
        assert self.life.order == reduce(evolve, rest, evolve(None, first))

    @invariant()
    def says_what_its_commands_do(self) -> None:
        of_orders.foretold(self.life.order)

    @invariant()
    def is_charged_once_and_only_for_what_shipped(self) -> None:
        order = self.life.order
        assert self.life.count(PaymentCaptured) <= 1
        assert self.life.count(CaptureRequested) == 0 or order.stage is Stage.SHIPPED
        if order.stage in (Stage.CANCELLED, Stage.FAILED):
            assert order.payment in (PaymentStatus.NONE, PaymentStatus.VOIDED)

    @precondition(lambda self: self.life.order.step is Step.END)
    @invariant()
    def has_answered_every_wish_at_its_end(self) -> None:
        assert set(self.life.receipts.values()) <= FINAL


class ParcelLife(RuleBasedStateMachine):
    """One parcel: the warehouse goes on, people wish, standing holds come and go, time passes."""

    @initialize(mode=st.sampled_from(get_args(WarehouseMode)), pace=st.sampled_from([0, 1]))
    def is_born(self, mode: WarehouseMode, pace: float) -> None:
        self.world = of_parcels.World(mode, pace)
        self.first = born(mode=mode, pace_seconds=pace)
        self.moves = 0

    @rule(move=st.sampled_from(["go"] * 9 + of_parcels.EVENTS))
    def goes_on(self, move: str) -> None:
        self._move(move)

    @rule(move=st.sampled_from([each for each in of_parcels.COMMANDS if each not in of_parcels.ENDINGS]))
    def is_wished(self, move: str) -> None:
        self._move(move)

    @rule(move=st.sampled_from(of_parcels.ENDINGS))
    def is_to_end(self, move: str) -> None:
        self._move(move)

    def _move(self, move: str) -> None:
        self.moves += 1
        known, facts = set(self.world.receipts), len(self.world.log)
        self.world.move(move, self.moves)
        if move in of_parcels.COMMANDS and set(self.world.receipts) == known:
            assert len(self.world.log) == facts

    @invariant()
    def is_the_fold_of_its_facts(self) -> None:
        assert self.world.parcel == reduce(evolve_parcel, self.world.log, self.first)

    @invariant()
    def says_what_its_commands_do(self) -> None:
        of_parcels.foretold(self.world)

    @invariant()
    def was_handed_over_or_cancelled_and_never_both(self) -> None:
        if any(isinstance(fact, HandedOver) for fact in self.world.log):
            assert self.world.parcel.stage is ParcelStage.SHIPPED
            assert not self.world.parcel.is_cancelled

    def teardown(self) -> None:
        of_parcels.comes_to_an_end(self.world)
        assert set(self.world.receipts.values()) <= FINAL


@pytest.mark.parametrize("machine", [OrderLife, ParcelLife])
@pytest.mark.timeout(600)
def test_an_aggregate_keeps_its_promises_whatever_comes(machine: type[RuleBasedStateMachine]):
    """In every state it is the fold of its facts, and its horizon is what its commands do."""
    hypothesis.seed(SEED)(run_state_machine_as_test)(
        machine, settings=fuzzing(60, stateful_step_count=30, derandomize=True)
    )
