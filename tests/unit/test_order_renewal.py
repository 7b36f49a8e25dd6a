"""The renewal of an authorization that would lapse, and everything that may come in its way."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from contracts.order import PaymentStatus, Stage
from contracts.values import Code, Hold, HoldReason, Outcome
from order_service.events import (
    CaptureRefused,
    CaptureRequested,
    ExceptionRaised,
    ExceptionResolved,
    FulfillmentInstructed,
    HoldPlaced,
    HoldReleased,
    OrderEvent,
    PaymentAuthorizationRequested,
    PaymentAuthorized,
    PaymentCaptured,
    PaymentDeclined,
    PaymentVoided,
    VoidRefused,
    VoidRequested,
)
from order_service.order import Order, Step, payment, steps, wishes
from tests.unit.orders import (
    EXPIRES_AT,
    LATER,
    NOW,
    RENEW_AT,
    STREAM,
    after,
    answer,
    authorized,
    authorizing,
    cancelling,
    capturing,
    completed,
    completion,
    confirmed,
    given_back,
    heard,
    held,
    renewed,
    renewing,
    under_way,
    unpaid,
)

WAITING = [authorized, confirmed, under_way, lambda: held(authorized()), lambda: cancelling(under_way())]
ASKED = PaymentAuthorizationRequested(n=2, provider_key=f"{STREAM}:authorize:2", amount_minor=9800)
UNPAID = Hold(handle="awaiting-payment:2", reason=HoldReason.AWAITING_PAYMENT, holder="order-service")


def pays(order: Order, reference: str = "auth_2") -> list[OrderEvent]:
    return payment.authorized(order, reference=reference, expires_at=LATER, now=RENEW_AT)


def declines(order: Order) -> list[OrderEvent]:
    return payment.declined(order, reason="card_declined", now=RENEW_AT)


def asked_to_capture(order: Order) -> str | None:
    """The authorization that would be captured now."""
    asked = [fact for fact in payment.request_capture(order) if isinstance(fact, CaptureRequested)]
    return asked[0].reference if asked else None


# When.


@pytest.mark.parametrize("state", WAITING)
def test_an_authorization_is_renewed_a_seventh_of_its_life_before_it_lapses(state: Callable[[], Order]):
    """As long as nothing is handed over; stage and status of the order stay as they are."""
    order = state()
    assert (order.renew_at, order.authorized_until) == (RENEW_AT, EXPIRES_AT)
    assert steps.elapse(order, RENEW_AT - timedelta(seconds=1)) == [] or order.unanswered
    facts = steps.elapse(order, RENEW_AT)
    assert ASKED in facts
    new = after(order, facts)
    assert (new.stage, new.payment, new.step) == (order.stage, PaymentStatus.AUTHORIZED, order.step)
    assert new.is_renewing


def test_a_short_authorization_is_renewed_at_most_once_a_minute():
    """Whatever its lifetime, the provider is not asked in a loop."""
    for lifetime in (timedelta(0), timedelta(seconds=3), timedelta(seconds=69)):
        [fact] = payment.authorized(authorizing(), reference="auth_1", expires_at=NOW + lifetime, now=NOW)
        assert isinstance(fact, PaymentAuthorized)
        assert fact.renew_at == NOW + timedelta(seconds=60)


@pytest.mark.parametrize(
    "state",
    [authorizing, capturing, lambda: completed("SHIPPED"), lambda: completed("CANCELLED"),
     lambda: cancelling(authorized()), renewing, renewed],
)  # fmt: skip
def test_nothing_is_renewed_that_is_not_waited_for(state: Callable[[], Order]):
    """Neither what is captured or taken back next, nor what is being renewed already."""
    assert steps.elapse(state(), LATER) == []


def test_a_renewal_is_due_again_for_the_new_one():
    """Its own lifetime counts, from when it was asked for."""
    order = given_back_old(renewed())
    assert order.alarm == RENEW_AT + timedelta(days=6)
    assert (order.reference, order.authorized_until) == ("auth_2", LATER)


def given_back_old(order: Order) -> Order:
    order = after(order, payment.request_void(order))
    return after(order, payment.voided(order))


# The way through.


def test_a_renewal_asks_then_voids_the_one_before():
    """Each call is named before it is made; the payment is authorized all the time."""
    order = renewing()
    assert payment.request_void(order) == []
    facts = pays(order)
    assert facts == [
        PaymentAuthorized(n=2, reference="auth_2", expires_at=LATER, renew_at=RENEW_AT + timedelta(days=6))
    ]
    order = after(order, facts)
    void = payment.request_void(order)
    assert void == [VoidRequested(n=1, provider_key=f"{STREAM}:void:1", reference="auth_1")]
    order = after(order, void)
    assert payment.voided(order) == [PaymentVoided(n=1)]
    order = after(order, payment.voided(order))
    assert (order.payment, order.authorizations) == (PaymentStatus.AUTHORIZED, ("auth_2",))
    assert not order.is_renewing


def test_an_answer_that_comes_twice_is_recorded_once():
    """Two workers that were both cut off after the call have the same answer."""
    order = after(renewing(), pays(renewing()))
    assert pays(order) == []
    assert declines(order) == []
    order = after(order, payment.request_void(order))
    assert payment.request_void(order) == []
    order = after(order, payment.voided(order))
    assert payment.voided(order) == []
    assert payment.void_refused(order, reason="late") == []


def test_what_was_cut_off_goes_on_under_the_same_name():
    """After a crash the stream still says which call is open; it gets no second name."""
    order = renewing()
    assert order.open_authorization is not None
    assert order.open_authorization.provider_key == ASKED.provider_key
    assert steps.elapse(order, LATER) == []
    order = renewed()
    order = after(order, payment.request_void(order))
    assert order.void is not None
    assert (order.void.reference, order.void.answered) == ("auth_1", False)


def test_an_old_one_that_cannot_be_voided_is_left_to_lapse():
    """It costs nobody anything: no attention, and the order goes on with the new one."""
    order = renewed()
    order = after(order, payment.request_void(order))
    facts = payment.void_refused(order, reason="expired")
    assert facts == [VoidRefused(n=1, reason="expired")]
    order = after(order, facts)
    assert (order.authorizations, order.attention) == (("auth_2",), None)
    assert payment.request_void(order) == []


# Shipped in the middle.


def test_a_parcel_that_ships_while_the_answer_is_missing_waits_for_it():
    """Only the answer says which authorization is the newest; then that one is captured."""
    order = completed("SHIPPED", renewing())
    assert order.step is Step.CAPTURE
    assert payment.request_capture(order) == []
    paid = after(order, pays(order))
    assert payment.request_capture(paid) == []
    assert asked_to_capture(given_back_old(paid)) == "auth_2"
    assert asked_to_capture(after(order, declines(order))) == "auth_1"


def test_a_parcel_that_ships_with_two_authorizations_leaves_none_behind():
    """The old one is voided first, the newest captured."""
    order = completed("SHIPPED", renewed())
    assert payment.request_void(order) == [
        VoidRequested(n=1, provider_key=f"{STREAM}:void:1", reference="auth_1")
    ]
    order = given_back_old(order)
    assert payment.request_void(order) == []
    order = after(order, payment.request_capture(order))
    assert payment.captured(order) == [PaymentCaptured(n=1)]
    assert after(order, payment.captured(order)).outcome == "SHIPPED"


def test_a_decline_after_the_parcel_left_holds_nothing():
    """The old authorization still stands and is captured; nobody is told to wait for money."""
    order = completed("SHIPPED", renewing())
    assert declines(order) == [
        PaymentDeclined(n=2, reason="card_declined", retry_at=RENEW_AT + timedelta(days=1))
    ]


def lapsed() -> Order:
    """The parcel left, and the capture came too late for its authorization."""
    order = capturing()
    facts = payment.capture_refused(order, reason="expired")
    assert facts == [CaptureRefused(n=1, reason="expired", has_lapsed=True)]
    return after(order, facts)


def test_a_lapsed_authorization_is_replaced_before_anybody_is_alarmed():
    """After an outage of days the money is asked for anew, and captured under the new name."""
    order = lapsed()
    assert payment.request_capture(order) == [ASKED]
    order = after(order, payment.request_capture(order))
    assert payment.request_capture(order) == []
    order = after(order, pays(order))
    assert payment.request_capture(order) == [
        CaptureRequested(n=2, provider_key=f"{STREAM}:capture:2", reference="auth_2")
    ]


def test_a_lapsed_authorization_that_is_not_replaced_needs_a_person():
    """The parcel is gone and the money is not there; it is tried again, and said once."""
    order = after(lapsed(), payment.request_capture(lapsed()))
    facts = declines(order)
    raised = ExceptionRaised(step_key="capture", code=Code.CAPTURE_FAILED, error="card_declined")
    assert facts[1:] == [raised]
    order = after(order, facts)
    assert order.status == "NEEDS_ATTENTION"
    again = payment.request_capture(order)
    assert [type(fact) for fact in again] == [PaymentAuthorizationRequested]
    order = after(order, again)
    assert declines(order)[1:] == []
    order = after(order, pays(order, "auth_3"))
    order = after(order, payment.request_capture(order))
    assert ExceptionResolved(step_key="capture", code=Code.CAPTURE_FAILED) in payment.captured(order)


def test_an_authorization_that_lapses_again_and_again_needs_a_person():
    """Replacing it was tried; without end it is not."""
    order = after(lapsed(), payment.request_capture(lapsed()))
    order = after(order, pays(order))
    order = after(order, payment.request_capture(order))
    assert payment.capture_refused(order, reason="expired") == [
        CaptureRefused(n=2, reason="expired", has_lapsed=True),
        ExceptionRaised(step_key="capture", code=Code.CAPTURE_FAILED, error="expired"),
    ]


# Taken back in the middle.


@pytest.mark.parametrize(
    "state",
    [lambda: completed("CANCELLED", renewing()), lambda: completed("FAILED", renewing()),
     lambda: cancelling(renewing(held(authorized())))],
)  # fmt: skip
def test_an_order_that_is_undone_waits_for_the_answer_and_voids_everything(state: Callable[[], Order]):
    """Whether the new one stands decides what there is to void; nothing is left behind."""
    order = state()
    assert order.step is Step.UNDO
    assert payment.request_void(order) == []
    assert steps.undone(order) == []
    paid = given_back(after(order, pays(order)))
    assert (paid.authorizations, paid.payment) == ((), PaymentStatus.VOIDED)
    assert paid.void is not None
    assert paid.void.n == 2
    refused = given_back(after(order, declines(order)))
    assert (refused.authorizations, refused.payment) == ((), PaymentStatus.VOIDED)
    for end in (paid, refused):
        assert after(end, steps.undone(end)).outcome in ("CANCELLED", "FAILED")


def test_an_order_that_is_undone_when_renewed_voids_both():
    """Oldest first; VOIDED is said after the last one."""
    order = completed("CANCELLED", renewed())
    order = given_back_old(order)
    assert order.payment is PaymentStatus.AUTHORIZED
    assert steps.undone(order) == []
    order = given_back_old(order)
    assert order.payment is PaymentStatus.VOIDED
    assert after(order, steps.undone(order)).stage is Stage.CANCELLED


# Declined.


def test_a_declined_renewal_holds_the_parcel():
    """Through the lane and under a name of its own; the order lives, and is asked again a day later."""
    facts = declines(renewing())
    command_id = f"{STREAM}:awaiting-payment:2"
    assert facts == [
        PaymentDeclined(n=2, reason="card_declined", retry_at=RENEW_AT + timedelta(days=1)),
        FulfillmentInstructed(command_id=command_id, instruction="applyHold", hold=UNPAID),
    ]
    order = after(renewing(), facts)
    assert (order.failure, order.payment) == (None, PaymentStatus.AUTHORIZED)
    assert order.alarm == RENEW_AT + timedelta(days=1)
    assert [wish.command_id for wish in order.lane] == [command_id]


def test_declined_again_the_hold_is_not_placed_twice():
    """An operator who lifted it meanwhile is not overruled."""
    order = heard(unpaid(), answer(f"{STREAM}:awaiting-payment:2", "EFFECTIVE"))
    order = renewing(order)
    assert order.open_authorization is not None
    assert order.open_authorization.n == 3
    assert [type(fact) for fact in declines(order)] == [PaymentDeclined]


def test_paid_again_the_hold_is_lifted():
    """By its handle, through the lane; what was replaced is voided."""
    order = renewing(heard(unpaid(), answer(f"{STREAM}:awaiting-payment:2", "EFFECTIVE")))
    facts = pays(order, "auth_3")
    assert facts[1:] == [
        FulfillmentInstructed(
            command_id=f"{STREAM}:payment-renewed:3", instruction="releaseHold", handle="awaiting-payment:2"
        )
    ]
    order = after(order, facts)
    assert order.unpaid is None
    assert order.outdated == "auth_1"


def test_a_declined_renewal_of_a_held_order_holds_the_order_itself():
    """There is no parcel yet; lifting the first hold is not enough then."""
    order = renewing(held(authorized()))
    facts = declines(order)
    assert facts[1:] == [HoldPlaced(hold=UNPAID)]
    order = after(order, facts)
    order = after(order, wishes.release(order, handle="q-1", command_id="l-1"))
    assert order.is_stopped
    order = renewing(order)
    facts = pays(order, "auth_3")
    assert facts[1:] == [HoldReleased(handle="awaiting-payment:2")]
    order = after(order, facts)
    assert not order.is_stopped
    assert order.step is Step.CONFIRM


def test_a_hold_for_want_of_money_that_somebody_lifted_is_not_lifted_again():
    """Nothing is recorded that did not happen."""
    order = unpaid(held(authorized()))
    order = after(order, wishes.release(order, handle=None, command_id="l-1"))
    order = renewing(order)
    assert [type(fact) for fact in pays(order, "auth_3")] == [PaymentAuthorized]


@pytest.mark.parametrize("outcome", ["SHIPPED", "CANCELLED"])
def test_the_end_of_the_parcel_closes_what_the_order_wished_by_itself(outcome: Outcome):
    """A hold for want of money that was never answered has a receipt like any other wish."""
    order = unpaid()
    facts = steps.complete(order, completion(outcome))
    advances = wishes.advances(order, after(order, facts), facts)
    [closed] = [each for each in advances if each.command_id == f"{STREAM}:awaiting-payment:2"]
    assert (closed.status, closed.code) == ("REJECTED", Code.ALREADY_ENDED)


def test_the_first_authorization_that_is_declined_still_ends_the_order():
    """There is nothing to fall back on."""
    assert payment.declined(authorizing(), reason="card_declined", now=NOW) == [
        PaymentDeclined(n=1, reason="card_declined")
    ]
