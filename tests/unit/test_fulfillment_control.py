"""How people stay in control of a parcel: holds that end, standing holds, requests to cancel."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from contracts.chassis.errors import Refused
from contracts.values import Code, Hold, HoldReason
from fulfillment_service.events import (
    CancelAsked,
    CancelRejected,
    CancelRequested,
    ExceptionRaised,
    ExceptionResolved,
    FulfillmentEvent,
    HoldPlaced,
    HoldReleased,
    LabelVoided,
    StepCompleted,
    StepStarted,
)
from fulfillment_service.fulfillment import Fulfillment, Step, evolved, steps, wishes
from fulfillment_service.fulfillment.horizon import Action, Cost, actions, allowed_actions
from tests.unit.parcels import FRAUD, FROZEN, LATER, NOW, PAUSE, advanced, born, next_facts, until

UNTIL_LATER = Hold(handle="u", reason=HoldReason.INVENTORY, holder="ben", until=LATER)


def held(f: Fulfillment, *holds: Hold) -> Fulfillment:
    for hold in holds:
        f = evolved(f, wishes.place_hold(f, hold=hold, command_id=f"cmd-{hold.handle}"))
    return f


def frozen(f: Fulfillment, *standing: Hold) -> Fulfillment:
    """The parcel after it met these standing holds."""
    return evolved(f, steps.meet(f, standing or (FROZEN,)))


def asked(f: Fulfillment, command_id: str = "c") -> Fulfillment:
    return evolved(f, wishes.request_cancel(f, command_id=command_id, answer_by=LATER))


def statuses(f: Fulfillment, facts: Sequence[FulfillmentEvent]) -> dict[str, str]:
    return {each.command_id: each.status for each in wishes.advances(f, facts)}


# Holds that end by themselves.


def test_a_hold_ends_when_its_time_has_come():
    """Not a moment earlier; what else stands stays, and the alarm is the earliest end."""
    f = held(born(), PAUSE, UNTIL_LATER, Hold(handle="v", until=LATER + timedelta(hours=1)))
    assert f.alarm == LATER
    assert steps.elapse(f, LATER - timedelta(seconds=1)) == []
    assert steps.elapse(f, LATER) == [HoldReleased(handle="u")]
    f = evolved(f, steps.elapse(f, LATER))
    assert ([hold.handle for hold in f.holds], f.alarm) == (["p", "v"], LATER + timedelta(hours=1))


def test_the_last_hold_that_ends_returns_to_the_exact_step():
    """Two holds, one lifted and one ended: the very step it stopped before begins."""
    f = held(until("PACKING"), PAUSE, UNTIL_LATER)
    f = advanced(f)
    assert (f.step_key, f.is_stopped) == ("label:1", True)
    f = evolved(f, wishes.release(f, handle="p", command_id="r"))
    assert f.is_stopped
    f = evolved(f, steps.elapse(f, LATER))
    assert (f.step_key, f.is_stopped, f.alarm) == ("label:1", False, None)


def test_a_hold_that_ended_before_it_took_effect_is_superseded():
    """The step in flight is longer than the hold."""
    f = held(until("PACKING"), UNTIL_LATER)
    assert statuses(f, steps.elapse(f, LATER)) == {"cmd-u": "SUPERSEDED"}


def test_nothing_rings_for_a_parcel_that_is_taken_apart():
    """Its holds stop nothing any more."""
    f = held(born(), UNTIL_LATER)
    f = evolved(f, wishes.request_cancel(f, command_id="c"))
    assert (f.alarm, steps.elapse(f, LATER)) == (None, [])


def test_a_hold_keeps_who_placed_it_and_until_when():
    f = held(born(), UNTIL_LATER)
    assert f.holds == (UNTIL_LATER,)


def test_another_hold_of_the_same_handle_is_refused():
    """The same one changes nothing; another reason or end would be lost silently."""
    f = held(born(), UNTIL_LATER)
    assert wishes.place_hold(f, hold=UNTIL_LATER, command_id="again") == []
    for other in (UNTIL_LATER.model_copy(update={"until": None}), FROZEN):
        with pytest.raises(Refused) as said:
            wishes.place_hold(f, hold=other, command_id="c")
        assert said.value.code is Code.HANDLE_TAKEN


# Standing holds.


@pytest.mark.parametrize("stage", ["WAITING", "PICKING", "quality", "PACKING", "label", "READY_TO_SHIP"])
def test_no_step_begins_against_a_standing_hold(stage: str):
    """The step in flight ends; the next begin finds the hold, records it once, and the parcel is paused."""
    f = until(stage)
    while f.is_moving:
        f = evolved(f, next_facts(f, standing=(FROZEN,)))
    f = evolved(f, steps.begin(f, (FROZEN,)))
    assert (f.status, f.holds, f.is_stopped) == ("PAUSED", (FROZEN,), True)
    assert steps.begin(f, (FROZEN,)) == [] == steps.work(f, standing=(FROZEN,))
    lifted = steps.begin(f, ())
    assert lifted[0] == HoldReleased(handle=FROZEN.handle)
    assert len(lifted) == 2


def test_work_that_takes_no_time_stops_where_it_meets_a_standing_hold():
    """Nothing at all begins."""
    f = born(pace_seconds=0)
    facts = steps.work(f, standing=(FROZEN,))
    assert [type(fact) for fact in facts] == [HoldPlaced]


def test_a_finished_step_is_recorded_before_the_standing_hold_is_met():
    f = until("PICKING")
    facts = steps.work(f, finished=f.open_step, standing=(FROZEN,))
    assert [type(fact) for fact in facts] == [StepCompleted, HoldPlaced]


@pytest.mark.parametrize("name", ["resume", "release"])
def test_a_standing_hold_is_not_lifted_for_one_parcel(name: str):
    """Own holds are lifted beside it; the standing one is lifted for all at once, elsewhere."""
    lift = getattr(wishes, name)
    f = frozen(held(born(), PAUSE))
    f = evolved(f, lift(f, handle=None, command_id="r"))
    assert f.holds == (FROZEN,)
    for handle in (None, FROZEN.handle):
        with pytest.raises(Refused) as said:
            lift(f, handle=handle, command_id="r")
        assert said.value.code is Code.STANDING_HOLD


def test_a_resume_has_taken_effect_when_the_parcel_meets_a_standing_hold():
    """Something else stops the parcel now."""
    f = held(born(), PAUSE)
    f = evolved(f, wishes.resume(f, handle=None, command_id="r"))
    assert statuses(f, steps.begin(f, (FROZEN,))) == {"r": "EFFECTIVE"}


def test_a_standing_hold_that_ended_by_its_time_is_not_met_again():
    """Not even when the database's clock is behind and still finds it."""
    for_an_hour = FROZEN.model_copy(update={"until": LATER})
    f = frozen(born(), for_an_hour)
    assert f.alarm == LATER
    f = evolved(f, steps.elapse(f, LATER))
    assert [type(fact) for fact in steps.begin(f, (for_an_hour,))] == [StepStarted]


