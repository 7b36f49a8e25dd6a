"""The order's decisions: given what happened, when somebody wishes or a step is due, then these facts."""

from collections.abc import Callable
from typing import get_args

import pytest

from contracts import order as contract
from contracts.chassis.errors import Refused
from contracts.chassis.receipts import Advance
from contracts.order import PaymentStatus, Stage
from contracts.values import Code, HoldReason, Outcome
from order_service import events
from order_service.events import (
    AddressChanged,
    CancelRequested,
    CaptureRefused,
    CaptureRequested,
    ContactChanged,
    ExceptionRaised,
    ExceptionResolved,
    FulfillmentAnswered,
    FulfillmentCompleted,
    FulfillmentHoldPlaced,
    FulfillmentHoldsReleased,
    FulfillmentInstructed,
    FulfillmentRequested,
    FulfillmentStarted,
    FulfillmentUnderWay,
    InstructionsChanged,
    OrderCancelled,
    OrderConfirmed,
    OrderEvent,
    OrderFailed,
    OrderShipped,
    PaymentAuthorizationRequested,
    PaymentCaptured,
    PaymentVoided,
    StockHeld,
    StockRefused,
    StockReleased,
    VoidRefused,
    VoidRequested,
)
from order_service.order import STEPS_TOTAL, Order, Step, evolve, payment, steps, wishes
from order_service.order.wishes import HAND_OVER, Changes
from tests.unit.orders import (
    EVERY_STATE,
    EXPIRES_AT,
    LATER,
    NOW,
    SOON,
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
    declined,
    given_back,
    heard,
    hold,
    in_stock,
    paid,
    paused,
    placed,
    short_of_stock,
    under_way,
    undone,
)

NEXT = {
    "placed": Step.HOLD_STOCK,
    "in stock": Step.AUTHORIZE,
    "authorizing": Step.AUTHORIZE,
    "authorized": Step.CONFIRM,
    "confirmed": Step.START_FULFILLMENT,
    "under way": Step.AWAIT_OUTCOME,
    "shipped": Step.CAPTURE,
    "capturing": Step.CAPTURE,
    "paid": Step.END,
    "short of stock": Step.UNDO,
    "declined": Step.UNDO,
    "parcel cancelled": Step.UNDO,
    "parcel failed": Step.UNDO,
    "cancelled early": Step.END,
    "cancelled late": Step.END,
    "failed": Step.END,
    "cancelling before payment": Step.UNDO,
    "cancelling while authorizing": Step.AUTHORIZE,
    "cancelling under way": Step.AWAIT_OUTCOME,
    "paused": Step.AWAIT_OUTCOME,
    "held before stock": Step.HOLD_STOCK,
    "held before payment": Step.AUTHORIZE,
    "held while authorizing": Step.AUTHORIZE,
    "held before the parcel": Step.CONFIRM,
    "held and cancelled": Step.UNDO,
    "renewing": Step.AWAIT_OUTCOME,
    "renewed": Step.AWAIT_OUTCOME,
    "unpaid": Step.AWAIT_OUTCOME,
    "renewing a held order": Step.CONFIRM,
    "unpaid before the parcel": Step.CONFIRM,
    "shipped while renewing": Step.CAPTURE,
    "shipped when renewed": Step.CAPTURE,
    "parcel cancelled while renewing": Step.UNDO,
    "parcel cancelled when renewed": Step.UNDO,
    "cancelled while renewing": Step.UNDO,
}
STATUS = {
    "placed": "PENDING",
    "in stock": "INVENTORY_RESERVED",
    "authorizing": "PAYMENT_PROCESSING",
    "authorized": "PAYMENT_CONFIRMED",
    "confirmed": "CONFIRMED",
    "under way": "FULFILLMENT_IN_PROGRESS",
    "shipped": "SHIPPED",
    "capturing": "SHIPPED",
    "paid": "SHIPPED",
    "cancelled early": "CANCELLED",
    "cancelled late": "CANCELLED",
    "failed": "FAILED",
    "cancelling before payment": "CANCEL_REQUESTED",
    "cancelling while authorizing": "CANCEL_REQUESTED",
    "cancelling under way": "CANCEL_REQUESTED",
    "paused": "FULFILLMENT_IN_PROGRESS",
    "held before stock": "PAUSED",
    "held before payment": "PAUSED",
    "held while authorizing": "PAUSED",
    "held before the parcel": "PAUSED",
    "held and cancelled": "CANCEL_REQUESTED",
    "renewing": "FULFILLMENT_IN_PROGRESS",
    "unpaid": "FULFILLMENT_IN_PROGRESS",
    "unpaid before the parcel": "PAUSED",
    "shipped while renewing": "SHIPPED",
}
ENDED = ("paid", "cancelled early", "cancelled late", "failed")
PARCEL_OVER = ("shipped", "capturing", "parcel cancelled", "parcel failed", "short of stock", "declined")


