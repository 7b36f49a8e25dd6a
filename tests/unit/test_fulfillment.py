"""The fulfillment's aggregate: the wish table, what comes next, and what can never happen."""

from collections.abc import Sequence

import pytest

from contracts import fulfillment as contract
from contracts.chassis.errors import Refused
from contracts.fulfillment import Stage
from contracts.values import Code, Hold
from fulfillment_service.events import (
    FACTS,
    CancelRequested,
    FulfillmentCancelled,
    FulfillmentEvent,
    FulfillmentFailed,
    HandOverStarted,
    HoldReleased,
    LabelRequested,
    LabelVoided,
    Restocked,
    StepStarted,
)
from fulfillment_service.fulfillment import Fulfillment, Step, evolved, steps, wishes
from tests.unit.parcels import FRAUD, LINES, PAUSE, advanced, born, next_facts, until, wish

BEFORE_CUT_OFF = ["WAITING", "PICKING", "quality", "PACKING", "label", "READY_TO_SHIP"]
FROM_CUT_OFF = ["HandOverStarted", "SHIPPED"]


def paused(f: Fulfillment, hold: Hold = PAUSE) -> Fulfillment:
    return evolved(f, wishes.place_hold(f, hold=hold, command_id=f"cmd-{hold.handle}"))


def finished(f: Fulfillment) -> Fulfillment:
    while f.step is not Step.END:
        assert next_facts(f), f"stuck at {f.step}"
        f = advanced(f)
    return f


def test_the_facts_are_those_of_the_contract():
    """Every fact of the contract exists here, and no other."""
    assert tuple(fact.__name__ for fact in FACTS) == contract.FACTS


def test_a_parcel_goes_its_way_step_by_step():
    """Picks, quality check, packing, label, hand-over; the stage follows the steps."""
    f, seen = born(), [("WAITING", "pick:1")]
    while f.step is not Step.END:
        f = advanced(f)
        if seen[-1] != (f.status, f.step_key):
            seen.append((f.status, str(f.step_key)))
    assert seen == [
        ("WAITING", "pick:1"),
        ("PICKING", "pick:1"),
        ("PICKING", "pick:2"),
        ("PICKING", "quality"),
        ("PACKING", "pack"),
        ("READY_TO_SHIP", "label:1"),
        ("READY_TO_SHIP", "hand-over"),
        ("SHIPPED", "None"),
    ]
    assert (f.percent, f.items_picked, f.steps_done) == (100, 3, f.steps_total)


def test_work_that_takes_no_time_is_done_at_once():
    """At pace 0 one decision records every warehouse step, so one transaction does."""
    f = born(pace_seconds=0)
    facts = steps.work(f)
    assert len(facts) == 2 * len(f.warehouse_steps)
    assert evolved(f, facts).step is Step.BOOK_LABEL


# The wish table: pause and hold.


@pytest.mark.parametrize("stage", BEFORE_CUT_OFF)
def test_a_pause_lets_no_further_step_begin(stage: str):
    """The step in flight ends; nothing begins until the last hold is gone, and then the exact step."""
    f = paused(until(stage))
    assert f.status == "PAUSED"
    while f.is_moving:
        f = advanced(f)
    assert f.status == "PAUSED"
    assert f.is_stopped
    assert steps.begin(f) == [] == steps.work(f)
    key = f.step_key
    f = evolved(f, wishes.resume(f, handle=None, command_id="r"))
    assert (f.step_key, f.is_stopped) == (key, False)
    assert finished(f).outcome == "SHIPPED"


@pytest.mark.parametrize("stage", FROM_CUT_OFF)
def test_a_pause_from_the_hand_over_on_is_refused(stage: str):
    """Nothing stops a parcel that the carrier is taking."""
    code = Code.HAND_OVER_IN_PROGRESS if stage == "HandOverStarted" else Code.ALREADY_ENDED
    with pytest.raises(Refused) as said:
        wishes.place_hold(until(stage), hold=PAUSE, command_id="c")
    assert (said.value.code, said.value.cut_off) == (code, "HandOverStarted")


def test_one_more_pause_is_one_more_hold():
    """A second command adds its own hold, the same handle adds none, and resuming lifts all pauses."""
    f = paused(born())
    assert wishes.place_hold(f, hold=PAUSE, command_id="again") == []
    f = paused(f, Hold(handle="p2"))
    assert len(f.holds) == 2
    assert wishes.resume(f, handle=None, command_id="r") == [
        HoldReleased(handle="p", command_id="r"),
        HoldReleased(handle="p2", command_id="r"),
    ]


