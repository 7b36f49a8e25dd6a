"""What is possible, why something waits, what happened, and the lines to copy from it."""

import shlex
from typing import Any

import pytest

from deploy.commands.lines import line_of
from deploy.commands.shown import span
from tests.unit.cli.doors import (
    ORDER_ID,
    RECEIPT,
    Doors,
    an_exception,
    one_object,
    problem,
    tandem,
)

PARCEL = f"{ORDER_ID}-1"
_OF_PARCEL = f"/fulfillments/{PARCEL}"


def a_call(method: str, path: str, **body: str) -> dict[str, Any]:
    return {"method": method, "path": path, "body": body or None}


@pytest.mark.parametrize(
    "call",
    [
        a_call("GET", f"/orders/{ORDER_ID}/explain"),
        a_call("POST", f"/orders/{ORDER_ID}/holds", reason="OTHER", handle="h"),
        a_call("DELETE", f"/orders/{ORDER_ID}/holds?handle=h"),
        a_call("POST", f"/orders/{ORDER_ID}/fulfillment/pause"),
        a_call("DELETE", f"/orders/{ORDER_ID}"),
        a_call("DELETE", f"{_OF_PARCEL}/holds?handle=h%20of%20mine"),
        a_call("DELETE", f"{_OF_PARCEL}/holds"),
        a_call("POST", f"{_OF_PARCEL}/cancel", reason="it's broken; rm -rf /"),
        a_call("POST", f"{_OF_PARCEL}/resume", note="counted"),
        a_call("POST", f"{_OF_PARCEL}/steps/pick:1/complete"),
        a_call("POST", f"{_OF_PARCEL}/steps/hand-over/fail"),
        a_call("POST", f"{_OF_PARCEL}/exceptions/resolve", resolution="retry"),
        a_call("POST", f"/orders/{ORDER_ID}/exceptions/resolve", resolution="skip"),
        a_call("POST", f"{_OF_PARCEL}/cancellation-requests/a1b2/7/accept"),
        a_call("POST", f"{_OF_PARCEL}/cancellation-requests/a1b2/reject"),
        a_call("DELETE", "/standing-holds/teapots"),
    ],
)
def test_the_line_to_copy_sends_the_very_request(doors: Doors, call: dict[str, Any]):
    """Method, path and body, whatever the shell would make of the words in between."""
    program, *words = shlex.split(line_of(call))
    assert program == "tandem"
    tandem(*words)
    asked = doors.asked[-1]
    sent = f"{asked.url.path}?{asked.url.query.decode()}" if asked.url.query else asked.url.path
    assert (asked.method, sent.replace("+", "%20")) == (call["method"], call["path"])
    if call["body"]:
        assert doors.body == call["body"]


def test_what_must_be_filled_in_comes_from_a_file(doors: Doors):
    """An address or a change of an order is nothing that a service could guess."""
    assert line_of(a_call("PATCH", f"{_OF_PARCEL}/shipping-address", street="")) == (
        f"tandem fulfillment address {PARCEL} --file address.json"
    )
    assert line_of(a_call("PATCH", f"/orders/{ORDER_ID}")) == (
        f"tandem order update {ORDER_ID} --file changes.json"
    )


def test_a_call_without_a_command_is_a_line_for_curl():
    """A newer service may offer what this command line does not know."""
    line = line_of(a_call("POST", "/circuit-breakers/carrier/close", note="it's back"))
    assert shlex.split(line)[:4] == ["curl", "-X", "POST", "/circuit-breakers/carrier/close"]
    assert shlex.split(line)[-1] == '{"note": "it\'s back"}'


def test_actions_say_until_when_and_at_what_cost_or_why_not(doors: Doors):
    """One line each; what is allowed ends with the line to copy."""
    cancel = a_call("POST", f"{_OF_PARCEL}/cancel")
    seen = {
        "status": "READY_TO_SHIP",
        "currentStep": "hand-over",
        "actions": [
            {"name": "cancel", "allowed": True, "untilStep": "hand-over", "cutOff": "HandOverStarted",
             "cost": {"voidMinor": 540, "currency": "USD", "restockItems": 7, "relabel": False,
                      "payment": "void"}, "call": cancel},
            {"name": "resume", "allowed": False, "detail": "it would change nothing"},
            {"name": "failStep", "allowed": False, "code": "STEP_NOT_OPEN", "detail": "no step is open"},
        ],
    }  # fmt: skip
    doors.answer("GET", f"{_OF_PARCEL}/actions", seen)
    stands, head, first, second, third = tandem("fulfillment", "actions", PARCEL).stdout.splitlines()
    assert stands == "READY_TO_SHIP at hand-over"
    assert head.split() == ["action", "now", "until", "cost", "how"]
    assert " ".join(first.split()) == (
        "cancel yes before hand-over label of 5.40 USD, restock 7, void the payment "
        f"tandem fulfillment cancel {PARCEL}"
    )
    assert " ".join(second.split()) == "resume no need it would change nothing"
    assert " ".join(third.split()) == "failStep no: STEP_NOT_OPEN no step is open"
    assert one_object(tandem("fulfillment", "actions", PARCEL, "--json")) == seen