def cancel(order: Order, command_id: str = "c-1") -> list[OrderEvent]:
    return wishes.request_cancel(order, command_id=command_id, answer_by=SOON)


def pause(order: Order) -> list[OrderEvent]:
    return wishes.pause(order, hold=hold(), command_id="p-1")


def resume(order: Order) -> list[OrderEvent]:
    return wishes.resume(order, handle=None, command_id="r-1")


def place_hold(order: Order, handle: str = "q-1") -> list[OrderEvent]:
    return wishes.place_hold(order, hold=hold(handle, HoldReason.QUALITY), command_id="q-1")


def release(order: Order, handle: str | None = None) -> list[OrderEvent]:
    return wishes.release(order, handle=handle, command_id="l-1")


def update(
    order: Order, *, contact: bool = False, instructions: bool = False, country: str | None = None
) -> list[OrderEvent]:
    changes = Changes(contact=contact, instructions=instructions, country=country)
    return wishes.update(order, changes, command_id="u-1")


def moves(order: Order, facts: list[OrderEvent]) -> list[Advance]:
    """The receipts that move when these facts are added."""
    return wishes.advances(order, after(order, facts), facts)


# What comes next.


@pytest.mark.parametrize("name", EVERY_STATE)
def test_every_state_knows_what_comes_next(name: str):
    """The next step is a function of the facts alone."""
    assert EVERY_STATE[name]().step is NEXT[name]


@pytest.mark.parametrize("name", STATUS)
def test_the_status_is_the_stage_unless_an_overlay_hides_it(name: str):
    """CANCEL_REQUESTED hides the stage, and the end hides CANCEL_REQUESTED."""
    assert EVERY_STATE[name]().status == STATUS[name]


def test_cancel_hides_attention_and_attention_hides_the_stage():
    """The precedence of the overlays; lifting one shows what is below it."""
    seen = evolve(under_way(), ExceptionRaised(step_key="undo", code=Code.VOID_FAILED))
    assert seen.status == "NEEDS_ATTENTION"
    assert cancelling(seen).status == "CANCEL_REQUESTED"
    assert (
        evolve(seen, ExceptionResolved(step_key="undo", code=Code.VOID_FAILED)).status
        == "FULFILLMENT_IN_PROGRESS"
    )


@pytest.mark.parametrize("name", EVERY_STATE)
def test_only_an_ended_order_has_an_outcome(name: str):
    """Money and stock are settled before anybody says how the order ended."""
    order = EVERY_STATE[name]()
    assert (order.outcome is not None) == (name in ENDED)
    if order.outcome in ("CANCELLED", "FAILED"):
        assert order.stock in ("none", "released")
        assert order.payment in (PaymentStatus.NONE, PaymentStatus.VOIDED)


def test_every_fact_of_the_contract_is_known():
    """The aggregate and the published list name the same facts."""
    assert {fact.__name__ for fact in events.FACTS} == set(contract.FACTS)


def test_the_steps_are_counted_up_to_the_end():
    """Seven of seven when the money is taken."""
    assert [state().steps_done for state in (placed, in_stock, authorized, confirmed, under_way, paid)] == [
        0, 1, 2, 3, 5, STEPS_TOTAL,
    ]  # fmt: skip


# The steps.


def test_stock_is_held_or_refused():
    """One article that is short refuses the order; nothing is held then."""
    assert steps.hold_stock(placed(), short_of=None) == [StockHeld()]
    assert steps.hold_stock(placed(), short_of="TEAPOT") == [StockRefused(sku="TEAPOT")]


def test_an_authorization_has_its_name_before_the_provider_hears_of_it():
    """The key is built from stream, operation and number, so the call can be looked up after a crash."""
    requested = PaymentAuthorizationRequested(n=1, provider_key=f"{STREAM}:authorize:1", amount_minor=9800)
    assert payment.request_authorization(in_stock()) == [requested]