def test_a_resume_lifts_pauses_and_no_other_hold():
    """Suspected fraud stays after a resume; its own handle lifts it."""
    f = paused(paused(born()), FRAUD)
    f = evolved(f, wishes.resume(f, handle=None, command_id="r"))
    assert f.holds == (FRAUD,)
    assert evolved(f, wishes.release(f, handle="f", command_id="r2")).holds == ()


def test_a_parcel_can_be_born_held():
    """Holds that came with the request stand from the start, so nothing begins."""
    f = born(PAUSE, FRAUD)
    assert (f.status, f.stage, f.holds) == ("PAUSED", Stage.WAITING, (PAUSE, FRAUD))
    assert steps.work(f) == []


# Resume and release.


@pytest.mark.parametrize("stage", BEFORE_CUT_OFF + FROM_CUT_OFF)
def test_resuming_what_is_not_held_changes_nothing(stage: str):
    """The wish is already true, at any stage."""
    assert wishes.resume(until(stage), handle=None, command_id="r") == []
    assert wishes.release(until(stage), handle="p", command_id="r") == []


@pytest.mark.parametrize("held", [False, True])
def test_resuming_what_is_taken_apart_is_refused(held: bool):
    """Held or not: the order knows nothing of holds and answers the same once it has heard of the end."""
    f = paused(born()) if held else born()
    f = evolved(f, wishes.request_cancel(f, command_id="c"))
    for cancelled in (f, evolved(f, steps.settle(f))):
        with pytest.raises(Refused):
            wishes.resume(cancelled, handle=None, command_id="r")
        with pytest.raises(Refused):
            wishes.release(cancelled, handle="p", command_id="r")


def test_releasing_another_handle_than_stands_is_refused():
    """A mistyped handle is said, and lifts nothing."""
    with pytest.raises(Refused) as said:
        wishes.release(paused(born()), handle="typo", command_id="r")
    assert said.value.code is Code.HOLD_NOT_FOUND


# Cancel.


@pytest.mark.parametrize("stage", BEFORE_CUT_OFF)
@pytest.mark.parametrize("held", [False, True])
def test_a_cancel_undoes_what_was_done(stage: str, held: bool):
    """The label is voided, what was picked goes back, and only then it is cancelled; no resume is needed."""
    f = until(stage)
    f = paused(f) if held else f
    facts: list[FulfillmentEvent] = wishes.request_cancel(f, command_id="c")
    labelled, f = f.label is not None, evolved(f, facts)
    assert f.status == "CANCEL_REQUESTED"
    while f.step is not Step.END:
        new = next_facts(f)
        facts, f = [*facts, *new], evolved(f, new)
    assert f.outcome == "CANCELLED"
    assert isinstance(facts[-1], FulfillmentCancelled)
    assert any(isinstance(fact, LabelVoided) for fact in facts) == labelled
    assert [fact.lines for fact in facts if isinstance(fact, Restocked)] == ([f.picked] if f.picked else [])
    assert not any(isinstance(fact, StepStarted | LabelRequested | HandOverStarted) for fact in facts)


@pytest.mark.parametrize("stage", FROM_CUT_OFF)
def test_a_cancel_from_the_hand_over_on_is_refused(stage: str):
    """Cancelled and handed over cannot both be."""
    with pytest.raises(Refused) as said:
        wishes.request_cancel(until(stage), command_id="c")
    assert said.value.cut_off == "HandOverStarted"


def test_everybody_who_asked_for_a_cancel_has_an_answer():
    """A second cancel waits for the same end; after the end a third one is already true."""
    f = evolved(until("PACKING"), [CancelRequested(command_id="a")])
    f = evolved(f, wishes.request_cancel(f, command_id="b"))
    facts = steps.settle(f)
    assert [(each.command_id, each.status) for each in wishes.advances(f, facts)] == [
        ("a", "EFFECTIVE"),
        ("b", "EFFECTIVE"),
    ]
    assert wishes.request_cancel(evolved(f, facts), command_id="d") == []


@pytest.mark.parametrize("name", ["pause", "updateAddress", "completeStep", "failStep"])
def test_while_a_parcel_is_taken_apart_nothing_else_is_granted(name: str):
    """A cancel cannot be talked over."""
    f = evolved(until("PACKING"), [CancelRequested(command_id="a")])
    with pytest.raises(Refused) as said:
        wish(f, name, "c")
    assert said.value.code is Code.CANCEL_IN_PROGRESS
    with pytest.raises(Refused) as ended:
        wish(evolved(f, steps.settle(f)), name, "c")
    assert ended.value.code is Code.ALREADY_ENDED


# Address.