def test_an_operator_cannot_complete_what_a_standing_hold_forbids_to_begin():
    """Also when the parcel has not met it yet; a step in flight is completed all the same."""
    f = born(mode="manual")
    with pytest.raises(Refused) as said:
        wishes.complete_step(f, step_key="pick:1", standing=(FROZEN,))
    assert said.value.code is Code.ON_HOLD
    assert FROZEN.handle in said.value.detail
    assert f"GET /fulfillments/{f.fulfillment_id}/explain" in said.value.detail
    f = advanced(f)
    facts = wishes.complete_step(f, step_key="pick:1", standing=(FROZEN,))
    assert facts == [StepCompleted(step_key="pick:1")]


def test_the_hand_over_is_not_stopped_by_a_standing_hold_that_came_later():
    """From the cut-off on nothing stops the parcel."""
    f = until("HandOverStarted")
    assert steps.meet(f, (FROZEN,)) == []


# Requests to cancel.


@pytest.mark.parametrize("stage", ["WAITING", "PICKING", "quality", "PACKING", "label", "READY_TO_SHIP"])
def test_while_a_cancel_is_undecided_nothing_begins(stage: str):
    """The step in flight ends; status says that somebody asked; the receipt stays RECEIVED."""
    f = asked(until(stage))
    assert (f.status, wishes.status_of(f, "c")) == ("CANCEL_REQUESTED", "RECEIVED")
    while f.is_moving:
        f = advanced(f)
    assert (f.is_stopped, steps.begin(f), f.obstacle) == (True, [], Code.CANCEL_IN_PROGRESS)