def test_confirming_asks_for_the_parcel_with_the_holds_kept_for_it():
    """A pause before the parcel exists is not lost."""
    held = paused(authorized(), "h-1")
    assert steps.confirm(held) == [
        OrderConfirmed(),
        FulfillmentRequested(n=1, holds=(hold("h-1"),), address_version=1),
    ]


def test_a_parcel_that_shipped_before_its_start_returned_ends_as_shipped():
    """The end of a quick parcel may arrive first; the start that returns later adds nothing behind it."""
    facts = steps.complete(confirmed(), completion("SHIPPED"))
    assert [type(fact) for fact in facts] == [
        FulfillmentStarted, FulfillmentUnderWay, FulfillmentCompleted, OrderShipped,
    ]  # fmt: skip
    shipped = after(confirmed(), facts)
    assert steps.fulfillment_started(shipped) == []
    assert shipped.stage is Stage.SHIPPED


def test_an_end_of_a_parcel_nobody_asked_for_is_not_believed():
    """Neither before the request nor under another number."""
    assert steps.complete(authorized(), completion("SHIPPED", n=0)) == []
    assert steps.complete(under_way(), completion("SHIPPED", n=2)) == []


def test_the_end_of_a_parcel_is_recorded_once():
    """A second report, even a different one, changes nothing."""
    assert steps.complete(completed("SHIPPED"), completion("CANCELLED")) == []


def test_a_refused_capture_is_for_a_person_and_tried_again_under_a_new_name():
    """The order needs attention until the money is taken, and is told of it once."""
    facts = payment.capture_refused(capturing(), reason="refused")
    assert facts == [
        CaptureRefused(n=1, reason="refused"),
        ExceptionRaised(step_key="capture", code=Code.CAPTURE_FAILED, error="refused"),
    ]
    seen = after(capturing(), facts)
    again = payment.request_capture(seen)
    assert again == [CaptureRequested(n=2, provider_key=f"{STREAM}:capture:2", reference="auth_1")]
    seen = after(seen, again)
    assert payment.capture_refused(seen, reason="refused") == [CaptureRefused(n=2, reason="refused")]
    assert payment.captured(seen) == [
        PaymentCaptured(n=2), ExceptionResolved(step_key="capture", code=Code.CAPTURE_FAILED),
    ]  # fmt: skip


def test_a_cancelled_order_gives_money_and_stock_back_before_it_says_so():
    """Void, release, and only then CANCELLED."""
    order = cancelling(authorized())
    order = after(order, payment.request_void(order))
    assert steps.undone(order) == []
    assert payment.voided(order) == [PaymentVoided(n=1)]
    order = after(order, payment.voided(order))
    assert order.payment is PaymentStatus.VOIDED
    assert steps.undone(order) == [StockReleased(), OrderCancelled(code=Code.CANCELLED_ON_REQUEST)]


def test_money_that_is_authorized_is_never_left_behind():
    """Without a void under way nothing ends."""
    assert steps.undone(cancelling(authorized())) == []


def test_only_an_order_that_is_being_undone_voids():
    """A late repeat of the step on an order that goes on would take its money away."""
    assert payment.request_void(under_way()) == []
    assert payment.request_void(completed("SHIPPED")) == []


def test_a_refused_void_is_asked_for_again_under_a_new_name():
    """The provider gives the same answer to the same key for ever."""
    order = cancelling(authorized())
    order = after(order, payment.request_void(order))
    refused = payment.void_refused(order, reason="void_refused")
    assert refused == [
        VoidRefused(n=1, reason="void_refused"),
        ExceptionRaised(step_key="undo", code=Code.VOID_FAILED, error="void_refused"),
    ]
    order = after(order, refused)
    assert steps.undone(order) == []
    again = payment.request_void(order)
    assert again == [VoidRequested(n=2, provider_key=f"{STREAM}:void:2", reference="auth_1")]
    order = after(order, again)
    assert payment.void_refused(order, reason="no") == [VoidRefused(n=2, reason="no")]
    order = after(order, payment.voided(order))
    assert ExceptionResolved(step_key="undo", code=Code.VOID_FAILED) in steps.undone(order)


