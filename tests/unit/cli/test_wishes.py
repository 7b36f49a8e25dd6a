"""How a wish is sent from the command line, and how its receipt is shown."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import httpx
import pytest

from contracts.values import HoldReason
from deploy.commands import rest, wishes
from tests.unit.cli.doors import ORDER_ID, RECEIPT, Doors, a_parcel, an_order, one_object, problem, tandem

PARCEL = f"{ORDER_ID}-1"
WISHES = ("hold", "release", "pause", "resume", "cancel")


def a_receipt(*walk: str, said: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """A receipt that came to these statuses, one each second; `said` is the fulfillment's answer."""
    times = [f"2026-01-01T00:00:0{second}Z" for second in range(len(walk))]
    return {
        "commandId": "c-2",
        "status": walk[-1],
        "name": "cancelOrder",
        "actor": "ann",
        "stream": f"order-{ORDER_ID}",
        **({"fulfillment": said} if said else {}),
        "walk": [{"status": status, "at": at} for status, at in zip(walk, times, strict=True)],
        "facts": [
            {"version": 9, "type": "CancelRequested", "at": "2026-01-01T00:00:00.004Z"},
            *([{"version": 10, "type": "FulfillmentAnswered", "at": said["at"]}] if said else []),
        ],
        **more,
    }


@pytest.mark.parametrize("group", ["order", "fulfillment"])
def test_a_hold_brings_what_was_said_of_it(doors: Doors, group: str):
    """Reason, handle, note and end are the body; what was not said is not sent."""
    path = f"/{group}s/{ORDER_ID}/holds"
    doors.answer("POST", path, RECEIPT)
    end = "2030-01-01T00:00:00Z"
    tandem(group, "hold", ORDER_ID, "--reason", "fraud_risk", "--handle", "h", "--note", "n", "--until", end)
    assert doors.body == {
        "reason": "FRAUD_RISK",
        "handle": "h",
        "note": "n",
        "until": "2030-01-01T00:00:00+00:00",
    }
    assert tandem(group, "hold", ORDER_ID, "--reason", "QUALITY").exit_code == 0
    assert doors.body == {"reason": "QUALITY"}


@pytest.mark.parametrize("group", ["order", "fulfillment"])
def test_a_hold_is_lifted_by_its_handle(doors: Doors, group: str):
    """The handle is a parameter; without one all holds are meant."""
    doors.answer("DELETE", f"/{group}s/{ORDER_ID}/holds", RECEIPT)
    tandem(group, "release", ORDER_ID, "--handle", "stock count")
    tandem(group, "release", ORDER_ID)
    assert [dict(asked.url.params) for asked in doors.asked] == [{"handle": "stock count"}, {}]


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("30s", timedelta(seconds=30)),
        ("2h", timedelta(hours=2)),
        ("1d12h", timedelta(days=1, hours=12)),
    ],
)
def test_an_end_may_be_a_duration(text: str, span: timedelta):
    """It counts from now."""
    found = datetime.fromisoformat(wishes.moment(text))
    assert abs(found - datetime.now(UTC) - span) < timedelta(seconds=5)


def test_an_end_may_be_a_time_with_or_without_a_zone():
    """Without one it is the time here; the service is told the same moment in UTC."""
    assert wishes.moment("2030-01-01T12:00:00+02:00") == "2030-01-01T10:00:00+00:00"
    here = datetime(2030, 1, 1, 12).astimezone(UTC)
    assert wishes.moment("2030-01-01T12:00:00") == here.isoformat()


@pytest.mark.parametrize("text", ["soon", "2", "h", "2h later", "-2h", "99999999999d", "2030-13-01"])
def test_an_end_that_is_none_is_wrong_usage(doors: Doors, text: str):
    """Nothing is asked, and the right ways are named."""
    result = tandem("order", "hold", ORDER_ID, "--reason", "OTHER", f"--until={text}")
    assert (result.exit_code, doors.asked) == (rest.USAGE, [])
    assert "1d12h" in result.stderr


def test_the_reasons_offered_are_those_of_the_contract():
    """The command line lists them itself, because importing the contract takes longer than asking."""
    assert get_args(wishes.HoldReason) == tuple(HoldReason)
    for group in ("order", "fulfillment"):
        assert set(HoldReason) <= set(re.findall(r"\w+", tandem(group, "hold", "--help").stdout))


def test_a_dry_run_shows_the_facts_and_sends_no_wish(doors: Doors):
    """Each fact on a line with its data; the parameter is what keeps the service from doing it."""
    rehearsed = {
        "dryRun": True,
        "status": "PAUSED",
        "receiptStatus": "EFFECTIVE",
        "facts": [{"type": "HoldPlaced", "data": {"hold": {"reason": "QUALITY", "handle": "h"}}}],
    }
    doors.answer("POST", f"/fulfillments/{PARCEL}/holds", rehearsed)
    words = ("fulfillment", "hold", PARCEL, "--reason", "QUALITY", "--dry-run")
    shown = tandem(*words, "--wait").stdout.splitlines()
    assert shown[0] == "Nothing was done. It would be PAUSED, the wish EFFECTIVE, by:"
    assert shown[1].split() == ["HoldPlaced", "hold=(reason=QUALITY", "handle=h)"]
    assert dict(doors.asked[0].url.params) == {"dryRun": "true"}
    assert len(doors.asked) == 1
    assert one_object(tandem(*words, "--json")) == rehearsed