@pytest.mark.parametrize("stage", BEFORE_CUT_OFF)
@pytest.mark.parametrize("held", [False, True])
def test_a_new_address_is_on_the_label_that_is_handed_over(stage: str, held: bool):
    """Until the hand-over begins an address can change; a label with the old one is voided and made anew."""
    f = until(stage)
    f = paused(f) if held else f
    f = evolved(f, wishes.change_address(f, command_id="a"))
    while f.is_moving or f.step is Step.VOID_LABEL:
        f = advanced(f)
    f = evolved(f, wishes.resume(f, handle=None, command_id="r"))
    while f.hand_over is None:
        f = advanced(f)
    assert f.label is not None
    assert (f.address_version, f.label.address_version) == (2, 2)
    assert f.labels == (2 if stage in ("label", "READY_TO_SHIP") else 1)


@pytest.mark.parametrize("stage", FROM_CUT_OFF)
def test_an_address_from_the_hand_over_on_is_refused(stage: str):
    """The carrier takes the parcel under the label it has."""
    with pytest.raises(Refused) as said:
        wishes.change_address(until(stage), command_id="a")
    assert (said.value.code, said.value.cut_off) == (Code.ADDRESS_CUTOFF_PASSED, "HandOverStarted")


# Receipts.


def statuses(f: Fulfillment, facts: Sequence[FulfillmentEvent]) -> dict[str, str]:
    return {each.command_id: each.status for each in wishes.advances(f, facts)}


def test_a_pause_takes_effect_when_the_step_in_flight_has_ended():
    """At rest at once; otherwise with the end of the step; lifted before that it never did."""
    assert wishes.status_of(paused(born()), "cmd-p") == "EFFECTIVE"
    f = paused(until("PACKING"))
    assert wishes.status_of(f, "cmd-p") == "ACCEPTED"
    assert statuses(f, next_facts(f)) == {"cmd-p": "EFFECTIVE"}
    resumed = wishes.resume(f, handle=None, command_id="r")
    assert statuses(f, resumed) == {"cmd-p": "SUPERSEDED"}


def test_a_resume_takes_effect_when_a_step_has_begun_again():
    """Or at once, where a step is still in flight or another hold remains."""
    f = paused(born())
    f = evolved(f, wishes.resume(f, handle=None, command_id="r"))
    assert wishes.status_of(f, "r") == "ACCEPTED"
    assert statuses(f, steps.begin(f)) == {"r": "EFFECTIVE"}
    held = paused(paused(born()), FRAUD)
    held = evolved(held, wishes.resume(held, handle=None, command_id="r"))
    assert wishes.status_of(held, "r") == "EFFECTIVE"
    moving = paused(until("PICKING"))
    moving = evolved(moving, wishes.resume(moving, handle=None, command_id="r"))
    assert wishes.status_of(moving, "r") == "EFFECTIVE"


def test_a_resume_that_a_cancel_overtakes_is_superseded():
    f = paused(born())
    f = evolved(f, wishes.resume(f, handle=None, command_id="r"))
    assert statuses(f, wishes.request_cancel(f, command_id="c")) == {"r": "SUPERSEDED"}


def test_an_address_takes_effect_when_no_label_says_otherwise():
    """Without a label at once; otherwise when the old one is void; a newer address supersedes it."""
    f = born()
    assert wishes.status_of(evolved(f, wishes.change_address(f, command_id="a")), "a") == "EFFECTIVE"
    f = until("READY_TO_SHIP")
    f = evolved(f, wishes.change_address(f, command_id="a"))
    assert wishes.status_of(f, "a") == "ACCEPTED"
    assert statuses(f, wishes.change_address(f, command_id="b")) == {"a": "SUPERSEDED"}
    assert statuses(f, next_facts(f)) == {"a": "EFFECTIVE"}


def test_a_cancel_takes_effect_with_the_end():
    f = until("READY_TO_SHIP")
    f = evolved(f, wishes.request_cancel(f, command_id="c"))
    assert wishes.status_of(f, "c") == "ACCEPTED"
    assert statuses(f, next_facts(f)) == {}
    f = advanced(f)
    assert statuses(f, next_facts(f)) == {"c": "EFFECTIVE"}


# Trouble.


def test_a_refused_label_waits_for_a_person_and_has_three_ways_out():
    """A new address, a retry, a cancel; each next label has a number of its own."""
    f = until("label")
    f = evolved(f, next_facts(f, fine=False))
    assert (f.status, f.is_stopped, f.obstacle) == ("EXCEPTION", True, Code.LABEL_REFUSED)
    moved = evolved(f, wishes.change_address(f, command_id="a"))
    retried = evolved(f, wishes.resolve_exception(f))
    cancelled = evolved(f, wishes.request_cancel(f, command_id="c"))
    assert (moved.status, moved.step_key) == ("READY_TO_SHIP", "label:2")
    assert (retried.status, retried.step_key) == ("READY_TO_SHIP", "label:2")
    assert [finished(each).outcome for each in (moved, retried, cancelled)] == [
        "SHIPPED",
        "SHIPPED",
        "CANCELLED",
    ]


