"""The payment provider: what it answers, how it misbehaves, and that its ledger is true."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.integration.sandbox.driver import NO_ANSWER, Sandbox, a_name


def test_an_order_is_authorized_and_captured(sandbox: Sandbox):
    """Money is held, then taken, and the ledger has one row for each."""
    ref = a_name("ORD")
    authorized = sandbox.authorize(ref=ref, key=f"{ref}:authorize:1")
    assert authorized.status_code == 201
    assert authorized.headers["tandem-simulated"] == "true"
    answer = authorized.json()
    assert {**answer, "reference": "", "expiresAt": ""} == {
        "reference": "",
        "status": "authorized",
        "amountMinor": 2500,
        "currency": "USD",
        "expiresAt": "",
    }
    captured = sandbox.capture(answer["reference"], key=f"{ref}:capture:1")
    assert (captured.status_code, captured.json()) == (
        200,
        {"reference": answer["reference"], "status": "captured"},
    )
    rows = [row for row in sandbox.ledger("payments") if row["orderRef"] == ref]
    assert [(row["operation"], row["effect"], row["amountMinor"], row["currency"]) for row in rows] == [
        ("authorize", "applied", 2500, "USD"),
        ("capture", "applied", 2500, "USD"),
    ]
    assert {row["reference"] for row in rows} == {answer["reference"]}


def test_the_same_key_gets_the_same_answer_and_no_second_effect(sandbox: Sandbox):
    """A replay is marked in its headers and in the ledger."""
    ref = a_name("ORD")
    first, again = (sandbox.authorize(ref=ref, key=f"{ref}:a:1") for _ in range(2))
    assert (again.status_code, again.content) == (201, first.content)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    reference = first.json()["reference"]
    taken, taken_again = (sandbox.capture(reference, key=f"{ref}:c:1") for _ in range(2))
    assert (taken_again.status_code, taken_again.content) == (200, taken.content)
    assert sandbox.rows("payments", ref) == [
        ("authorize", "applied"),
        ("authorize", "replayed"),
        ("capture", "applied"),
        ("capture", "replayed"),
    ]


def test_without_a_key_each_call_has_its_own_effect(sandbox: Sandbox):
    """Nothing is guessed about calls that have no name."""
    ref = a_name("ORD")
    references = {sandbox.authorize(ref=ref).json()["reference"] for _ in range(2)}
    assert len(references) == 2
    assert sandbox.rows("payments", ref) == [("authorize", "applied")] * 2


def test_a_key_belongs_to_one_request(sandbox: Sandbox):
    """The same key with another body or operation is refused, and the first answer stays."""
    key, ref = a_name("key"), a_name("ORD")
    reference = sandbox.authorize(ref=ref, key=key).json()["reference"]
    for other in (sandbox.authorize(ref=a_name("ORD"), key=key), sandbox.void(reference, key=key)):
        assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    assert sandbox.authorize(ref=ref, key=key).json()["reference"] == reference
    assert [row["effect"] for row in sandbox.ledger("payments") if row["key"] == key] == [
        "applied",
        "refused",
        "refused",
        "replayed",
    ]


@pytest.mark.parametrize("token", ["tok_ok", "tok_slow_200"])
def test_concurrent_twins_have_one_effect(sandbox: Sandbox, token: str):
    """Of many calls with one key at the same moment one acts, all get its answer."""
    ref = a_name("ORD")
    with ThreadPoolExecutor(8) as pool:
        twins = [pool.submit(sandbox.authorize, token, ref=ref, key=f"{ref}:a:1") for _ in range(16)]
        answers = [twin.result() for twin in twins]
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sorted(sandbox.rows("payments", ref)) == [
        ("authorize", "applied"),
        *[("authorize", "replayed")] * 15,
    ]


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("tok_declined", "card_declined"),
        ("tok_insufficient_funds", "insufficient_funds"),
        ("4242424242424242", "invalid_token"),
    ],
)
def test_a_declined_card_holds_no_money(sandbox: Sandbox, token: str, code: str):
    """The refusal is a stored answer; no authorization came into being."""
    ref = a_name("ORD")
    for replayed in (None, "true"):
        answer = sandbox.authorize(token, ref=ref, key=f"{ref}:a:1")
        assert (answer.status_code, answer.json()["code"]) == (402, code)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers.get("idempotent-replayed") == replayed
    rows = [row for row in sandbox.ledger("payments") if row["orderRef"] == ref]
    assert [(row["effect"], row["reference"], row["code"]) for row in rows] == [
        ("refused", None, code),
        ("replayed", None, code),
    ]
    looked_up = sandbox.operation("payments", f"{ref}:a:1").json()
    assert (looked_up["status"], looked_up["httpStatus"], looked_up["reference"]) == ("refused", 402, None)


def test_a_lookup_says_how_much_was_taken(sandbox: Sandbox):
    """Of the key of the capture, whatever had been reserved."""
    ref = a_name("ORD")
    reference = sandbox.authorize(ref=ref).json()["reference"]
    sandbox.capture(reference, amount=2400, key=f"{ref}:c:1")
    found = sandbox.operation("payments", f"{ref}:c:1").json()
    assert (found["operation"], found["httpStatus"]) == ("capture", 200)
    assert (found["amountMinor"], found["currency"]) == (2400, "USD")


def test_a_card_may_be_declined_later(sandbox: Sandbox):
    """The first authorization of the order stands, the next one is declined, and then the bank relents."""
    ref = a_name("ORD")
    statuses = [sandbox.authorize("tok_declined_later_1", ref=ref).status_code for _ in range(4)]
    assert statuses == [201, 402, 201, 201]


def test_an_unknown_token_that_starts_well_is_fine(sandbox: Sandbox):
    """Anything that starts with tok_ works, also one that looks like a script."""
    for token in ("tok_", "tok_ok_visa", "tok_500_many", "tok_declined_not"):
        assert sandbox.authorize(token).status_code == 201


def test_failures_come_first_and_leave_nothing(sandbox: Sandbox):
    """n calls answer 500 with nothing done and nothing stored; then the same key works."""
    ref = a_name("ORD")
    key = f"{ref}:a:1"
    for _ in range(2):
        failed = sandbox.authorize("tok_500_2", ref=ref, key=key)
        assert (failed.status_code, failed.json()["code"]) == (500, "provider_error")
        assert sandbox.operation("payments", key).status_code == 404
    assert sandbox.authorize("tok_500_2", ref=ref, key=key).status_code == 201
    assert sandbox.rows("payments", ref) == [
        ("authorize", "failed"),
        ("authorize", "failed"),
        ("authorize", "applied"),
    ]
    assert {row["reference"] for row in sandbox.ledger("payments") if row["orderRef"] == ref} > {None}


def test_a_slow_provider_answers_after_a_while(sandbox: Sandbox):
    """The first call waits, a replay does not."""
    ref = a_name("ORD")
    took: list[float] = []
    for _ in range(2):
        began = time.monotonic()
        assert sandbox.authorize("tok_slow_1500", ref=ref, key=f"{ref}:a:1").status_code == 201
        took.append(time.monotonic() - began)
    assert took[0] >= 1.5 > took[1]


def test_an_authorization_without_an_answer_was_made(sandbox: Sandbox):
    """The connection ends without a byte; lookup and replay tell the truth at once."""
    ref = a_name("ORD")
    key = f"{ref}:a:1"
    with pytest.raises(NO_ANSWER):
        sandbox.authorize("tok_timeout_done", ref=ref, key=key)
    assert sandbox.rows("payments", ref) == [("authorize", "applied")]
    looked_up = sandbox.operation("payments", key).json()
    replay = sandbox.authorize("tok_timeout_done", ref=ref, key=key)
    assert replay.status_code == 201
    assert looked_up == {
        "key": key,
        "operation": "authorize",
        "status": "authorized",
        "reference": replay.json()["reference"],
        "httpStatus": 201,
        "answer": replay.json(),
        "amountMinor": 2500,
        "currency": "USD",
    }
    assert sandbox.capture(replay.json()["reference"]).status_code == 200


def test_an_answer_may_come_long_after_the_deed(sandbox: Sandbox):
    """Who gives up waiting finds that it was done."""
    ref = a_name("ORD")
    body = {"amountMinor": 1, "currency": "USD", "token": "tok_timeout_done_1500", "orderRef": ref}
    headers = {"Idempotency-Key": f"{ref}:a:1"}
    with pytest.raises(httpx.ReadTimeout):
        sandbox.http.post("/payments/authorizations", json=body, headers=headers, timeout=0.3)
    replay = sandbox.http.post("/payments/authorizations", json=body, headers=headers, timeout=0.3)
    assert replay.headers["idempotent-replayed"] == "true"
    assert sandbox.rows("payments", ref) == [("authorize", "applied"), ("authorize", "replayed")]


def test_an_expired_authorization_is_not_captured(sandbox: Sandbox):
    """After expiresAt a capture is refused; a void is still fine."""
    reference = sandbox.authorize("tok_expires_0").json()["reference"]
    refused = sandbox.capture(reference)
    assert (refused.status_code, refused.json()["code"]) == (409, "expired")
    assert sandbox.void(reference).status_code == 200


def test_money_is_captured_once(sandbox: Sandbox):
    """Another key finds it captured; it can no longer be voided."""
    ref = a_name("ORD")
    reference = sandbox.authorize(ref=ref).json()["reference"]
    assert sandbox.capture(reference, key=f"{ref}:c:1").status_code == 200
    again = sandbox.capture(reference, key=f"{ref}:c:2")
    assert (again.status_code, again.json()["code"]) == (409, "already_captured")
    void = sandbox.void(reference, key=f"{ref}:v:1")
    assert (void.status_code, void.json()["code"]) == (409, "already_captured")
    assert sandbox.rows("payments", ref) == [
        ("authorize", "applied"),
        ("capture", "applied"),
        ("capture", "refused"),
        ("void", "refused"),
    ]


def test_a_second_void_says_the_same(sandbox: Sandbox):
    """Also with another key; what is voided is not captured."""
    ref = a_name("ORD")
    reference = sandbox.authorize(ref=ref).json()["reference"]
    for key in (f"{ref}:v:1", f"{ref}:v:1", f"{ref}:v:2", f"{ref}:v:2", None):
        answer = sandbox.void(reference, key=key)
        assert (answer.status_code, answer.json()) == (200, {"reference": reference, "status": "voided"})
    captured = sandbox.capture(reference)
    assert (captured.status_code, captured.json()["code"]) == (409, "voided")
    assert sandbox.rows("payments", ref) == [
        ("authorize", "applied"),
        ("void", "applied"),
        *[("void", "replayed")] * 4,
        ("capture", "refused"),
    ]


def test_no_more_is_captured_than_was_authorized(sandbox: Sandbox):
    """A larger capture is refused, a smaller one is taken as asked."""
    ref = a_name("ORD")
    reference = sandbox.authorize(ref=ref).json()["reference"]
    too_much = sandbox.capture(reference, amount=2501)
    assert (too_much.status_code, too_much.json()["code"]) == (409, "amount_too_large")
    assert sandbox.capture(reference, amount=2400).status_code == 200
    applied = [
        row for row in sandbox.ledger("payments") if row["orderRef"] == ref and row["effect"] == "applied"
    ]
    assert [row["amountMinor"] for row in applied] == [2500, 2400]


def test_a_scripted_capture_is_refused_or_fails(sandbox: Sandbox):
    """Refused for ever, refused for so many keys, or failing so often; then it works."""
    reference = sandbox.authorize("tok_capture_refused").json()["reference"]
    for n in range(3):
        refused = sandbox.capture(reference, key=f"{reference}:{n}")
        assert (refused.status_code, refused.json()["code"]) == (409, "capture_refused")

    reference = sandbox.authorize("tok_capture_refused_1").json()["reference"]
    codes = [sandbox.capture(reference, key=f"{reference}:{n}").status_code for n in (1, 1, 2)]
    assert codes == [409, 409, 200]

    ref = a_name("ORD")
    reference = sandbox.authorize("tok_capture_500_2", ref=ref).json()["reference"]
    codes = [sandbox.capture(reference, key=f"{ref}:c:1").status_code for _ in range(4)]
    assert codes == [500, 500, 200, 200]
    assert [effect for operation, effect in sandbox.rows("payments", ref) if operation == "capture"] == [
        "failed",
        "failed",
        "applied",
        "replayed",
    ]


def test_a_scripted_void_is_refused_or_fails(sandbox: Sandbox):
    """Nothing is voided before the answer says so."""
    reference = sandbox.authorize("tok_void_refused").json()["reference"]
    refused = sandbox.void(reference)
    assert (refused.status_code, refused.json()["code"]) == (409, "void_refused")
    assert sandbox.capture(reference).status_code == 200

    reference = sandbox.authorize("tok_void_500_1").json()["reference"]
    assert [sandbox.void(reference, key=f"{reference}:v").status_code for _ in range(2)] == [500, 200]


@pytest.mark.parametrize("operation", ["capture", "void"])
def test_a_capture_or_void_without_an_answer_was_made(sandbox: Sandbox, operation: str):
    """The same truth for the two calls that settle an authorization."""
    ref = a_name("ORD")
    reference = sandbox.authorize(f"tok_{operation}_timeout_done", ref=ref).json()["reference"]
    call = sandbox.capture if operation == "capture" else sandbox.void
    with pytest.raises(NO_ANSWER):
        call(reference, key=f"{ref}:1")
    assert sandbox.rows("payments", ref)[-1] == (operation, "applied")
    assert (
        sandbox.operation("payments", f"{ref}:1").json()["answer"] == call(reference, key=f"{ref}:1").json()
    )