def test_an_accepted_request_is_a_cancel():
    """Everybody who asked is granted it; accepted again it changes nothing."""
    f = asked(asked(until("PICKING")), "d")
    facts = wishes.accept_cancellation(f, request="d")
    assert facts == [CancelRequested(command_id="c"), CancelRequested(command_id="d")]
    assert statuses(f, facts) == {"c": "ACCEPTED", "d": "ACCEPTED"}
    f = evolved(f, facts)
    assert (f.step, f.asked, f.status) == (Step.SETTLE, (), "CANCEL_REQUESTED")
    assert wishes.accept_cancellation(f, request="c") == []
    assert statuses(f, steps.settle(f)) == {"c": "EFFECTIVE", "d": "EFFECTIVE"}


def test_a_rejected_request_lets_the_parcel_go_on_with_the_very_step():
    """Its receipt is rejected for good; another request that waits still stops the parcel."""
    f = asked(advanced(until("PACKING")))
    key, facts = f.step_key, wishes.reject_cancellation(f, request="c")
    assert facts == [CancelRejected(command_id="c")]
    assert wishes.advances(f, facts)[0].code is Code.CANCEL_REJECTED
    after = evolved(f, facts)
    assert (after.step_key, after.is_stopped, after.status) == (key, False, "READY_TO_SHIP")
    f = asked(f, "d")
    assert evolved(f, wishes.reject_cancellation(f, request="c")).is_stopped


@pytest.mark.parametrize("answer", [wishes.accept_cancellation, wishes.reject_cancellation])
def test_an_answer_to_a_request_that_does_not_wait_is_refused(answer: object):
    assert callable(answer)
    with pytest.raises(Refused) as said:
        answer(asked(born()), request="another")
    assert said.value.code is Code.NO_SUCH_REQUEST
    assert "cancellationRequests" in said.value.detail


def test_an_operators_own_cancel_accepts_what_was_asked():
    """Her word decides at once; whoever asked later is granted it at once too."""
    f = asked(born())
    facts = wishes.request_cancel(f, command_id="o")
    assert facts == [CancelRequested(command_id="c"), CancelRequested(command_id="o")]
    f = evolved(f, facts)
    later = wishes.request_cancel(f, command_id="d", answer_by=LATER)
    assert later == [CancelRequested(command_id="d")]


def test_a_request_that_nobody_answers_is_an_exception_and_can_still_be_answered():
    """Listed for a person once its deadline has passed; an answer ends the exception."""
    f = asked(born())
    assert (f.alarm, steps.elapse(f, NOW)) == (LATER, [])
    facts = steps.elapse(f, LATER)
    assert facts == [ExceptionRaised(step_key="pick:1", code=Code.CANCEL_UNANSWERED)]
    f = evolved(f, facts)
    assert (f.alarm, steps.elapse(f, LATER)) == (None, [])
    with pytest.raises(Refused) as said:
        wishes.resolve_exception(f)
    assert said.value.code is Code.CANCEL_UNANSWERED
    rejected = evolved(f, wishes.reject_cancellation(f, request="c"))
    accepted = evolved(f, wishes.accept_cancellation(f, request="c"))
    assert (rejected.trouble, rejected.is_stopped) == (None, False)
    assert (accepted.trouble, accepted.step) == (None, Step.SETTLE)


