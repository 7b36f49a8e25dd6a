"""The command line over doors that answer as the tests say."""

import subprocess
import sys
from typing import Any, get_args

import httpx
import pytest

from deploy.commands import order, rest
from order_service import demo
from tests.unit.cli.doors import (
    ORDER_ID,
    PLACED,
    RECEIPT,
    Doors,
    a_parcel,
    an_order,
    one_object,
    problem,
    tandem,
)


def test_a_demo_order_is_placed(doors: Doors):
    """Scenario, speed and key reach the service as query and header."""
    doors.answer("POST", "/orders/demo", httpx.Response(201, json=PLACED))
    result = tandem("order", "create", "--demo", "--scenario", "manual", "--speed", "fast", "--key", "k")
    assert result.exit_code == 0
    assert ORDER_ID in result.stdout
    assert dict(doors.asked[0].url.params) == {"scenario": "manual", "speed": "fast"}
    assert doors.asked[0].headers["Idempotency-Key"] == "k"


def test_json_is_one_object_and_nothing_else(doors: Doors):
    """A program can read standard output whole."""
    doors.answer("POST", "/orders/demo", httpx.Response(201, json=PLACED))
    assert one_object(tandem("order", "create", "--demo", "--json")) == PLACED


def test_an_order_comes_from_a_file_or_from_standard_input(doors: Doors, tmp_path: Any):
    """The file's JSON is the body, unchanged."""
    doors.answer("POST", "/orders", httpx.Response(201, json=PLACED))
    file = tmp_path / "order.json"
    file.write_text('{"customerId": "c"}')
    assert tandem("order", "create", "--file", str(file)).exit_code == 0
    assert doors.body == {"customerId": "c"}
    assert tandem("order", "create", "-f", "-", stdin='{"customerId": "d"}').exit_code == 0
    assert doors.body == {"customerId": "d"}


