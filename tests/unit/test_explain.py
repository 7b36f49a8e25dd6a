"""The explanations: what is waited for, since when, what comes next and who can change it, in words."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.chassis.explanation import (
    Evidence,
    Explanation,
    Inspection,
    Machine,
    PendingActivity,
    lasted,
    machinery,
)
from contracts.chassis.explanation.evidence import Parked, Told
from contracts.values import Code, Hold, HoldReason
from fulfillment_service import explain as parcels_explained
from fulfillment_service.activities import FulfillmentActivities
from fulfillment_service.events import ExceptionRaised, FulfillmentEvent, LabelRefused
from fulfillment_service.fulfillment import Fulfillment, evolved, wishes
from fulfillment_service.projection import document as parcel_document
from order_service import explain as orders_explained
from order_service.activities import OrderActivities
from order_service.events import (
    CancelRequested,
    OrderEvent,
    PaymentAuthorized,
    PaymentDeclined,
)
from order_service.order import Order
from order_service.projection import document as order_document
from tests.unit import orders, parcels
from tests.unit.orders import ORDER_ID

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
BEGAN = NOW - timedelta(minutes=4)
POLLED = NOW - timedelta(seconds=20)
WELL = Inspection(last_poll_at=POLLED)
PARCEL_ID = "ORD-1700000000000-ABCDEFGHI-1"


def evidence(
    *facts: OrderEvent | FulfillmentEvent, actor: str = "ada", note: str | None = None, **rest: Any
) -> Evidence:
    """These facts, each four minutes old."""
    told = [
        Told(version, type(fact).__name__, fact.model_dump(mode="json"), actor, note, BEGAN)
        for version, fact in enumerate(facts, start=1)
    ]
    return Evidence(now=NOW, facts=told, **rest)


def parcel(
    state: Fulfillment,
    known: Evidence | None = None,
    inspection: Inspection = WELL,
    notes: Mapping[str, str] | None = None,
) -> Explanation:
    row = {
        "fulfillment_id": state.fulfillment_id,
        "order_id": state.order_id,
        "status": state.status,
        "step": state.step,
        "document": json.loads(json.dumps(parcel_document(state))),
        "updated_at": BEGAN,
    }
    return parcels_explained.explain(row, known or evidence(), inspection, notes)


def order(
    state: Order,
    known: Evidence | None = None,
    inspection: Inspection = WELL,
    fulfillment: dict[str, Any] | None = None,
) -> Explanation:
    row = {
        "order_id": state.order_id,
        "status": state.status,
        "step": state.step,
        "document": json.loads(json.dumps(order_document(state))),
        "updated_at": BEGAN,
        "fulfillment": fulfillment,
        "fulfillment_at": BEGAN if fulfillment else None,
    }
    return orders_explained.explain(row, known or evidence(), inspection)


def calls(told: Explanation) -> list[str]:
    return [f"{each.call.method} {each.call.path}" for each in told.unblock if each.call]


def kinds(told: Explanation) -> list[str]:
    return [each.kind for each in told.waits_for]


def held(*holds: Hold) -> tuple[Fulfillment, list[FulfillmentEvent]]:
    """A parcel that waits, and the facts of its holds."""
    state, facts = parcels.born(), list[FulfillmentEvent]()
    for hold in holds:
        facts += wishes.place_hold(state, hold=hold, command_id=hold.handle)
        state = evolved(state, facts[-1:])
    return state, facts


def test_a_hold_is_explained_with_who_when_why_and_how_it_ends():
    """Its reason, its holder, what was said, since when, and the call that lifts it."""
    state, facts = held(Hold(handle="shelf-7", reason=HoldReason.QUALITY))
    told = parcel(state, evidence(*facts, note="a look is needed"))
    assert kinds(told) == ["HOLD"]
    assert told.waits_for[0].what == 'the hold shelf-7 (QUALITY) by ada: "a look is needed"'
    assert (told.since, told.waits_for[0].code) == (BEGAN, "QUALITY")
    assert calls(told) == [f"DELETE /fulfillments/{PARCEL_ID}/holds?handle=shelf-7"]
    assert told.next is not None
    assert (told.next.what, told.next.at) == ("pick:1 begins once nothing stands against it", None)
    assert told.summary == (
        f"Parcel {PARCEL_ID} is PAUSED before pick:1, since 2026-01-01 11:56:00 UTC (4 minutes). "
        'It waits for the hold shelf-7 (QUALITY) by ada: "a look is needed". '
        "Next: pick:1 begins once nothing stands against it. "
        f"Ada or an operator can lift shelf-7: DELETE /fulfillments/{PARCEL_ID}/holds?handle=shelf-7."
    )


def test_several_holds_are_all_named():
    """Each with its own way out; the one that ends by itself says what comes next, and when."""
    until = NOW + timedelta(hours=1)
    fraud = Hold(handle="f", reason=HoldReason.FRAUD_RISK, holder="bob", until=until)
    state, facts = held(fraud, parcels.PAUSE)
    told = parcel(state, evidence(*facts))
    assert [wait.what for wait in told.waits_for] == [
        "the hold f (FRAUD_RISK) by bob until 2026-01-01 13:00:00 UTC",
        "the hold p (OPERATOR_PAUSE) by ada",
    ]
    assert told.next is not None
    assert (told.next.what, told.next.at) == ("the hold f ends", until)
    assert "; and for the hold p" in told.summary
    assert len(calls(told)) == 2


def test_a_standing_hold_is_lifted_where_it_stands():
    """Not at the parcel, which only met it."""
    state = replace(parcels.born(), holds=(parcels.FROZEN,))
    told = parcel(state, notes={"recall": "the lids leak"})
    assert kinds(told) == ["STANDING_HOLD"]
    assert told.waits_for[0].what == (
        'the standing hold recall (QUALITY) by anna, which stops everything that matches it: "the lids leak"'
    )
    assert calls(told) == ["DELETE /standing-holds/recall"]


def test_a_step_that_waits_for_an_operator_says_which():
    """In manual mode, from its begin on; done or not to be done."""
    state = parcels.advanced(parcels.born(mode="manual"))
    told = parcel(state, evidence(*parcels.next_facts(parcels.born(mode="manual"))))
    assert [(wait.kind, wait.code, wait.since) for wait in told.waits_for] == [("OPERATOR", "pick:1", BEGAN)]
    path = f"/fulfillments/{PARCEL_ID}/steps/pick:1"
    assert calls(told) == [f"POST {path}/complete", f"POST {path}/fail"]
    assert "an operator to complete pick:1" in told.summary


def test_a_step_that_takes_its_time_says_when_it_is_done():
    """In automatic mode nobody is waited for."""
    told = parcel(
        parcels.advanced(parcels.born(pace_seconds=600)), evidence(*parcels.next_facts(parcels.born()))
    )
    assert kinds(told) == []
    assert told.next is not None
    assert (told.next.what, told.next.at) == ("pick:1 is done", BEGAN + timedelta(minutes=10))


def test_a_cancel_that_nobody_decided_says_who_may():
    """Accept or reject, and what happens when nobody does."""
    state = parcels.born()
    asked = wishes.request_cancel(state, command_id="c-1", answer_by=NOW + timedelta(hours=1))
    told = parcel(evolved(state, asked), evidence(*asked))
    assert kinds(told) == ["CANCEL_ANSWER"]
    path = f"/fulfillments/{PARCEL_ID}/cancellation-requests/c-1"
    assert calls(told) == [f"POST {path}/accept", f"POST {path}/reject"]
    assert told.next is not None
    assert told.next.at == NOW + timedelta(hours=1)
    assert "exception" in told.next.what


def test_an_exception_says_what_a_person_can_do():
    """Try again, change the address where the label was refused for it, or give up."""
    state = parcels.until("label")
    assert state.label is not None
    facts = [LabelRefused(n=1, code="no"), ExceptionRaised(step_key="label:1", code=Code.LABEL_REFUSED)]
    told = parcel(evolved(state, facts), evidence(*facts))
    assert [(wait.kind, wait.code) for wait in told.waits_for] == [("ATTENTION", "LABEL_REFUSED")]
    assert [call.split("/")[-1] for call in calls(told)] == ["resolve", "shipping-address", "cancel"]


def test_what_is_taken_apart_waits_for_nobody():
    """A cancelled parcel says what comes; its holds stop nothing any more."""
    state, _ = held(parcels.PAUSE)
    state = evolved(state, wishes.request_cancel(state, command_id="c-1"))
    told = parcel(state)
    assert kinds(told) == []
    assert told.next is not None
    assert "CANCELLED" in told.next.what


@pytest.mark.parametrize("stage", ["SHIPPED", "CANCELLED"])
def test_what_has_ended_waits_for_nothing(stage: str):
    """Whatever the machinery lacks."""
    state = parcels.until("SHIPPED")
    if stage == "CANCELLED":
        cancelled = parcels.born()
        cancelled = evolved(cancelled, wishes.request_cancel(cancelled, command_id="c"))
        state = parcels.advanced(cancelled)
    told = parcel(state, inspection=Inspection(answers=False))
    assert (kinds(told), told.next, told.unblock) == ([], None, ())
    assert f"has ended {stage} and waits for nothing" in told.summary


def test_an_order_says_by_which_hold_of_its_own_it_stands():
    """Before the parcel exists the order itself is held."""
    state = orders.held(orders.in_stock(), "q-1")
    hold = {"hold": {"handle": "q-1", "reason": "FRAUD_RISK"}}
    known = Evidence(now=NOW, facts=[Told(3, "HoldPlaced", hold, "ada", "odd address", BEGAN)])
    told = order(state, known)
    assert [wait.what for wait in told.waits_for] == ['the hold q-1 (FRAUD_RISK) by ada: "odd address"']
    assert calls(told) == [f"DELETE /orders/{ORDER_ID}/holds?handle=q-1"]
    assert told.next is not None
    assert told.next.what == "the payment is authorized"


def test_an_order_that_waits_for_its_parcel_says_where_that_is():
    """In Kafka's words, with its holds, how to have them lifted, and where to ask further."""
    parcel_told = {
        "status": "PAUSED",
        "currentStep": "pick:1",
        "holds": [
            {"handle": "p", "reason": "OPERATOR_PAUSE", "holder": "bob"},
            {"handle": "standing:recall", "reason": "QUALITY", "standing": True},
        ],
    }
    told = order(orders.under_way(), fulfillment=parcel_told)
    assert kinds(told) == ["FULFILLMENT"]
    assert f"its fulfillment {ORDER_ID}-1, which was PAUSED at pick:1" in told.summary
    assert "held by p (OPERATOR_PAUSE) by bob; standing:recall (QUALITY)" in told.summary
    assert calls(told) == [
        f"DELETE /orders/{ORDER_ID}/holds?handle=p",
        "DELETE /standing-holds/recall",
        f"GET /fulfillments/{ORDER_ID}-1/explain",
    ]