def test_the_receipt_is_shown_as_it_walks(doors: Doors):
    """Each status and fact once, with what it took; the end has exit code 0."""
    doors.answer("DELETE", f"/orders/{ORDER_ID}", httpx.Response(202, json={**RECEIPT, "status": "RECEIVED"}))
    said = {"status": "ACCEPTED", "at": "2026-01-01T00:00:00.900Z"}
    doors.answer(
        "GET",
        "/commands/c-2",
        a_receipt("RECEIVED"),
        httpx.ConnectError("a restart meanwhile"),
        a_receipt("RECEIVED"),
        a_receipt("RECEIVED", "ACCEPTED", said=said),
        a_receipt("RECEIVED", "ACCEPTED", "EFFECTIVE", said=said),
    )
    words = ("order", "cancel", ORDER_ID, "--reason", "late", "--wait")
    result = tandem(*words)
    assert result.exit_code == 0
    title, *steps = result.stdout.splitlines()
    assert title == f"cancelOrder by ann, order-{ORDER_ID}"
    assert [step.split(maxsplit=2)[2] for step in steps] == [
        "RECEIVED",
        "CancelRequested #9            +4 ms",
        "FulfillmentAnswered #10       +896 ms  it said ACCEPTED",
        "ACCEPTED                      +100 ms",
        "EFFECTIVE                     +1.0 s",
    ]
    assert one_object(tandem(*words, "--json"))["status"] == "EFFECTIVE"


def test_a_refusal_that_comes_later_is_told_like_one_at_once(doors: Doors):
    """Why, the cut-off, where the order stands and what is allowed now; exit code 1."""
    doors.answer("DELETE", f"/orders/{ORDER_ID}", httpx.Response(202, json={**RECEIPT, "status": "RECEIVED"}))
    no: dict[str, Any] = {
        "code": "HAND_OVER_IN_PROGRESS",
        "detail": "the carrier has it",
        "cutOff": "HandOverStarted",
    }
    doors.answer("GET", "/commands/c-2", a_receipt("RECEIVED", "REJECTED", **no))
    doors.answer("GET", f"/orders/{ORDER_ID}", an_order("FULFILLMENT_IN_PROGRESS", allowedActions=["hold"]))
    words = ("order", "cancel", ORDER_ID, "--reason", "late", "--wait")
    result = tandem(*words)
    assert result.exit_code == rest.REFUSED
    assert result.stderr.splitlines() == [
        "Refused: the carrier has it (HAND_OVER_IN_PROGRESS)",
        "Cut-off: HandOverStarted",
        "Now:     FULFILLMENT_IN_PROGRESS at await-outcome",
        "Allowed: hold",
        "Next:    `tandem order actions` and `tandem fulfillment actions` show what is possible",
    ]
    told = one_object(tandem(*words, "--json"))
    assert (told["status"], told["code"], told["allowedActions"]) == (
        "REJECTED", "HAND_OVER_IN_PROGRESS", ["hold"],
    )  # fmt: skip


def test_a_wish_that_was_overtaken_has_an_exit_code_of_its_own(doors: Doors):
    """It was neither refused nor did it take effect."""
    doors.answer("POST", f"/fulfillments/{PARCEL}/pause", RECEIPT)
    doors.answer("GET", "/commands/c-2", a_receipt("RECEIVED", "ACCEPTED", "SUPERSEDED"))
    assert tandem("fulfillment", "pause", PARCEL, "--wait").exit_code == rest.OTHERWISE


def test_a_wish_that_is_not_settled_in_time_says_how_to_go_on(doors: Doors):
    """Exit code 4, and the line that watches it further."""
    doors.answer("POST", f"/fulfillments/{PARCEL}/pause", RECEIPT)
    doors.answer("GET", "/commands/c-2", a_receipt("RECEIVED", "ACCEPTED"))
    result = tandem("fulfillment", "pause", PARCEL, "--wait", "--timeout", "0.1")
    assert result.exit_code == rest.TIMED_OUT
    assert result.stderr.splitlines()[-1] == "Next:    tandem command show c-2 --watch"


def test_too_many_wishes_say_when_to_ask_again(doors: Doors):
    """The service's Retry-After is part of what is told."""
    answer = problem(429, "TOO_MANY_WISHES", "more than 30 wishes in a minute", retryable=True)
    answer.headers["Retry-After"] = "12"
    doors.answer("POST", f"/fulfillments/{PARCEL}/pause", answer)
    result = tandem("fulfillment", "pause", PARCEL)
    assert result.exit_code == rest.REFUSED
    assert result.stderr.splitlines()[-1] == "Next:    try again in 12 s"
    assert one_object(tandem("fulfillment", "pause", PARCEL, "--json"))["retryAfterSeconds"] == 12


