"""What the workflow sees of its order."""

from datetime import datetime

from contracts.chassis.event_store import Change
from contracts.order import PaymentStatus, Stage
from contracts.values import Code, Hold, Message, Outcome
from order_service.events import OrderEvent
from order_service.order import RENEW, Order, Step
from order_service.publishing import percent


class Snapshot(Message):
    """What the workflow needs to know of its stream; small, for every step writes one into the history."""

    version: int = 0
    is_put_back: bool = False
    """The store was put back to this, and a person said that it is right."""
    stage: Stage = Stage.PENDING
    status: str = Stage.PENDING.value
    payment: PaymentStatus = PaymentStatus.NONE
    step: Step = Step.HOLD_STOCK
    outcome: Outcome | None = None
    n: int = 0
    percent: int = 0
    steps_done: int = 0
    is_stopped: bool = False
    """The step would have to begin, and a hold stands against it."""
    is_parked: bool = False
    """The step waits for a person."""
    is_refused: bool = False
    """A person has to know what the step was refused; it waits for nobody."""
    tries_again: bool = False
    """After a long pause it is tried all the same."""
    is_renewal_parked: bool = False
    renews: bool = False
    """The authorization is to be replaced, beside whatever the step is."""
    alarm: datetime | None = None
    """When time alone changes the order; see `elapse`."""
    holds: tuple[Hold, ...] = ()
    attention: Code | None = None
    lane: tuple[str, ...] = ()


def snapshot(change: Change[Order, OrderEvent]) -> Snapshot:
    order = change.state
    return Snapshot(
        version=change.version,
        is_put_back=change.is_put_back,
        stage=order.stage,
        status=order.status,
        payment=order.payment,
        step=order.step,
        outcome=order.outcome,
        n=order.fulfillment_n,
        percent=percent(order),
        steps_done=order.steps_done,
        is_stopped=order.is_stopped,
        is_parked=(parked := order.parked(order.step)) is not None,
        is_refused=any(each.step_key == order.step and not each.is_parked for each in order.troubles),
        tries_again=parked is not None and (parked.passes or order.step is Step.UNDO),
        is_renewal_parked=order.parked(RENEW) is not None,
        renews=order.is_renewing and order.is_waiting_for_parcel,
        alarm=order.alarm,
        holds=order.holds,
        attention=order.attention,
        lane=tuple(wish.command_id for wish in order.lane),
    )