@pytest.mark.parametrize(
    "words",
    [
        ("order", "create"),
        ("order", "create", "--demo", "--file", "x.json"),
        ("order", "create", "--file", "there-is-no-such-file.json"),
        ("order", "create", "--scenario", "unheard-of"),
        ("order", "cancel", ORDER_ID),
        ("order", "get"),
        ("fulfillment", "address", f"{ORDER_ID}-1", "--street", "alone"),
        ("events", "tail", "--limit", "0"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_asked(doors: Doors, words: tuple[str, ...]):
    """Exit code 2, and no request."""
    assert tandem(*words).exit_code == rest.USAGE
    assert doors.asked == []


def test_a_file_that_is_no_json_is_wrong_usage(doors: Doors):
    """The place of the mistake is told."""
    result = tandem("order", "create", "--file", "-", stdin='{"a": }')
    assert result.exit_code == rest.USAGE
    assert "not JSON" in result.stderr


def test_placing_an_order_can_be_rehearsed(doors: Doors):
    """The facts are shown, and no order is waited for."""
    rehearsed: dict[str, Any] = {
        "dryRun": True,
        "status": "PENDING",
        "receiptStatus": "EFFECTIVE",
        "facts": [],
    }
    doors.answer("POST", "/orders/demo", rehearsed)
    assert "Nothing was done" in tandem("order", "create", "--demo", "--wait", "--dry-run").stdout
    assert dict(doors.asked[0].url.params) == {"dryRun": "true"}


def test_a_refusal_is_told_with_its_next_step(doors: Doors):
    """Exit code 1; the service's own detail, where the order stands and what is possible now."""
    refusal = problem(
        409, "HAND_OVER_IN_PROGRESS", "the carrier has the parcel", currentStatus="SHIPPED",
        currentStep="capture", allowedActions=["update"],
    )  # fmt: skip
    doors.answer("DELETE", f"/orders/{ORDER_ID}", refusal)
    result = tandem("order", "cancel", ORDER_ID, "--reason", "late")
    assert result.exit_code == rest.REFUSED
    assert result.stderr.splitlines() == [
        "Refused: the carrier has the parcel (HAND_OVER_IN_PROGRESS)",
        "Now:     SHIPPED at capture",
        "Allowed: update",
        "Next:    `tandem order actions` and `tandem fulfillment actions` show what is possible",
    ]
    assert doors.body == {"reason": "late"}
    assert one_object(tandem("order", "cancel", ORDER_ID, "--reason", "late", "--json"))["code"] == (
        "HAND_OVER_IN_PROGRESS"
    )


def test_an_answer_that_is_no_problem_is_told_as_one(doors: Doors):
    """A proxy's HTML page does not end in a traceback."""
    doors.answer("GET", f"/orders/{ORDER_ID}", httpx.Response(502, text="<html>bad gateway</html>"))
    result = tandem("order", "get", ORDER_ID, "--json")
    assert result.exit_code == rest.REFUSED
    assert one_object(result) == {"code": "INTERNAL", "status": 502, "detail": "answered 502"}


@pytest.mark.parametrize(
    "words", [("order", "get", ORDER_ID), ("fulfillment", "list"), ("command", "show", "c")]
)
def test_nobody_there_says_how_to_start(doors: Doors, words: tuple[str, ...]):
    """Exit code 3 names the address and `./deploy/up`."""
    for path in (f"/orders/{ORDER_ID}", "/fulfillments", "/commands/c"):
        doors.answer("GET", path, httpx.ConnectError("refused"))
    result = tandem(
        *words, "--fulfillment-url" if words[0] != "order" else "--order-url", "http://127.0.0.1:9"
    )
    assert result.exit_code == rest.UNREACHABLE
    assert "./deploy/up" in result.stderr
    assert one_object(tandem(*words, "--json"))["fix"] == "./deploy/up"


def test_nobody_there_is_found_out_on_a_real_socket(unused_tcp_port: int):
    """The client over Python's own HTTP tells a closed port from an answer."""
    url = f"http://127.0.0.1:{unused_tcp_port}"
    assert tandem("order", "list", "--order-url", url).exit_code == rest.UNREACHABLE
    assert tandem("order", "list", "--order-url", "no address").exit_code == rest.UNREACHABLE


def test_addresses_come_from_option_then_variable_then_stack(doors: Doors, monkeypatch: Any, tmp_path: Any):
    """The running stack's env.json is used unless somebody says otherwise."""
    (tmp_path / "env.json").write_text('{"env": {"TANDEM_ORDER_URL": "http://stack:1"}}')
    monkeypatch.setenv("TANDEM_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("TANDEM_ORDER_URL", raising=False)
    doors.answer("GET", "/orders", {"orders": []})
    tandem("order", "list")
    tandem("order", "list", env={"TANDEM_ORDER_URL": "http://variable:2"})
    tandem("order", "list", "--order-url", "http://option:3", env={"TANDEM_ORDER_URL": "http://variable:2"})
    assert [request.url.host for request in doors.asked] == ["stack", "variable", "option"]
    (tmp_path / "env.json").unlink()
    tandem("order", "list")
    assert doors.asked[-1].url.port == 3232


def test_an_order_is_shown_for_people(doors: Doors):
    """Where it stands, its parcel, and what may be done."""
    hold = {"handle": "h-1", "reason": "FRAUD_RISK"}
    parcel = a_parcel("PICKING")
    seen = an_order("NEEDS_ATTENTION", fulfillment=parcel, attention="CAPTURE_FAILED", holds=[hold])
    doors.answer("GET", f"/orders/{ORDER_ID}", {**seen, "allowedActions": ["pause"]})
    shown = tandem("order", "get", ORDER_ID).stdout
    for part in (
        "NEEDS_ATTENTION",
        "1 x TEAPOT",
        "2 of 7 items",
        "CAPTURE_FAILED",
        "FRAUD_RISK (h-1)",
        "allowed  pause",
    ):
        assert part in shown


def test_orders_are_listed_page_by_page(doors: Doors):
    """The line for the next page can be copied."""
    doors.answer("GET", "/orders", {"orders": [an_order("SHIPPED")], "next": "abc"})
    result = tandem("order", "list", "--status", "SHIPPED", "--limit", "1")
    assert dict(doors.asked[0].url.params) == {"status": "SHIPPED", "limit": "1"}
    assert result.stdout.splitlines()[-1] == "More: tandem order list --limit 1 --cursor abc"
    assert one_object(tandem("order", "list", "--json"))["next"] == "abc"


@pytest.mark.parametrize(
    ("words", "method", "path", "body"),
    [
        (("order", "pause", ORDER_ID), "POST", f"/orders/{ORDER_ID}/fulfillment/pause", None),
        (("order", "resume", ORDER_ID), "POST", f"/orders/{ORDER_ID}/fulfillment/resume", None),
        (("fulfillment", "pause", "F"), "POST", "/fulfillments/F/pause", None),
        (("fulfillment", "pause", "F", "--reason", "r"), "POST", "/fulfillments/F/pause", {"reason": "r"}),
        (("fulfillment", "resume", "F"), "POST", "/fulfillments/F/resume", None),
        (("fulfillment", "cancel", "F", "--reason", "r"), "POST", "/fulfillments/F/cancel", {"reason": "r"}),
        (("fulfillment", "complete", "F", "pick:1"), "POST", "/fulfillments/F/steps/pick:1/complete", None),
        (("fulfillment", "fail", "F", "pack", "--reason", "r"), "POST", "/fulfillments/F/steps/pack/fail",
         {"reason": "r"}),
        (("fulfillment", "address", "F", "--street", "s", "--city", "c", "--state", "t", "--zip-code", "1",
          "--country", "u"), "PATCH", "/fulfillments/F/shipping-address",
         {"street": "s", "city": "c", "state": "t", "zipCode": "1", "country": "u"}),
    ],
)  # fmt: skip
def test_a_wish_is_one_request(
    doors: Doors, words: tuple[str, ...], method: str, path: str, body: dict[str, str] | None
):
    """Verb, path and body of each wish; its receipt says how to ask again."""
    doors.answer(method, path, RECEIPT)
    result = tandem(*words, "--key", "k")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["ACCEPTED", "Next: tandem command show c-2 --watch"]
    assert doors.asked[-1].headers["Idempotency-Key"] == "k"
    assert doors.asked[-1].headers["X-Actor"] == "tandem-cli"
    assert (doors.body if doors.asked[-1].content else None) == body
    assert one_object(tandem(*words, "--json")) == RECEIPT


def test_an_order_is_updated_from_a_file(doors: Doors):
    """The changes are sent as they are."""
    doors.answer("PATCH", f"/orders/{ORDER_ID}", RECEIPT)
    result = tandem("order", "update", ORDER_ID, "--file", "-", stdin='{"instructions": "ring twice"}')
    assert (result.exit_code, doors.body) == (0, {"instructions": "ring twice"})


def test_the_current_step_is_meant_when_none_is_named(doors: Doors):
    """An operator completes what is open; when nothing is, that is said."""
    doors.answer("GET", "/fulfillments/F", a_parcel("PICKING"), a_parcel("SHIPPED", currentStep=None))
    doors.answer("POST", "/fulfillments/F/steps/pick:2/complete", RECEIPT)
    assert tandem("fulfillment", "complete", "F").exit_code == 0
    assert tandem("fulfillment", "complete", "F").exit_code == rest.REFUSED


def test_an_id_stays_one_segment_of_the_path(doors: Doors):
    """Whatever was typed as an id cannot reach another route."""
    tandem("order", "get", "../stock?x=1")
    assert doors.asked[0].url.raw_path == b"/orders/..%2Fstock%3Fx%3D1"


def test_a_parcel_is_shown_and_watched(doors: Doors):
    """Holds, requests, costs and the reason of an exception appear; an exception ends the watching."""
    trouble = a_parcel(
        "EXCEPTION",
        holds=[{"handle": "h-1", "reason": "QUALITY", "holder": "ann", "until": "2020-01-01T12:00:00Z"}],
        exception={"stepKey": "label:1", "code": "LABEL_REFUSED"},
        cancellationRequests=[{"commandId": "c-9", "answerBy": "2020-01-01T12:00:00Z"}],
        labelCosts={"bookedMinor": 1180, "wastedMinor": 590, "currency": "USD"},
    )
    doors.answer("GET", "/fulfillments/F", trouble)
    shown = tandem("fulfillment", "get", "F").stdout
    for part in (
        "QUALITY (h-1) by ann until 2020-01-01",
        "c-9, to be answered by 2020-01-01",
        "labels 11.80 USD, of that wasted 5.90 USD",
        "LABEL_REFUSED",
    ):
        assert part in shown
    assert one_object(tandem("fulfillment", "watch", "F", "--json"))["status"] == "EXCEPTION"


def test_a_command_is_looked_for_in_both_services(doors: Doors):
    """The order service is asked first, then the fulfillment service; unknown in both is a refusal."""
    known = {**RECEIPT, "name": "pauseFulfillment", "actor": "ann", "stream": "fulfillment-F"}
    doors.answer("GET", "/commands/c-2", problem(404, "NOT_FOUND", "no"), httpx.Response(200, json=known))
    assert one_object(tandem("command", "show", "c-2", "--json")) == known
    result = tandem("command", "show", "c-3")
    assert result.exit_code == rest.REFUSED
    assert "neither service" in result.stderr


def test_a_silent_service_is_not_taken_for_a_no(doors: Doors):
    """When one service does not know the command and the other one is away, the answer is `not reachable`."""
    doors.answer("GET", "/commands/c", problem(404, "NOT_FOUND", "no"), httpx.ConnectError("away"))
    assert tandem("command", "show", "c").exit_code == rest.UNREACHABLE


def test_kafka_that_is_not_there_is_told(unused_tcp_port: int):
    """`events tail` says how to start a broker."""
    result = tandem("events", "tail", "--kafka", f"127.0.0.1:{unused_tcp_port}", "--json")
    assert result.exit_code == rest.UNREACHABLE
    assert one_object(result)["code"] == "NOT_REACHABLE"


def test_the_scenarios_offered_are_those_of_the_service():
    """The command line lists them itself, because importing the service takes longer than asking it."""
    assert get_args(order.Scenario) == get_args(demo.Scenario)
    assert get_args(order.Speed) == get_args(demo.Speed)


def test_every_help_says_what_the_exit_codes_mean():
    """`--help` of each command that asks a service."""
    for words in (
        ("order",),
        ("order", "create"),
        ("fulfillment", "pause"),
        ("events", "tail"),
        ("command", "show"),
    ):
        assert "Exit codes" in tandem(*words, "--help").stdout


def test_a_question_imports_only_what_it_needs():
    """Start-up time: `tandem order get` loads no driver, no Temporal client, no rich."""
    code = (
        "import sys; sys.argv = ['tandem', 'order', 'get', 'X', '--order-url', 'http://127.0.0.1:1']\n"
        "import deploy.cli\n"
        "try: deploy.cli.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'psycopg', 'temporalio', 'rich', 'aiokafka', 'psutil', 'httpcore'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
