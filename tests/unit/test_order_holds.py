"""Holds of the order itself, and what time alone changes: given what happened, then these facts."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from contracts.chassis.errors import Refused
from contracts.chassis.receipts import Advance
from contracts.order import PaymentStatus
from contracts.values import Code, Hold, HoldReason
from order_service.events import (
    ExceptionRaised,
    ExceptionResolved,
    FulfillmentAnswered,
    FulfillmentHoldsReleased,
    FulfillmentInstructed,
    HoldPlaced,
    HoldReleased,
    OrderEvent,
)
from order_service.order import Order, Step, payment, steps, wishes
from tests.unit.orders import (
    EXPIRES_AT,
    NOW,
    RENEW_AT,
    SOON,
    after,
    answer,
    authorized,
    authorizing,
    cancelling,
    completed,
    completion,
    confirmed,
    heard,
    held,
    hold,
    in_stock,
    paused,
    placed,
    short_of_stock,
    under_way,
)

QUALITY = hold("q-1", HoldReason.QUALITY)
PAUSE = hold("p-1")


def place(order: Order, asked: Hold = QUALITY, command_id: str = "h-1") -> list[OrderEvent]:
    return wishes.place_hold(order, hold=asked, command_id=command_id)


def release(order: Order, handle: str | None = None, command_id: str = "l-1") -> list[OrderEvent]:
    return wishes.release(order, handle=handle, command_id=command_id)


def pause(order: Order, asked: Hold = PAUSE, command_id: str = "p-1") -> list[OrderEvent]:
    return wishes.pause(order, hold=asked, command_id=command_id)


def moves(order: Order, facts: list[OrderEvent]) -> list[Advance]:
    return wishes.advances(order, after(order, facts), facts)


BEFORE_A_STEP = [placed, in_stock, authorized]


@pytest.mark.parametrize("state", BEFORE_A_STEP)
def test_a_hold_stops_the_order_before_its_next_step(state: Callable[[], Order]):
    """Neither stock nor payment nor parcel is asked for; the hold is in effect at once."""
    order = after(state(), place(state()))
    assert order.is_stopped
    assert order.step is state().step
    assert steps.hold_stock(order, short_of=None) == []
    assert payment.request_authorization(order) == []
    assert steps.confirm(order) == []
    assert wishes.status_of(order, "h-1") == "EFFECTIVE"


@pytest.mark.parametrize("state", BEFORE_A_STEP)
def test_the_last_hold_that_is_lifted_lets_the_very_step_begin(state: Callable[[], Order]):
    """With two holds the first release moves nothing; the second has its effect with the step."""
    order = held(held(state(), "q-1"), "q-2")
    first = release(order, "q-1", "l-1")
    order = after(order, first)
    assert wishes.status_of(order, "l-1") == "EFFECTIVE"
    assert order.is_stopped
    order = after(order, release(order, "q-2", "l-2"))
    assert not order.is_stopped
    assert order.step is state().step
    assert wishes.status_of(order, "l-2") == "ACCEPTED"
    begins: list[list[OrderEvent]] = [
        steps.hold_stock(order, short_of=None), payment.request_authorization(order), steps.confirm(order),
    ]  # fmt: skip
    [facts] = [each for each in begins if each]
    assert moves(order, facts) == [Advance("l-2", "EFFECTIVE")]


def test_a_call_in_flight_ends_before_a_hold_takes_effect():
    """The provider was asked already: its answer is recorded, and only what follows does not begin."""
    order = after(authorizing(), place(authorizing()))
    assert not order.is_stopped
    assert wishes.status_of(order, "h-1") == "ACCEPTED"
    facts = payment.authorized(order, reference="auth_1", expires_at=EXPIRES_AT, now=NOW)
    assert moves(order, facts) == [Advance("h-1", "EFFECTIVE")]
    order = after(order, facts)
    assert order.payment is PaymentStatus.AUTHORIZED
    assert order.is_stopped


def test_a_hold_that_is_lifted_before_it_took_effect_is_overtaken():
    """Its receipt says so, and the release is in effect, since the call goes on."""
    order = after(authorizing(), place(authorizing()))
    facts = release(order)
    assert moves(order, facts) == [Advance("h-1", "SUPERSEDED")]
    assert wishes.status_of(after(order, facts), "l-1") == "EFFECTIVE"


def test_a_declined_payment_overtakes_a_hold():
    """There is nothing left to stop."""
    order = after(authorizing(), place(authorizing()))
    facts = payment.declined(order, reason="card_declined", now=NOW)
    assert moves(order, facts) == [Advance("h-1", "SUPERSEDED")]
    assert after(order, facts).status != "PAUSED"


def test_a_hold_never_stands_against_a_cancel():
    """What was authorized goes back, whatever stands."""
    order = cancelling(held(authorized()))
    assert order.step is Step.UNDO
    assert not order.is_stopped
    assert payment.request_void(order)


@pytest.mark.parametrize("wish", [place, release, pause])
def test_an_order_that_is_being_cancelled_is_neither_held_nor_released(
    wish: Callable[[Order], list[OrderEvent]],
):
    """Before the boundary the order decides alone, and it has decided."""
    with pytest.raises(Refused) as refused:
        wish(cancelling(held(in_stock())))
    assert refused.value.code is Code.CANCEL_IN_PROGRESS


def test_the_same_handle_again_changes_nothing():
    """Two who hold by one name have one hold."""
    assert place(after(placed(), place(placed()))) == []


def test_a_handle_names_one_hold():
    """A hold kept for the parcel and one of the order itself are lifted by different names."""
    for first, second in ((paused, place), (held, pause)):
        order = first(in_stock(), "x-1")
        with pytest.raises(Refused) as refused:
            second(order, hold("x-1"))
        assert refused.value.code is Code.HANDLE_TAKEN


def test_a_release_without_a_handle_lifts_all_of_them():
    """Those of the order and those kept for the parcel, as after the boundary."""
    order = paused(held(held(in_stock(), "q-1"), "q-2"), "p-1")
    assert release(order) == [
        HoldReleased(handle="q-1", command_id="l-1"),
        HoldReleased(handle="q-2", command_id="l-1"),
        FulfillmentHoldsReleased(handles=("p-1",)),
    ]
    assert release(order, "p-1") == [FulfillmentHoldsReleased(handles=("p-1",))]
    assert release(in_stock()) == []
    assert release(in_stock(), "p-1") == []


def test_a_handle_that_no_hold_has_is_refused_while_others_stand():
    """Whoever lifts the wrong one hears of it."""
    with pytest.raises(Refused) as refused:
        release(held(placed()), "no-such")
    assert refused.value.code is Code.HOLD_NOT_FOUND


def test_a_resume_of_one_hold_lifts_that_one():
    """By its handle, whichever kind it is; without a handle only the pauses of the parcel."""
    order = paused(held(in_stock(), "q-1"), "p-1")
    resume = wishes.resume(order, handle="q-1", command_id="r-1")
    assert resume == [HoldReleased(handle="q-1", command_id="r-1")]
    resume = wishes.resume(order, handle=None, command_id="r-1")
    assert resume == [FulfillmentHoldsReleased(handles=("p-1",))]


@pytest.mark.parametrize("state", [confirmed, under_way])
def test_after_the_boundary_a_hold_is_the_parcels(state: Callable[[], Order]):
    """It goes on through the lane, with all the parcel has to know of it."""
    asked = Hold(handle="q-1", reason=HoldReason.QUALITY, holder="anna", until=SOON)
    facts = place(state(), asked)
    assert facts == [FulfillmentInstructed(command_id="h-1", instruction="applyHold", hold=asked)]
    order = after(state(), facts)
    assert order.status == state().status
    assert wishes.status_of(order, "h-1") == "RECEIVED"
    assert release(order, "q-1") == [
        FulfillmentInstructed(command_id="l-1", instruction="releaseHold", handle="q-1")
    ]


# What time alone changes.


@pytest.mark.parametrize("state", [*BEFORE_A_STEP, authorizing])
def test_a_hold_ends_by_itself_when_its_time_is_over(state: Callable[[], Order]):
    """Not a moment earlier, and only the one whose time it is."""
    order = held(held(state(), "q-1", until=SOON), "q-2", until=SOON + timedelta(hours=1))
    assert order.alarm == SOON
    assert steps.elapse(order, SOON - timedelta(seconds=1)) == []
    facts = steps.elapse(order, SOON)
    assert facts == [HoldReleased(handle="q-1")]
    order = after(order, facts)
    assert order.alarm == SOON + timedelta(hours=1)
    assert steps.elapse(order, SOON + timedelta(hours=1)) == [HoldReleased(handle="q-2")]


def test_an_order_without_a_deadline_has_no_alarm():
    """So that nothing waits for it."""
    assert [state().alarm for state in (placed, authorizing, short_of_stock)] == [None] * 3
    assert held(placed()).alarm is None
    assert cancelling(held(placed(), until=SOON)).alarm is None


def unanswered() -> Order:
    return cancelling(cancelling(under_way(), "c-1"), "c-2")


def test_a_cancel_that_nobody_answers_needs_attention():
    """After its deadline, once, and until every cancel was answered."""
    order = unanswered()
    assert order.alarm == SOON
    assert steps.elapse(order, NOW) == []
    facts = steps.elapse(order, SOON)
    assert facts == [ExceptionRaised(step_key="await-outcome", code=Code.CANCEL_UNANSWERED)]
    order = after(order, facts)
    assert order.attention is Code.CANCEL_UNANSWERED
    assert order.alarm == RENEW_AT
    order = heard(order, answer("c-1", "REJECTED", Code.CANCEL_REJECTED))
    assert order.attention is Code.CANCEL_UNANSWERED
    facts = steps.answered(order, answer("c-2", "REJECTED", Code.CANCEL_REJECTED))
    assert facts[1:] == [ExceptionResolved(step_key="await-outcome", code=Code.CANCEL_UNANSWERED)]
    assert after(order, facts).status == "FULFILLMENT_IN_PROGRESS"


@pytest.mark.parametrize("status", ["ACCEPTED", "REJECTED", "EFFECTIVE"])
def test_an_answer_in_time_leaves_nothing_to_wait_for(status: str):
    """Accepted or refused, it was answered."""
    order = heard(cancelling(under_way(), "c-1"), answer("c-1", status))  # type: ignore[arg-type]
    assert order.alarm == RENEW_AT
    assert steps.elapse(order, SOON) == []


def test_a_cancel_over_which_a_person_decides_is_not_answered_yet():
    """The fulfillment says that it has it; the receipt stays open, and the deadline runs."""
    order = cancelling(under_way(), "c-1")
    assert steps.answered(order, answer("c-1", "RECEIVED")) == []
    facts = steps.answered(order, answer("c-1", "REJECTED", Code.CANCEL_REJECTED))
    assert facts == [FulfillmentAnswered(command_id="c-1", status="REJECTED", code=Code.CANCEL_REJECTED)]
    assert moves(order, facts) == [Advance("c-1", "REJECTED", Code.CANCEL_REJECTED)]


@pytest.mark.parametrize("outcome", ["SHIPPED", "CANCELLED", "FAILED"])
def test_the_end_of_the_parcel_answers_every_cancel(outcome: str):
    """Nobody has to ask any more."""
    order = after(unanswered(), steps.elapse(unanswered(), SOON))
    facts = steps.complete(order, completion(outcome))  # type: ignore[arg-type]
    assert ExceptionResolved(step_key="await-outcome", code=Code.CANCEL_UNANSWERED) in facts
    order = after(order, facts)
    assert (order.attention, order.alarm) == (None, None)
    assert completed(outcome, unanswered()).alarm is None  # type: ignore[arg-type]


@pytest.mark.parametrize("state", [placed, in_stock, authorizing, authorized])
def test_a_cancel_that_the_order_decides_has_no_deadline(state: Callable[[], Order]):
    """Before the boundary nobody else is asked."""
    assert cancelling(state()).unanswered == ()


def test_holds_of_the_order_are_facts_with_their_command():
    """So that the receipt, the timeline and the events can say whose they are."""
    assert place(placed()) == [HoldPlaced(hold=QUALITY, command_id="h-1")]


@pytest.mark.parametrize("state", [confirmed, under_way])
def test_the_country_cannot_change_once_the_parcel_is_asked_for(state: Callable[[], Order]):
    """Before it can; the parcel is then planned for the new one."""
    changes = wishes.Changes(country="Canada")
    with pytest.raises(Refused) as refused:
        wishes.update(state(), changes, command_id="u-1")
    assert (refused.value.code, refused.value.cut_off) == (
        Code.COUNTRY_CANNOT_CHANGE, "FulfillmentRequested",
    )  # fmt: skip
    order = after(placed(), wishes.update(placed(), changes, command_id="u-1"))
    assert (order.country, order.address_version) == ("Canada", 2)