def test_a_parcel_nothing_was_heard_of_is_said_to_be_so():
    """Kafka may be behind, or the parcel may just have begun."""
    assert "of which nothing has been heard on Kafka yet" in order(orders.under_way()).summary


def test_an_order_that_waits_for_an_answer_to_its_cancel_says_until_when():
    """And who can give it."""
    told = order(
        orders.cancelling(orders.under_way()),
        evidence(CancelRequested(command_id="cancel-1", answer_by=orders.SOON)),
    )
    assert kinds(told) == ["CANCEL_ANSWER", "FULFILLMENT"]
    assert told.next is not None
    assert told.next.at == orders.SOON
    assert f"POST /fulfillments/{ORDER_ID}-1/cancellation-requests/cancel-1/accept" in calls(told)


def test_a_declined_renewal_says_when_it_is_asked_again():
    """The customer can do something about it; the parcel waits meanwhile."""
    known = evidence(
        PaymentAuthorized(n=1, reference="a", expires_at=orders.EXPIRES_AT, renew_at=orders.RENEW_AT),
        PaymentDeclined(n=2, reason="card_expired", retry_at=NOW + timedelta(hours=20)),
    )
    told = order(orders.under_way(), known)
    assert kinds(told) == ["PAYMENT", "FULFILLMENT"]
    assert "whose renewal was declined (card_expired)" in told.summary
    assert told.next is not None
    assert told.next.at == NOW + timedelta(hours=20)