def test_a_parcels_wishes_may_say_why(doors: Doors):
    """Reason, note and end of a pause; an answer to a cancel that was asked for; an exception looked at."""
    before = f"/fulfillments/{PARCEL}"
    for path in ("pause", "cancellation-requests/c-9/accept", "cancellation-requests/c-9/reject"):
        doors.answer("POST", f"{before}/{path}", RECEIPT)
    doors.answer("POST", f"{before}/exceptions/resolve", RECEIPT)
    tandem("fulfillment", "pause", PARCEL, "--note", "n", "--until", "2030-01-01T00:00:00Z")
    assert doors.body == {"note": "n", "until": "2030-01-01T00:00:00+00:00"}
    assert tandem("fulfillment", "accept-cancel", PARCEL, "c-9").exit_code == 0
    assert tandem("fulfillment", "reject-cancel", PARCEL, "c-9", "--reason", "packed").exit_code == 0
    assert doors.body == {"reason": "packed"}
    assert tandem("fulfillment", "resolve", PARCEL).exit_code == 0


def test_a_receipt_can_be_shown_and_watched_later(doors: Doors):
    """`command show` tells the whole way at once; `--watch` goes on, with the exit codes of `--wait`."""
    no: dict[str, Any] = {"code": "HAND_OVER_IN_PROGRESS", "detail": "too late", "cutOff": "HandOverStarted"}
    open_, refused = a_receipt("RECEIVED", "ACCEPTED"), a_receipt("RECEIVED", "REJECTED", **no)
    doors.answer("GET", "/commands/c-2", open_, open_, refused)
    shown = tandem("command", "show", "c-2")
    assert shown.exit_code == 0
    assert [line.split()[2] for line in shown.stdout.splitlines()[1:4]] == [
        "RECEIVED", "CancelRequested", "ACCEPTED",
    ]  # fmt: skip
    assert shown.stdout.splitlines()[-1] == "Next: tandem command show c-2 --watch"
    assert tandem("command", "show", "c-2", "--watch").exit_code == rest.REFUSED
    last = tandem("command", "show", "c-2").stdout.splitlines()[-2:]
    assert last == ["Refused: too late (HAND_OVER_IN_PROGRESS)", "Cut-off: HandOverStarted"]


def test_every_wish_has_the_same_options():
    """Whoever knows one of them knows all."""
    for group, names in {
        "order": (*WISHES, "update"),
        "fulfillment": (*WISHES, "address", "complete", "fail", "resolve", "accept-cancel", "reject-cancel"),
    }.items():
        for name in names:
            shown = tandem(group, name, "--help").stdout
            assert "Example" in shown
            assert all(option in shown for option in ("--dry-run", "--wait", "--timeout", "--key", "--json"))


def test_a_standing_hold_names_what_it_freezes(doors: Doors):
    """Kind, value and reason are the body; it is lifted by its handle, at the pace that was asked for."""
    doors.answer("POST", "/standing-holds", RECEIPT)
    lifted = {"commandId": "c-3", "status": "EFFECTIVE", "knocked": 20, "drainSeconds": 4.0}
    doors.answer("DELETE", "/standing-holds/teapots", lifted)
    placed = ("standing-hold", "place", "sku", "TEAPOT", "--reason", "quality", "--handle", "teapots")
    assert tandem(*placed).exit_code == 0
    assert doors.body == {"kind": "sku", "value": "TEAPOT", "reason": "QUALITY", "handle": "teapots"}
    shown = tandem("standing-hold", "lift", "teapots", "--drain-per-second", "5").stdout
    assert shown.splitlines() == ["EFFECTIVE", "Parcels that go on: 20, the last one after 4.0 s"]
    assert dict(doors.asked[-1].url.params) == {"drainPerSecond": "5.0"}
    assert tandem("standing-hold", "place", "planet", "Earth", "--reason", "OTHER").exit_code == rest.USAGE


def test_a_pause_is_lifted_by_its_handle_in_the_body(doors: Doors):
    """Both groups alike; without a handle every pause is meant."""
    for group, path in (("order", "/fulfillment/resume"), ("fulfillment", "/resume")):
        doors.answer("POST", f"/{group}s/{ORDER_ID}{path}", RECEIPT)
        tandem(group, "resume", ORDER_ID, "--handle", "h")
        assert doors.body == {"handle": "h"}


def test_a_parcel_that_ended_otherwise_ends_its_watch_otherwise(doors: Doors):
    """As with an order: only a parcel that shipped is exit code 0."""
    doors.answer("GET", f"/fulfillments/{PARCEL}", a_parcel("CANCELLED"), a_parcel("SHIPPED"))
    assert tandem("fulfillment", "watch", PARCEL).exit_code == rest.OTHERWISE
    assert tandem("fulfillment", "watch", PARCEL).exit_code == rest.OK
