"""The carrier: what it answers, how it misbehaves, and that its ledger is true."""

import time

import pytest

from tests.integration.sandbox.driver import NO_ANSWER, Sandbox, a_name


def test_a_parcel_is_labelled_and_handed_over(sandbox: Sandbox):
    """The ledger tells which postal code the handed-over label carried."""
    ref = a_name("PARCEL")
    label = sandbox.label("10115", ref=ref).json()
    assert label["costMinor"] > 0
    assert label["currency"] == "USD"
    handed = sandbox.hand_over(label["trackingReference"])
    assert handed.status_code == 201
    assert set(handed.json()) == {"reference", "handedOverAt"}
    rows = [row for row in sandbox.ledger("carrier") if row["parcelRef"] == ref]
    assert [(row["operation"], row["effect"], row.get("zipCode")) for row in rows] == [
        ("label", "applied", "10115"),
        ("hand-over", "applied", None),
    ]
    assert {row["reference"] for row in rows} == {label["trackingReference"]}


def test_an_address_nobody_delivers_to_gets_no_label(sandbox: Sandbox):
    """422, stored under the key, without a label."""
    ref = a_name("PARCEL")
    refused = sandbox.label("00001", ref=ref, key=f"{ref}:l:1")
    assert (refused.status_code, refused.json()["code"]) == (422, "address_undeliverable")
    row = next(row for row in sandbox.ledger("carrier") if row["parcelRef"] == ref)
    assert (row["effect"], row["reference"], row["zipCode"]) == ("refused", None, "00001")


def test_a_label_fails_as_often_as_the_postal_code_says(sandbox: Sandbox):
    """Counted for each parcel, whatever the key."""
    ref = a_name("PARCEL")
    codes = [sandbox.label("50002", ref=ref, key=f"{ref}:l:{n}").status_code for n in (1, 2, 2)]
    assert codes == [500, 500, 201]
    assert sandbox.label("50000").status_code == 201
    assert sandbox.label("50002").status_code == 500


def test_a_slow_carrier_answers_after_two_seconds(sandbox: Sandbox):
    """Slow is not broken."""
    began = time.monotonic()
    assert sandbox.label("40800").status_code == 201
    assert time.monotonic() - began >= 2


def test_a_label_without_an_answer_was_booked(sandbox: Sandbox):
    """One label, found by its key."""
    ref = a_name("PARCEL")
    with pytest.raises(NO_ANSWER):
        sandbox.label("50400", ref=ref, key=f"{ref}:l:1")
    found = sandbox.operation("carrier", f"{ref}:l:1").json()
    assert (found["operation"], found["status"], found["httpStatus"]) == ("label", "booked", 201)
    assert sandbox.label("50400", ref=ref, key=f"{ref}:l:1").json() == found["answer"]
    assert found["reference"] == found["answer"]["trackingReference"]
    assert sandbox.rows("carrier", ref) == [("label", "applied"), ("label", "replayed")]


@pytest.mark.parametrize("zip_code", ["50401", "50402"])
def test_a_hand_over_or_voided_label_without_an_answer_was_done(sandbox: Sandbox, zip_code: str):
    """The parcel is gone, or its label is, and the key tells."""
    ref = a_name("PARCEL")
    tracking = sandbox.label(zip_code, ref=ref).json()["trackingReference"]
    call = sandbox.hand_over if zip_code == "50401" else sandbox.void_label
    with pytest.raises(NO_ANSWER):
        call(tracking, key=f"{ref}:1")
    found = sandbox.operation("carrier", f"{ref}:1").json()
    assert call(tracking, key=f"{ref}:1").json() == found["answer"]
    assert [effect for _, effect in sandbox.rows("carrier", ref)] == ["applied", "applied", "replayed"]


def test_a_hand_over_may_be_refused_once(sandbox: Sandbox):
    """The refusal keeps its key; the next key hands over."""
    ref = a_name("PARCEL")
    tracking = sandbox.label("40900", ref=ref).json()["trackingReference"]
    codes = [sandbox.hand_over(tracking, key=f"{ref}:h:{n}").status_code for n in (1, 1, 2)]
    assert codes == [409, 409, 201]
    assert [row for row in sandbox.rows("carrier", ref) if row[0] == "hand-over"] == [
        ("hand-over", "refused"),
        ("hand-over", "replayed"),
        ("hand-over", "applied"),
    ]


@pytest.mark.parametrize("zip_code", ["50101", "50201"])
def test_hand_over_and_void_of_a_label_may_fail(sandbox: Sandbox, zip_code: str):
    """Once for the parcel, then the same key works."""
    tracking = sandbox.label(zip_code).json()["trackingReference"]
    call = sandbox.hand_over if zip_code == "50101" else sandbox.void_label
    assert call(tracking, key=f"{tracking}:1").status_code == 500
    assert call(tracking, key=f"{tracking}:1").is_success


def test_a_voided_label_moves_no_parcel(sandbox: Sandbox):
    """Voiding twice says the same; what was handed over is not voided, nor handed over again."""
    tracking = sandbox.label().json()["trackingReference"]
    for _ in range(2):
        assert sandbox.void_label(tracking).json() == {"trackingReference": tracking, "status": "voided"}
    refused = sandbox.hand_over(tracking)
    assert (refused.status_code, refused.json()["code"]) == (409, "label_voided")

    tracking = sandbox.label().json()["trackingReference"]
    assert sandbox.hand_over(tracking).status_code == 201
    for refused in (sandbox.hand_over(tracking), sandbox.void_label(tracking)):
        assert (refused.status_code, refused.json()["code"]) == (409, "already_handed_over")