def test_an_order_says_when_its_payment_is_renewed():
    """While it waits for its parcel that is what comes next by itself."""
    facts = orders.payment.authorized(
        orders.authorizing(), reference="a", expires_at=orders.EXPIRES_AT, now=orders.NOW
    )
    told = order(orders.under_way(), evidence(*facts))
    assert told.next is not None
    assert (told.next.what, told.next.at) == ("the payment is authorized anew", orders.RENEW_AT)


def test_a_refused_capture_is_for_a_person_and_tried_again():
    """Attention is not the end: the provider is asked every day."""
    state = orders.capturing()
    state = orders.after(state, orders.payment.capture_refused(state, reason="no_funds"))
    told = order(state, evidence(ExceptionRaised(step_key="capture", code=Code.CAPTURE_FAILED)))
    assert [(wait.kind, wait.code) for wait in told.waits_for] == [("ATTENTION", "CAPTURE_FAILED")]
    assert told.next is not None
    assert told.next.at == BEGAN + timedelta(days=1)


@pytest.mark.parametrize("name", orders.EVERY_STATE)
def test_every_order_can_be_explained(name: str):
    """An open one says what it waits for or what comes next; an ended one neither."""
    state = orders.EVERY_STATE[name]()
    told = order(state)
    assert told.summary.startswith(f"Order {ORDER_ID}")
    assert (told.next is None) == (state.outcome is not None)