def test_what_is_passed_on_says_so(doors: Doors):
    """The fulfillment may still refuse it; what would be given back has its amount."""
    cost = {"payment": "void", "paymentMinor": 7880, "currency": "USD", "restockItems": 0, "relabel": False}
    cancel = {"name": "cancel", "allowed": True, "answeredBy": "fulfillment", "cost": cost,
              "call": a_call("DELETE", f"/orders/{ORDER_ID}", reason="")}  # fmt: skip
    doors.answer("GET", f"/orders/{ORDER_ID}/actions", {"status": "CONFIRMED", "actions": [cancel]})
    line = tandem("order", "actions", ORDER_ID).stdout.splitlines()[-1]
    assert " ".join(line.split()) == (
        f"cancel passed on void the payment of 78.80 USD tandem order cancel {ORDER_ID} --reason WHY"
    )


def test_an_explanation_ends_with_who_can_change_it_and_how(doors: Doors):
    """The paragraph, then each offer, said once; one that is no request has no line."""
    why = f"Order {ORDER_ID} is PAUSED. It waits for the hold h-1 (QUALITY) by ann."
    told = {
        "summary": f"{why} Ann or an operator can lift h-1: DELETE /orders/{ORDER_ID}/holds?handle=h-1. "
        "An engineer can bring Temporal back.",
        "unblock": [
            {"who": "ann or an operator", "how": "lift h-1",
             "call": {"service": "order", **a_call("DELETE", f"/orders/{ORDER_ID}/holds?handle=h-1")}},
            {"who": "an engineer", "how": "bring Temporal back"},
        ],
    }  # fmt: skip
    doors.answer("GET", f"/orders/{ORDER_ID}/explain", told)
    assert tandem("order", "explain", ORDER_ID).stdout.splitlines() == [
        why,
        "",
        "Ann or an operator: lift h-1",
        f"  tandem order release {ORDER_ID} --handle h-1",
        "",
        "An engineer: bring Temporal back",
    ]
    doors.answer("GET", f"/orders/{ORDER_ID}/explain", {"summary": "It has ended and waits for nothing."})
    assert len(tandem("order", "explain", ORDER_ID).stdout.splitlines()) == 1


def test_what_happened_is_told_line_by_line(doors: Doors):
    """Whose fact, how long after the one before, by whom and why; the next page can be copied."""
    at = "2026-01-01T00:00:00.000Z"
    entries = [
        {"at": at, "service": "order", "type": "OrderPlaced", "actor": "ann"},
        {"at": at, "service": "fulfillment", "type": "HoldPlaced", "actor": "order-service",
         "handle": "h-1", "holder": "ann", "reason": "QUALITY", "sincePreviousMs": 1500, "heardAfterMs": 80},
    ]  # fmt: skip
    doors.answer("GET", f"/orders/{ORDER_ID}/timeline", {"timeline": entries, "next": "abc"})
    head, first, second, more = tandem("order", "timeline", ORDER_ID).stdout.splitlines()
    assert head.split() == ["at", "after", "service", "type", "actor", "heard", "about"]
    assert first.split()[2:] == ["order", "OrderPlaced", "ann"]
    assert second.split("  ")[1] == "+1.5 s"
    assert second.split()[4:] == [
        "fulfillment", "HoldPlaced", "order-service", "+80", "ms", "h-1", "QUALITY", "(held", "by", "ann)",
    ]  # fmt: skip
    assert more == f"More: tandem order timeline {ORDER_ID} --cursor abc"
    doors.answer("GET", "/fulfillments/F/timeline", {"timeline": []})
    assert tandem("fulfillment", "timeline", "F").stdout == "Nothing happened yet.\n"


def test_what_waits_for_a_person_is_listed_from_both_services(doors: Doors):
    """Longest waiting first, with its age and who works on it."""
    parcel = an_exception("LABEL_REFUSED", f"{ORDER_ID}-1", raisedAt="2026-01-01T00:00:00Z", ageSeconds=7200)
    order = an_exception("CAPTURE_FAILED", ORDER_ID, claimedBy="ada")
    doors.answer("GET", "/exceptions", {"exceptions": [order]}, {"exceptions": [parcel]})
    rows = [row.split() for row in tandem("exceptions", "list").stdout.splitlines()[1:]]
    assert [row[2] for row in rows] == ["LABEL_REFUSED", "CAPTURE_FAILED"]
    assert rows[0][5:] == ["2", "h", "0", "min", "0", "-"]
    assert rows[1][-1] == "ada"


