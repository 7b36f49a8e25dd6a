"""Bugs that the explorer must find: each is put into the services in memory, and taken out again."""

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from temporalio import activity

from contracts import fulfillment as contract
from contracts.fulfillment import Stage
from fulfillment_service.activities import FulfillmentActivities, Snapshot, snapshot
from fulfillment_service.carrier import Taken
from fulfillment_service.events import FulfillmentEvent, HoldReleased
from fulfillment_service.fulfillment import Fulfillment, evolution, steps
from fulfillment_service.fulfillment import Step as ParcelStep
from order_service import intake as order_intake
from order_service.events import OrderEvent
from order_service.order import Order
from order_service.order import Step as OrderStep
from tests.proof import checks
from tests.proof.record import Message


@dataclass(frozen=True)
class Mutant:
    """A bug, and the invariant that has to catch it."""

    name: str
    invariant: str
    messages: tuple[Message, ...]
    """The wishes that bring it to light."""
    shown_by: str
    """A schedule in which it does; the explorer has to find one by itself, in the same script."""
    applied: Callable[[], AbstractContextManager[None]]


@contextmanager
def no_gate_before_hand_over() -> Generator[None]:
    """A hold does not keep the carrier away."""
    real = _getter(Fulfillment, "obstacle")

    def obstacle(f: Fulfillment) -> Any:
        return None if f.step is ParcelStep.HAND_OVER else real(f)

    with patch.object(Fulfillment, "obstacle", property(obstacle)):
        yield


class _Hasty(FulfillmentActivities):
    @activity.defn
    async def hand_over(self, fulfillment_id: str) -> Snapshot:
        """The carrier is asked first, and then HandOverStarted is stored."""
        change = await self._read(fulfillment_id)
        parcel, label = change.state, change.state.label
        if parcel.step is not ParcelStep.HAND_OVER or parcel.is_stopped or label is None:
            return snapshot(change)
        key = parcel.hand_over or f"{parcel.stream}:hand-over:{parcel.hand_overs + 1}"
        answer = await self._carrier.hand_over(key, label.tracking_reference or "")
        await self._begin(fulfillment_id, ParcelStep.HAND_OVER)

        def record(f: Fulfillment) -> Sequence[FulfillmentEvent]:
            if isinstance(answer, Taken):
                return steps.handed_over(f, key, reference=answer.reference)
            return steps.hand_over_refused(f, key, reason=answer.reason)

        return snapshot(await self._decide(fulfillment_id, contract.HAND_OVER, record))


@contextmanager
def hand_over_before_it_is_stored() -> Generator[None]:
    """What is asked of the carrier is not in the stream yet, so a wish can still be granted."""
    with patch.object(FulfillmentActivities, "hand_over", _Hasty.hand_over):
        yield


@contextmanager
def cancel_without_the_answer() -> Generator[None]:
    """The order undoes everything as soon as it is cancelled, whatever the parcel does."""
    real = _getter(Order, "step")

    def step(order: Order) -> Any:
        found = real(order)
        return OrderStep.UNDO if order.cancels and found is OrderStep.AWAIT_OUTCOME else found

    with patch.object(Order, "step", property(step)):
        yield


@contextmanager
def pause_dropped_before_the_parcel() -> Generator[None]:
    """A pause that comes before the fulfillment exists is granted and forgotten."""
    real = order_intake.pause

    def pause(order: Order, **wish: Any) -> list[OrderEvent]:
        return real(order, **wish) if order.is_requested else []

    with patch.object(order_intake, "pause", pause):
        yield


@contextmanager
def address_without_relabel() -> Generator[None]:
    """An address that comes after the label is accepted, and the old label goes on the parcel."""
    real = _getter(Fulfillment, "step")

    def step(f: Fulfillment) -> Any:
        found = real(f)
        return ParcelStep.HAND_OVER if found is ParcelStep.VOID_LABEL and not f.is_undone else found

    with patch.object(Fulfillment, "step", property(step)):
        yield


@contextmanager
def resume_to_a_fixed_state() -> Generator[None]:
    """A parcel that is resumed begins again with the picking."""
    real = _function(evolution, "_learnt")

    def learnt(f: Fulfillment, fact: FulfillmentEvent) -> Fulfillment:
        after = real(f, fact)
        return replace(after, stage=Stage.PICKING, worked=0) if isinstance(fact, HoldReleased) else after

    with patch.object(evolution, "_learnt", learnt):
        yield


MUTANTS = (
    Mutant(
        "no gate before hand-over",
        checks.HELD,
        ("pause", "hold"),
        "manual: parcel.book_label#1/1-stored pause@parcel-rest",
        no_gate_before_hand_over,
    ),
    Mutant(
        "hand-over called before HandOverStarted is stored",
        checks.NEVER_BOTH,
        ("cancel",),
        # In manual mode the operator's word stores it.
        "paced: parcel.hand_over#1/2-answered cancel@parcel-rest",
        hand_over_before_it_is_stored,
    ),
    Mutant(
        "cancel settled without waiting for the answer",
        checks.NEVER_BOTH,
        ("cancel",),
        "manual: parcel.work#2 cancel@order-rest",
        cancel_without_the_answer,
    ),
    Mutant(
        "pause dropped before the fulfillment exists",
        checks.HELD,
        ("pause",),
        "manual: order.authorize#1 pause@order-rest",
        pause_dropped_before_the_parcel,
    ),
    Mutant(
        "address accepted after the label without relabel",
        checks.ADDRESS,
        ("address",),
        "paced: parcel.hand_over#1 address@parcel-rest",
        address_without_relabel,
    ),
    Mutant(
        "resume to a fixed state",
        checks.STEPS,
        ("pause", "hold"),
        "manual: parcel.work#3 pause@parcel-rest",
        resume_to_a_fixed_state,
    ),
)


def _getter(owner: type, name: str) -> Callable[[Any], Any]:
    """What computes a property; the bug goes around it."""
    return vars(owner)[name].fget


def _function(module: Any, name: str) -> Callable[..., Any]:
    return getattr(module, name)