def test_whom_an_activity_asks_is_said_of_activities_that_exist():
    """By the names Temporal knows them by."""
    services = (orders_explained.ASKS, OrderActivities), (parcels_explained.ASKS, FulfillmentActivities)
    for asks, activities in services:
        found = [getattr(each, "__temporal_activity_definition", None) for each in vars(activities).values()]
        assert asks.keys() <= {each.name for each in found if each}


ASKED = PendingActivity("authorize", attempt=4, failure="UNAVAILABLE", next_at=NOW + timedelta(seconds=6))
MACHINE = Machine("order-processing", is_needed=True, asks=orders_explained.ASKS)


def found(known: Evidence, inspection: Inspection) -> Sequence[str]:
    return [reason.kind for reason in machinery(known, inspection, MACHINE)]


def test_a_provider_that_does_not_answer_is_named():
    """With the attempt, the kind of the failure and the time of the next attempt."""
    told = order(orders.authorizing(), inspection=replace(WELL, pending=(ASKED,)))
    assert [(wait.kind, wait.code) for wait in told.waits_for] == [("PROVIDER", "UNAVAILABLE")]
    assert (
        "the payment provider: authorize is in attempt 4, the last one failed with UNAVAILABLE"
        in told.summary
    )
    assert told.next is not None
    assert (told.next.what, told.next.at) == ("authorize is tried again", ASKED.next_at)


def test_the_queue_that_nobody_takes_from_is_the_provider_s():
    """The workflow's own worker is well: the call waits for a place beside it."""
    waiting = PendingActivity("authorize", since=NOW - timedelta(seconds=8), queue="order-payments")
    told = order(orders.authorizing(), inspection=replace(WELL, pending=(waiting,)))
    assert [wait.kind for wait in told.waits_for] == ["WORKER"]
    assert "for 8 seconds none has taken authorize from the queue order-payments" in told.summary
    assert "start a worker of the queue order-payments, or see to the payment provider" in told.summary