def test_an_address_may_change_while_a_cancel_is_undecided():
    """It does not answer the request."""
    f = asked(born())
    f = evolved(f, steps.elapse(f, LATER))
    facts = wishes.change_address(f, command_id="a")
    assert not any(isinstance(fact, ExceptionResolved) for fact in facts)


def test_a_parcel_that_fails_by_itself_answers_the_request_with_its_end():
    f = asked(until("PACKING"))
    f = evolved(f, wishes.fail_step(f, step_key="pack"))
    with pytest.raises(Refused):
        wishes.accept_cancellation(f, request="c")
    assert statuses(f, steps.settle(f)) == {"c": "SUPERSEDED"}


def test_a_request_after_the_hand_over_began_is_refused_at_once():
    """There is nothing a person could decide any more."""
    with pytest.raises(Refused) as said:
        asked(until("HandOverStarted"))
    assert said.value.code is Code.HAND_OVER_IN_PROGRESS


def test_asking_is_a_fact_with_a_deadline():
    facts = wishes.request_cancel(born(), command_id="c", answer_by=LATER)
    assert facts == [CancelAsked(command_id="c", answer_by=LATER)]


# What it costs.


def test_a_voided_label_says_what_it_had_cost():
    """A new address after the label: its price is wasted, the next label's is not."""
    f = until("READY_TO_SHIP")
    f = evolved(f, wishes.change_address(f, command_id="a"))
    assert f.setback is not None
    assert (f.setback.reason, f.setback.command_id) == ("address", "a")
    facts = next_facts(f)
    assert facts == [LabelVoided(n=1, cost_minor=1, currency="USD")]
    f = advanced(advanced(evolved(f, facts)))
    assert (f.costs.booked_minor, f.costs.wasted_minor, f.costs.currency) == (2, 1, "USD")


def test_percent_never_falls_and_the_setback_says_why_steps_did():
    f = until("READY_TO_SHIP")
    after = evolved(f, wishes.change_address(f, command_id="a"))
    assert (after.steps_done, after.percent) == (f.steps_done - 1, f.percent)
    cancelled = evolved(f, wishes.request_cancel(f, command_id="c"))
    cancelled = advanced(cancelled)
    assert cancelled.setback is not None
    assert cancelled.setback.reason == "cancel"


# The horizon.


def action(f: Fulfillment, name: str) -> Action:
    return next(each for each in actions(f) if each.name == name)


def test_the_horizon_says_until_when_and_what_it_costs():
    """A cancel with a label booked voids it and puts back what was picked, until the hand-over begins."""
    f = until("READY_TO_SHIP")
    cancel = action(f, "cancel")
    assert (cancel.until_step, cancel.cut_off) == ("hand-over", "HandOverStarted")
    assert cancel.cost == Cost(void_minor=1, currency="USD", restock_items=3, payment="void")
    assert action(f, "updateAddress").cost == Cost(void_minor=1, currency="USD", relabel=True)
    assert action(born(), "updateAddress").cost is None


def test_the_horizon_says_why_not():
    """The same code, detail and cut-off that the refusal has; nothing to do has no code."""
    f = until("HandOverStarted")
    pause = action(f, "pause")
    assert (pause.allowed, pause.code, pause.cut_off) == (
        False,
        Code.HAND_OVER_IN_PROGRESS,
        "HandOverStarted",
    )
    resume = action(born(), "resume")
    assert (resume.allowed, resume.code) == (False, None)
    assert allowed_actions(until("SHIPPED")) == []


def test_the_horizon_names_the_request_and_its_deadline():
    accept = action(asked(held(born(), FRAUD)), "acceptCancellation")
    assert (accept.allowed, accept.subject, accept.until) == (True, "c", LATER)


def test_a_parcel_stays_in_its_country():
    """Holds of a country go by where the parcel was accepted for; its own country is no change."""
    f = born()
    with pytest.raises(Refused) as refused:
        wishes.change_address(f, command_id="a", country="Elsewhere")
    assert (refused.value.code, refused.value.cut_off) == (Code.COUNTRY_CANNOT_CHANGE, "FulfillmentAccepted")
    assert wishes.change_address(f, command_id="a", country=f.country)
