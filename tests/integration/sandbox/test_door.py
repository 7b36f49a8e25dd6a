"""What the sandbox says about itself and to those who ask wrongly."""

from typing import Any

import pytest

from tests.integration.sandbox.driver import Sandbox, a_name


def test_what_was_never_made_is_not_found(sandbox: Sandbox):
    """Unknown references, keys and ledgers are 404 problems, and a path that is none is another one."""
    for answer in (
        sandbox.capture("auth_" + "0" * 20),
        sandbox.void("nonsense"),
        sandbox.void_label("TRK-" + "0" * 16),
        sandbox.hand_over("nonsense"),
        sandbox.operation("payments", "never-seen"),
        sandbox.http.get("/ledgers/other"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert answer.headers["tandem-simulated"] == "true"
    for path in ("/nothing", "/payments/operation/never-seen"):
        answer = sandbox.http.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "no_such_path")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amountMinor": "2500"}, "amountMinor"),
        ({"amountMinor": -1}, "amountMinor"),
        ({"amountMinor": 1.5}, "amountMinor"),
        ({"amountMinor": 10**30}, "amountMinor"),
        ({"amountMinor": True}, "amountMinor"),
        ({"currency": "usd"}, "currency"),
        ({"token": ""}, "token"),
        ({"token": "tok_\x00"}, "token"),
        ({"orderRef": "Jane Canary"}, "orderRef"),
        ({"order_ref": "ORD-1"}, "order_ref"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_body_must_be_exactly_right(sandbox: Sandbox, change: dict[str, Any], field: str):
    """What cannot be understood is 422 with the field's name, without the value, and not in the ledger."""
    before = len(sandbox.ledger("payments"))
    body = {"amountMinor": 2500, "currency": "USD", "token": "tok_ok", "orderRef": "ORD-0", **change}
    answer = sandbox.post("/payments/authorizations", a_name("key"), body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert field in answer.json()["detail"]
    assert "Canary" not in answer.text
    assert len(sandbox.ledger("payments")) == before


def test_bad_requests_are_problems(sandbox: Sandbox):
    """What no provider would look at is answered with a code, never with a 5xx."""

    def post(content: bytes, **headers: str) -> tuple[int, str]:
        sent = {
            "Content-Type": "application/json",
            **{name.replace("_", "-"): v for name, v in headers.items()},
        }
        answer = sandbox.http.post("/payments/authorizations", content=content, headers=sent)
        assert answer.headers["content-type"] == "application/problem+json"
        return answer.status_code, answer.json()["code"]

    good = b'{"amountMinor":1,"currency":"USD","token":"tok_ok","orderRef":"ORD-0"}'
    assert post(b"{") == (422, "invalid_request")
    assert post(b"") == (422, "invalid_request")
    assert post(b'{"token":"\\ud800"}') == (422, "invalid_request")
    assert post(b" " * 20_000) == (413, "body_too_large")
    assert post(good, Content_Type="text/plain") == (415, "unsupported_media_type")
    assert post(good, Idempotency_Key="k" * 256) == (422, "invalid_request")
    assert post(good, Idempotency_Key="") == (422, "invalid_request")
    assert sandbox.http.put("/payments/authorizations").status_code == 405
    assert sandbox.http.get("/ledgers/payments", params={"since": "x"}).status_code == 422


def test_the_ledger_is_read_from_where_one_stopped(sandbox: Sandbox):
    """Rows are numbered without gaps; `since` leaves out what was read."""
    sandbox.authorize()
    rows = sandbox.ledger("payments")
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert sandbox.ledger("payments", since=rows[-2]["seq"]) == rows[-1:]
    assert sandbox.ledger("payments", since=rows[-1]["seq"]) == []


def test_it_says_that_it_is_simulated_and_lists_its_scenarios(sandbox: Sandbox):
    """Nobody takes it for a bank, and all triggers of the plan are told."""
    assert sandbox.http.get("/").json()["simulated"] is True
    scenarios = sandbox.http.get("/scenarios").json()
    assert {entry["trigger"] for entry in scenarios["tokens"]} >= {
        "tok_declined",
        "tok_insufficient_funds",
        "tok_500_<n>",
        "tok_slow_<ms>",
        "tok_timeout_done",
        "tok_capture_refused",
        "tok_capture_500_<n>",
        "tok_void_500_<n>",
    }
    assert {entry["trigger"] for entry in scenarios["postalCodes"]} >= {
        "00001",
        "5000<n>",
        "40800",
        "50400",
        "50401",
        "40900",
    }
    for entry in scenarios["tokens"] + scenarios["postalCodes"]:
        assert set(entry) == {"trigger", "operation", "does"}