def test_an_open_circuit_breaker_is_named_with_its_time():
    """The provider is not asked, until when, and how to look at the breaker."""
    kept = replace(ASKED, failure="CIRCUIT_OPEN")
    told = order(orders.authorizing(), inspection=replace(WELL, pending=(kept,)))
    assert [(wait.kind, wait.code, wait.until) for wait in told.waits_for] == [
        ("PROVIDER", "CIRCUIT_OPEN", ASKED.next_at)
    ]
    assert "its circuit breaker is open" in told.summary
    assert "`tandem breaker show payments`" in told.summary


@pytest.mark.parametrize(
    ("pending", "expected"),
    [
        (PendingActivity("confirm", attempt=2, next_at=NOW), ["RETRY"]),
        (
            PendingActivity("startFulfillmentWorkflow", attempt=3, failure="UNAVAILABLE", next_at=NOW),
            ["RETRY"],
        ),
        (PendingActivity("capture", since=BEGAN, is_running=True), ["PROVIDER"]),
        (PendingActivity("capture", since=NOW - timedelta(seconds=2), is_running=True), []),
        (PendingActivity("capture", since=NOW - timedelta(seconds=2)), []),
        (PendingActivity("capture", since=BEGAN), ["WORKER"]),
        (PendingActivity("capture", since=BEGAN, queue="order-payments"), ["WORKER"]),
        (PendingActivity("capture", since=NOW - timedelta(seconds=2), queue="order-payments"), []),
    ],
)
def test_a_call_that_takes_longer_than_it_should_is_a_reason(pending: PendingActivity, expected: list[str]):
    """A first attempt that has just begun is none; one that no worker takes is the worker's."""
    assert found(evidence(), replace(WELL, pending=(pending,))) == expected


@pytest.mark.parametrize(
    ("inspection", "expected"),
    [
        (WELL, []),
        (Inspection(), ["WORKER"]),
        (Inspection(last_poll_at=NOW - timedelta(seconds=65)), []),
        (Inspection(last_poll_at=NOW - timedelta(seconds=75)), ["WORKER"]),
        (replace(WELL, task_since=NOW - timedelta(seconds=8)), ["WORKER"]),
        (replace(WELL, task_since=NOW - timedelta(seconds=1)), []),
        (Inspection(answers=False), ["TEMPORAL"]),
        (replace(WELL, run="NONE"), ["WORKFLOW"]),
        (replace(WELL, run="TERMINATED", closed_at=BEGAN), ["WORKFLOW"]),
    ],
)
def test_what_the_machinery_lacks_is_found(inspection: Inspection, expected: list[str]):
    """Temporal, a workflow, or somebody who works."""
    assert found(evidence(), inspection) == expected


def test_what_does_not_leave_or_come_in_is_told_beside():
    """It stops nothing, but others see the order as it was; young rows are on their way."""
    young, old = NOW - timedelta(seconds=1), NOW - timedelta(seconds=30)
    assert found(evidence(unpublished=1, unpublished_at=young, knock_at=young), WELL) == []
    late = evidence(unpublished=3, unpublished_at=old, knock_at=old, unsendable_at=old)
    assert found(late, WELL) == ["RELAY", "OUTBOX", "EVENT_PARKED"]
    parked = Parked("fulfillments.events.v1", "ZeroDivisionError", old)
    told = order(orders.under_way(), evidence(unpublished=3, unpublished_at=old, parked=[parked]))
    assert [(wait.kind, wait.stops) for wait in told.waits_for] == [
        ("FULFILLMENT", True),
        ("OUTBOX", False),
        ("EVENT_PARKED", False),
    ]
    assert "Besides, 3 events of it could not be told on Kafka" in told.summary
    assert "an event of fulfillments.events.v1 was set aside (ZeroDivisionError)" in told.summary


def test_time_is_said_in_the_largest_unit_that_says_enough():
    """One and a half minutes are ninety seconds."""
    said = [lasted(timedelta(seconds=seconds)) for seconds in (-1, 0, 1, 90, 121, 7_300, 200_000)]
    assert said == ["0 seconds", "0 seconds", "1 second", "90 seconds", "2 minutes", "2 hours", "2 days"]