def test_an_exception_is_shown_by_whoever_knows_it(doors: Doors):
    """What happened, and a line for each way out."""
    seen = an_exception("VOID_FAILED", ORDER_ID, resolutions=["retry", "skip"])
    doors.answer("GET", "/exceptions/e-1", problem(404, "NOT_FOUND", "no"), seen)
    lines = tandem("exceptions", "show", "e-1").stdout.splitlines()
    assert "attempts 12" in lines[1]
    assert lines[-2:] == ["Next:    tandem exceptions retry e-1", "Next:    tandem exceptions skip e-1"]


@pytest.mark.parametrize("verb", ["retry", "skip", "cancel"])
def test_something_is_done_about_an_exception(doors: Doors, verb: str):
    """At the door of the service that knows it, with the reason."""
    doors.answer("GET", "/exceptions/e-1", an_exception("VOID_FAILED", ORDER_ID))
    doors.answer("POST", f"/exceptions/e-1/{verb}", RECEIPT)
    assert tandem("exceptions", verb, "e-1", "--reason", "seen").exit_code == 0
    assert doors.body == {"reason": "seen"}


def test_a_mismatch_has_no_receipt_to_wait_for(doors: Doors):
    """It is done when it is answered."""
    doors.answer("GET", "/exceptions/e-1", an_exception("DOES_NOT_ADD_UP", "TEAPOT"))
    doors.answer("POST", "/exceptions/e-1/retry", {"commandId": "c-3", "status": "EFFECTIVE"})
    result = tandem("exceptions", "retry", "e-1", "--wait", "--json")
    assert (result.exit_code, one_object(result)["status"]) == (0, "EFFECTIVE")
    assert tandem("exceptions", "retry", "e-1", "--wait").exit_code == 0


def test_a_record_is_discarded_with_a_reason(doors: Doors):
    """The line to copy asks for it, and what was said is shown afterwards."""
    seen = an_exception("DOES_NOT_ADD_UP", "inbox-1", stepKey="RECORD_BLOCKED", resolutions=["retry", "skip"])
    done = {"resolvedAt": "2026-01-03", "resolution": "skip", "resolvedBy": "ada", "because": "by a test"}
    doors.answer("GET", "/exceptions/e-1", seen)
    lines = tandem("exceptions", "show", "e-1").stdout.splitlines()
    assert lines[-1] == "Next:    tandem exceptions skip e-1 --reason WHY"
    doors.answer("GET", "/exceptions/e-1", seen | done)
    lines = tandem("exceptions", "show", "e-1").stdout.splitlines()
    assert lines[-1] == "Done:    skip by ada at 2026-01-03: by a test"


def test_a_claim_of_somebody_else_is_said(doors: Doors):
    """Exit code 1, with who works on it."""
    doors.answer("GET", "/exceptions/e-1", an_exception("VOID_FAILED", ORDER_ID))
    taken = problem(409, "ALREADY_CLAIMED", "ada works on it", claimedBy="ada")
    doors.answer("POST", "/exceptions/e-1/claim", taken)
    result = tandem("exceptions", "claim", "e-1", "--json")
    assert (result.exit_code, one_object(result)["claimedBy"]) == (1, "ada")


def test_nobody_knows_the_exception(doors: Doors):
    """Both were asked."""
    result = tandem("exceptions", "show", "e-2")
    assert result.exit_code == 1
    assert [request.url.path for request in doors.asked] == ["/exceptions/e-2"] * 2


def test_what_the_reconcilers_found_is_listed_from_both_services(doors: Doors):
    """Newest first, and when each of them looked."""

    def told(kind: str, at: str, exception: str | None = None) -> dict[str, Any]:
        found = {"kind": kind, "at": at, "subject": "S", "action": "A", "exceptionId": exception}
        return {"lookedAt": "2026-01-03", "reconciliations": [found]}

    answers = told("NO_PROGRESS", "2026-01-01"), told("LABEL_LEFT", "2026-01-02", "e-1")
    doors.answer("GET", "/ops/reconciliations", *answers)
    _, *rows, looked = tandem("reconcile", "list", "--subject", "S").stdout.splitlines()
    assert dict(doors.asked[0].url.params) == {"subject": "S"}
    assert [row.split()[1:] for row in rows] == [
        ["fulfillments", "LABEL_LEFT", "S", "A", "e-1"],
        ["orders", "NO_PROGRESS", "S", "A", "-"],
    ]
    assert looked == "Looked: orders at 2026-01-03, fulfillments at 2026-01-03"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "+0 ms"),
        (0.9994, "+999 ms"),
        (4.24, "+4.2 s"),
        (60, "+1 min"),
        (3599.9, "+1 h 0 min"),
        (12000, "+3 h 20 min"),
    ],
)
def test_a_time_span_reads_as_one_would_say_it(seconds: float, shown: str):
    """Milliseconds, seconds, minutes, hours: whatever is near."""
    assert span(seconds) == shown