@pytest.mark.parametrize(
    ("order", "end"),
    [
        (short_of_stock(), OrderFailed(code=Code.OUT_OF_STOCK)),
        (declined(), OrderFailed(code=Code.PAYMENT_DECLINED)),
        (cancelling(placed()), OrderCancelled(code=Code.CANCELLED_ON_REQUEST)),
        (completed("FAILED"), OrderFailed(code=Code.FULFILLMENT_FAILED)),
        (completed("CANCELLED"), OrderCancelled(code=Code.FULFILLMENT_CANCELLED)),
        (completed("CANCELLED", cancelling(under_way())), OrderCancelled(code=Code.CANCELLED_ON_REQUEST)),
        (completed("FAILED", cancelling(under_way())), OrderFailed(code=Code.FULFILLMENT_FAILED)),
    ],
)
def test_an_order_says_why_it_ended(order: Order, end: OrderEvent):
    """A cancel and a parcel that was cancelled by itself are told apart."""
    order = given_back(order)
    assert steps.undone(order)[-1] == end


STEPS: list[Callable[[Order], list[OrderEvent]]] = [
    lambda order: steps.hold_stock(order, short_of=None),
    payment.request_authorization,
    lambda order: payment.authorized(order, reference="auth_1", expires_at=EXPIRES_AT, now=NOW),
    lambda order: payment.declined(order, reason="card_declined", now=NOW),
    steps.confirm,
    steps.fulfillment_started,
    lambda order: steps.complete(order, completion("SHIPPED")),
    payment.request_capture,
    payment.captured,
    lambda order: payment.capture_refused(order, reason="no"),
    payment.request_void,
    payment.voided,
    lambda order: payment.void_refused(order, reason="no"),
    lambda order: steps.elapse(order, LATER),
    steps.undone,
]


@pytest.mark.parametrize("name", ENDED)
def test_an_order_that_ended_records_no_step(name: str):
    """Whatever a late worker repeats."""
    assert [step(EVERY_STATE[name]()) for step in STEPS] == [[]] * len(STEPS)


@pytest.mark.parametrize("name", EVERY_STATE)
def test_a_step_that_is_recorded_adds_nothing(name: str):
    """Every step may be repeated."""
    for step in STEPS:
        order = EVERY_STATE[name]()
        facts = step(order)
        assert step(after(order, facts)) == [] or not facts


# The wishes.


@pytest.mark.parametrize("state", [placed, in_stock, authorizing, authorized])
def test_before_the_boundary_the_order_cancels_alone(state: Callable[[], Order]):
    """No fulfillment is asked."""
    assert cancel(state()) == [CancelRequested(command_id="c-1")]
    assert wishes.status_of(cancelling(state(), "c-1"), "c-1") == "ACCEPTED"


def test_after_the_boundary_the_fulfillment_is_asked_to_cancel():
    """The receipt waits for its answer."""
    assert cancel(confirmed()) == [
        CancelRequested(command_id="c-1", answer_by=SOON),
        FulfillmentInstructed(command_id="c-1", instruction="cancelFulfillment"),
    ]
    assert wishes.status_of(cancelling(confirmed(), "c-1"), "c-1") == "RECEIVED"


def test_a_refused_cancel_lets_the_order_go_on():
    """The hand-over won: the overlay goes, the receipt says why."""
    order = cancelling(under_way(), "c-1")
    facts = steps.answered(order, answer("c-1", "REJECTED", Code.HAND_OVER_IN_PROGRESS))
    assert after(order, facts).status == "FULFILLMENT_IN_PROGRESS"
    assert moves(order, facts) == [Advance("c-1", "REJECTED", Code.HAND_OVER_IN_PROGRESS)]


def test_a_cancel_takes_effect_when_money_and_stock_are_settled():
    """Neither the fulfillment's acceptance nor the end of the parcel is the cancel's effect."""
    order = cancelling(under_way(), "c-1")
    facts = steps.answered(order, answer("c-1", "EFFECTIVE"))
    assert moves(order, facts) == [Advance("c-1", "ACCEPTED")]
    order = after(order, facts)
    assert moves(order, steps.complete(order, completion("CANCELLED"))) == []
    order = completed("CANCELLED", order)
    order = given_back(order)
    assert moves(order, steps.undone(order)) == [Advance("c-1", "EFFECTIVE")]


@pytest.mark.parametrize("state", [authorized, under_way])
def test_two_who_cancel_both_hear_how_it_ends(state: Callable[[], Order]):
    """A second cancel is not called effective before anything is settled."""
    order = cancelling(cancelling(state(), "c-1"), "c-2")
    assert wishes.status_of(order, "c-2") in ("ACCEPTED", "RECEIVED")
    if order.is_requested:
        order = completed("CANCELLED", order)
    order = given_back(order)
    assert moves(order, steps.undone(order)) == [Advance("c-1", "EFFECTIVE"), Advance("c-2", "EFFECTIVE")]


