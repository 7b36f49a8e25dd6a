"""`tandem parked`: whose record a name means, what is said of it, and how it ends."""

from typing import Any

import pytest

from tests.unit.cli.doors import ORDER_ID, Doors, one_object, problem, tandem


def a_record(**changes: Any) -> dict[str, Any]:
    return {
        "id": 12,
        "orderId": ORDER_ID,
        "type": "tandem.order.order-placed.v1",
        "topic": "orders.events.v1",
        "partition": 3,
        "offset": 7,
        "reason": "KeyError",
        "firstFailedAt": "2026-11-21T12:00:00+00:00",
        "outcome": "OPEN",
        "settled": None,
        "event": {"type": "tandem.order.order-placed.v1", "sequence": 1, "subject": f"order-{ORDER_ID}"},
        "bytes": 311,
    } | changes


def moved(**changes: Any) -> dict[str, Any]:
    return a_record(outcome="REPLAYED", applied=[12, 13], stoppedAt=None, left=0) | changes


def test_both_services_records_are_listed_by_name(doors: Doors):
    """The name says who parked it, and is what the other commands take."""
    doors.answer("GET", "/ops/parked", {"parked": []}, {"parked": [a_record()]})
    head, line = tandem("parked", "list", "--order", ORDER_ID).stdout.splitlines()
    assert head.split() == ["name", "order", "type", "reason", "since"]
    assert line.split()[:2] == ["fulfillment-12", ORDER_ID]
    assert {request.url.params["order"] for request in doors.asked} == {ORDER_ID}


def test_a_record_is_told_with_what_to_do(doors: Doors):
    """Whence it came, why it is parked, and the lines that settle it."""
    doors.answer("GET", "/ops/parked/12", a_record())
    said = tandem("parked", "show", "fulfillment-12").stdout
    assert "fulfillment-12: OPEN, KeyError" in said
    assert "orders.events.v1, partition 3, offset 7" in said
    assert "tandem parked replay fulfillment-12, or tandem parked discard fulfillment-12 --reason WHY" in said
    doors.answer("GET", "/ops/parked/12", a_record(event=None, orderId=None))
    assert "311 bytes, which are not shown" in tandem("parked", "show", "order-12").stdout


def test_a_settled_record_says_by_whom(doors: Doors):
    settled = {"at": "2026-11-21T12:05:00+00:00", "by": "ada", "because": "a test"}
    doors.answer("GET", "/ops/parked/12", a_record(outcome="DISCARDED", settled=settled))
    assert "by ada: a test" in tandem("parked", "show", "order-12").stdout


def test_a_replay_ends_well_or_says_where_it_stopped(doors: Doors):
    """Exit code 5 when a record failed again."""
    stopped = moved(stoppedAt={"id": 13, "reason": "KeyError"}, left=1, applied=[12])
    doors.answer("POST", "/ops/parked/12/replay", moved(), stopped)
    ran = tandem("parked", "replay", "order-12")
    assert (ran.exit_code, ran.stdout) == (0, "REPLAYED; 2 applied, 0 still parked\n")
    ran = tandem("parked", "replay", "order-12")
    assert ran.exit_code == 5
    assert "Stopped at order-13: KeyError" in ran.stdout


def test_a_discard_sends_its_reason(doors: Doors):
    """And prints the answer as one object for a program."""
    doors.answer("POST", "/ops/parked/12/discard", moved(outcome="DISCARDED"))
    told = one_object(tandem("parked", "discard", "order-12", "--reason", "a test", "--json"))
    assert doors.body == {"reason": "a test"}
    assert told["outcome"] == "DISCARDED"


@pytest.mark.parametrize("name", ["12", "shop-12", "order-", "order-1/../2"])
def test_a_name_that_cannot_be_is_wrong_usage(doors: Doors, name: str):
    """Nothing is asked."""
    assert tandem("parked", "replay", name).exit_code == 2
    assert doors.asked == []


def test_a_refusal_says_which_comes_first(doors: Doors):
    detail = "record 11 of this order comes first: replay or discard that one"
    doors.answer("POST", "/ops/parked/12/replay", problem(409, "NOT_ALLOWED_NOW", detail))
    ran = tandem("parked", "replay", "order-12")
    assert ran.exit_code == 1
    assert "record 11 of this order comes first" in ran.stderr
