"""The estimated time of a parcel: now, what is left of each step's budget, and what holds it back."""

from datetime import datetime, timedelta

from contracts.values import Hold
from fulfillment_service.fulfillment import Fulfillment, evolved, wishes
from fulfillment_service.fulfillment.progress import Outlook, outlook, steps_left
from tests.unit.parcels import LATER, NOW, advanced, born, until

BY_HAND = {"pick": 100.0, "quality": 60.0, "pack": 80.0, "label": 5.0, "hand-over": 300.0}


def seen(f: Fulfillment, *, at: datetime = NOW, started: datetime | None = None) -> Outlook:
    return outlook(f, BY_HAND, now=at, step_started_at=started)


def left(f: Fulfillment, **moments: datetime) -> float | None:
    found = seen(f, **moments).estimated_at
    return (found - moments.get("at", NOW)).total_seconds() if found else None


def test_a_new_parcel_needs_every_step():
    f = born(mode="manual")
    assert steps_left(f) == {"pick": 2, "quality": 1, "pack": 1, "label": 1, "hand-over": 1}
    assert (left(f), seen(f).step_budget_seconds) == (645, 100)


def test_a_machine_needs_its_pace_and_no_time_for_a_label():
    assert left(born(pace_seconds=2)) == 2 * 5


def test_what_a_step_has_taken_is_not_left_of_it():
    """But no more than its budget, however late it is."""
    f = advanced(born(mode="manual"))
    assert left(f, started=NOW - timedelta(seconds=30)) == 615
    assert left(f, started=NOW - timedelta(hours=3)) == 545


def test_a_hold_with_an_end_comes_on_top_and_one_without_leaves_it_open():
    f = born(mode="manual")
    f = evolved(f, wishes.place_hold(f, hold=Hold(handle="h", until=LATER), command_id="c"))
    assert left(f) == 3600 + 645
    f = evolved(f, wishes.place_hold(f, hold=Hold(handle="i"), command_id="d"))
    assert (left(f), seen(f).step_budget_seconds) == (None, 100)


def test_while_a_person_has_to_decide_nobody_knows():
    f = born(mode="manual")
    f = evolved(f, wishes.request_cancel(f, command_id="c", answer_by=LATER))
    assert left(f) is None


def test_a_label_that_is_made_anew_is_left_to_do():
    f = until("READY_TO_SHIP")
    assert steps_left(f) == {"hand-over": 1}
    f = evolved(f, wishes.change_address(f, command_id="a"))
    assert steps_left(f) == {"label": 1, "hand-over": 1}


def test_a_parcel_that_goes_nowhere_has_no_estimate():
    shipped = until("SHIPPED")
    cancelled = evolved(born(), wishes.request_cancel(born(), command_id="c"))
    assert [seen(f) for f in (shipped, cancelled)] == [Outlook(None, None)] * 2