def test_a_label_refused_for_an_old_address_troubles_nobody():
    """A newer address came meanwhile, so the next label is simply asked for."""
    f = until("label")
    f = evolved(f, wishes.change_address(f, command_id="a"))
    f = evolved(f, next_facts(f, fine=False))
    assert (f.trouble, f.step_key) == (None, "label:2")


def test_a_refused_hand_over_opens_the_door_again():
    """Wishes are heard again; the third refusal in a row is for a person, and a retry counts anew."""
    f = until("HandOverStarted")
    keys = {f.hand_over}
    for count in (1, 2):
        f = evolved(f, next_facts(f, fine=False))
        assert (f.status, f.refusals) == ("READY_TO_SHIP", count)
        assert evolved(f, wishes.request_cancel(f, command_id="c")).is_cancelled
        f = advanced(f)
        keys.add(f.hand_over)
    f = evolved(f, next_facts(f, fine=False))
    assert (f.status, f.obstacle) == ("EXCEPTION", Code.HAND_OVER_REFUSED)
    f = evolved(f, wishes.resolve_exception(f))
    assert (f.refusals, finished(f).outcome) == (0, "SHIPPED")
    assert len(keys) == 3


def test_a_failed_step_fails_the_fulfillment_after_its_compensation():
    """What was picked goes back first; who asks for a cancel then hears that it is over."""
    f = until("PACKING")
    facts = wishes.fail_step(f, step_key="pack")
    f = evolved(f, facts)
    assert f.status == "EXCEPTION"
    with pytest.raises(Refused) as said:
        wishes.request_cancel(f, command_id="c")
    assert said.value.code is Code.ALREADY_ENDED
    assert steps.settle(f) == [Restocked(lines=LINES), FulfillmentFailed(code=Code.STEP_FAILED)]


# Manual mode.


def test_in_manual_mode_each_step_waits_for_an_operator():
    """The workflow begins a step, the operator completes it; the hand-over begins by a word alone."""
    f, worked = born(mode="manual"), list[str]()
    while f.step is Step.WORK:
        f = advanced(f)
        assert (f.waits_for_operator, steps.work(f, finished=None)) == (True, [])
        worked.append(str(f.step_key))
        f = evolved(f, wishes.complete_step(f, step_key=worked[-1]))
    assert worked == ["pick:1", "pick:2", "quality", "pack"]
    f = advanced(advanced(f))
    assert (f.step, f.waits_for_operator) == (Step.HAND_OVER, True)
    f = evolved(f, wishes.complete_step(f, step_key="hand-over"))
    assert f.hand_over is not None
    assert finished(f).outcome == "SHIPPED"


def test_an_operator_may_be_faster_than_the_workflow():
    """A step that is due but not begun yet is begun and completed; one that was completed stays so."""
    f = born(mode="manual")
    facts = wishes.complete_step(f, step_key="pick:1")
    assert [type(fact).__name__ for fact in facts] == ["StepStarted", "StepCompleted"]
    assert wishes.complete_step(evolved(f, facts), step_key="pick:1") == []


@pytest.mark.parametrize(
    ("f", "step_key", "code"),
    [
        (born(mode="manual"), "pick:2", Code.STEP_NOT_OPEN),
        (born(mode="manual"), "nonsense", Code.STEP_NOT_OPEN),
        (born(PAUSE, mode="manual"), "pick:1", Code.ON_HOLD),
        (until("label"), "label:1", Code.STEP_NOT_OPEN),
        (until("HandOverStarted"), "hand-over", Code.HAND_OVER_IN_PROGRESS),
        (until("SHIPPED"), "hand-over", Code.ALREADY_ENDED),
        (paused(until("READY_TO_SHIP")), "hand-over", Code.ON_HOLD),
    ],
)
def test_a_step_that_is_not_due_cannot_be_completed(f: Fulfillment, step_key: str, code: Code):
    """Out of turn, under a hold, or the carrier's to complete."""
    with pytest.raises(Refused) as said:
        wishes.complete_step(f, step_key=step_key)
    assert said.value.code is code


def test_a_step_in_flight_under_a_hold_can_still_be_completed():
    """A finished step is always recorded."""
    f = paused(advanced(born(mode="manual")))
    f = evolved(f, wishes.complete_step(f, step_key="pick:1"))
    assert (f.worked, f.is_stopped) == (1, True)