def test_one_refused_cancel_leaves_the_other_one_open():
    """The overlay stays as long as one cancel stands."""
    order = cancelling(cancelling(under_way(), "c-1"), "c-2")
    order = heard(order, answer("c-1", "REJECTED"))
    assert order.cancels == ("c-2",)
    assert order.status == "CANCEL_REQUESTED"


def test_a_cancel_of_a_cancelled_order_is_true_already():
    """Nothing is added, and the receipt is effective at once."""
    ended = EVERY_STATE["cancelled early"]()
    assert cancel(ended) == []
    assert wishes.status_of(ended, "c-1") == "EFFECTIVE"


@pytest.mark.parametrize(
    ("name", "cut_off"),
    [("shipped", "HandOverStarted"), ("capturing", "HandOverStarted"), ("paid", "HandOverStarted"),
     ("failed", None), ("declined", None), ("short of stock", None), ("parcel cancelled", None),
     ("parcel failed", None)],
)  # fmt: skip
def test_nothing_is_changed_after_the_end(name: str, cut_off: str | None):
    """Each wish is refused, and a hand-over is named as the cut-off."""
    wished: tuple[Callable[[Order], object], ...] = (
        cancel, pause, resume, lambda order: update(order, contact=True),
    )  # fmt: skip
    for wish in wished:
        with pytest.raises(Refused) as refused:
            wish(EVERY_STATE[name]())
        assert refused.value.code is Code.ALREADY_ENDED
        assert refused.value.cut_off == cut_off


def test_a_pause_before_the_parcel_is_kept_for_it():
    """The order itself goes on with the payment; the same handle again changes nothing."""
    assert pause(in_stock()) == [FulfillmentHoldPlaced(hold=hold())]
    held = after(in_stock(), pause(in_stock()))
    assert held.step is Step.AUTHORIZE
    assert pause(held) == []
    assert wishes.status_of(held, "p-1") == "EFFECTIVE"


def test_a_resume_before_the_parcel_lifts_pauses_only():
    """A hold for another reason stays."""
    order = after(in_stock(), pause(in_stock()))
    fraud = hold("h-2", HoldReason.FRAUD_RISK)
    order = after(order, wishes.pause(order, hold=fraud, command_id="p-2"))
    assert resume(order) == [FulfillmentHoldsReleased(handles=("h-1",))]
    assert after(order, resume(order)).held == (fraud,)
    assert resume(in_stock()) == []


@pytest.mark.parametrize("state", [confirmed, under_way])
def test_wishes_for_the_parcel_join_one_lane(state: Callable[[], Order]):
    """After the boundary they wait for the fulfillment's answer, in the order they came."""
    order = state()
    for facts in (pause(order), resume(order), update(order, country="USA"), cancel(order)):
        order = after(order, facts)
    assert order.lane == (
        FulfillmentInstructed(command_id="p-1", instruction="pauseFulfillment", hold=hold()),
        FulfillmentInstructed(command_id="r-1", instruction="resumeFulfillment"),
        FulfillmentInstructed(command_id="u-1", instruction="updateShippingAddress"),
        FulfillmentInstructed(command_id="c-1", instruction="cancelFulfillment"),
    )
    assert [wishes.status_of(order, wish.command_id) for wish in order.lane] == ["RECEIVED"] * 4


def test_an_answer_takes_the_wish_out_of_the_lane():
    """One answer moves one receipt; a repeated one moves nothing."""
    order = paused(under_way(), "p-1")
    facts = steps.answered(order, answer("p-1", "EFFECTIVE"))
    assert facts == [FulfillmentAnswered(command_id="p-1", status="EFFECTIVE")]
    assert moves(order, facts) == [Advance("p-1", "EFFECTIVE")]
    order = after(order, facts)
    assert order.lane == ()
    assert steps.answered(order, answer("p-1", "EFFECTIVE")) == []


def test_a_wish_accepted_first_and_effective_later_moves_twice():
    """A pause while a step is in flight takes effect when the step is done."""
    order = paused(under_way(), "p-1")
    order = heard(order, answer("p-1", "ACCEPTED"))
    assert order.lane == ()
    assert steps.answered(order, answer("p-1", "ACCEPTED")) == []
    facts = steps.answered(order, answer("p-1", "EFFECTIVE"))
    assert moves(order, facts) == [Advance("p-1", "EFFECTIVE")]
    assert steps.answered(after(order, facts), answer("p-1", "SUPERSEDED")) == []


def test_answers_to_unknown_wishes_are_ignored():
    """The fulfillment reports every wish it served, also those that operators sent it directly."""
    assert steps.answered(under_way(), answer("not-ours", "EFFECTIVE")) == []


def test_an_address_the_fulfillment_accepted_is_the_orders_too():
    """Whoever asked for it; an older version changes nothing."""
    assert steps.answered(under_way(), answer("not-ours", "ACCEPTED", address_version=2)) == [
        AddressChanged(version=2, country="USA")
    ]
    order = heard(under_way(), answer("not-ours", "ACCEPTED", address_version=3))
    assert steps.answered(order, answer("older", "EFFECTIVE", address_version=2)) == []


def test_wishes_that_a_parcel_never_heard_of_are_closed_by_its_end():
    """What waited is rejected as if it came now, what was accepted has its effect or is overtaken."""
    with_carrier = "the parcel is with the carrier; nothing can be changed"
    order = after(under_way(), update(under_way(), country="USA"))
    order = heard(order, answer("u-1", "ACCEPTED", address_version=2))
    order = heard(paused(order, "p-1"), answer("p-1", "ACCEPTED"))
    order = cancelling(paused(order, "p-2"), "c-1")
    assert moves(order, steps.complete(order, completion("SHIPPED"))) == [
        *(Advance(late, "REJECTED", Code.ALREADY_ENDED, with_carrier, HAND_OVER) for late in ("p-2", "c-1")),
        Advance("u-1", "EFFECTIVE"),
        Advance("p-1", "SUPERSEDED"),
    ]
    assert completed("SHIPPED", order).status == "SHIPPED"


@pytest.mark.parametrize(("outcome", "status"), [("SHIPPED", "EFFECTIVE"), ("CANCELLED", "REJECTED")])
def test_a_resume_that_comes_too_late_is_answered_as_the_parcel_answers_it(outcome: Outcome, status: str):
    """What has left is not held, so the wish is true already; what is taken apart goes nowhere."""
    order = after(under_way(), wishes.resume(under_way(), handle=None, command_id="r-1"))
    facts = steps.complete(order, completion(outcome))
    assert [each.status for each in moves(order, facts) if each.command_id == "r-1"] == [status]


def test_a_cancel_is_overtaken_by_a_failure():
    """Its receipt says what happened instead."""
    order = cancelling(authorizing(), "c-1")
    order = after(order, payment.declined(order, reason="card_declined", now=NOW))
    assert moves(order, steps.undone(order)) == [Advance("c-1", "SUPERSEDED", Code.PAYMENT_DECLINED)]
    order = completed("FAILED", cancelling(under_way(), "c-1"))
    order = given_back(order)
    assert moves(order, steps.undone(order)) == [Advance("c-1", "SUPERSEDED", Code.FULFILLMENT_FAILED)]


def test_parts_of_an_order_get_new_versions():
    """Before the boundary the order owns all of them."""
    assert update(placed(), contact=True, instructions=True, country="USA") == [
        ContactChanged(version=2), InstructionsChanged(version=1), AddressChanged(version=2, country="USA"),
    ]  # fmt: skip


def test_instructions_are_fixed_once_the_warehouse_has_them():
    """The refusal names the cut-off."""
    with pytest.raises(Refused) as refused:
        update(confirmed(), instructions=True)
    assert refused.value.cut_off == "FulfillmentRequested"


def test_an_order_that_is_being_cancelled_is_not_changed():
    """CANCEL_IN_PROGRESS, not a silent no-op."""
    with pytest.raises(Refused) as refused:
        update(cancelling(placed()), contact=True)
    assert refused.value.code is Code.CANCEL_IN_PROGRESS


def test_the_outcomes_are_those_of_the_contract():
    """Each of the three is reached."""
    ends = {paid().outcome, undone(cancelling(placed())).outcome, undone(short_of_stock()).outcome}
    assert ends == set(get_args(Outcome))


def test_an_order_begins_with_being_placed():
    """Any other first fact is a broken stream."""
    with pytest.raises(ValueError, match="begins with OrderPlaced"):
        evolve(None, StockHeld())
