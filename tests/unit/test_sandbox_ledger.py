"""The sandbox's ledger file and its table of scenarios, without a process."""

import sqlite3
from pathlib import Path

import pytest

from deploy.sandbox.ledger import PAGE, Ledger
from deploy.sandbox.misbehaviour import NONE, POSTAL_CODES, TOKENS, Scenario, trouble_of
from deploy.sandbox.verdicts import Call, Entry, Verdict


def _perform(ledger: Ledger, key: str | None) -> None:
    entry = Entry("applied", reference="auth_1", subject="ORD-1", amount_minor=1)
    ledger.perform(Call("authorize", key, b"same"), NONE, lambda: Verdict(entry, 201, "authorized", {}))


@pytest.mark.parametrize("statement", ["update ledger set amount_minor = 0", "delete from ledger"])
def test_a_row_is_neither_changed_nor_removed(tmp_path: Path, statement: str):
    """The file itself refuses, whoever opens it."""
    ledger = Ledger(tmp_path / "payments.sqlite3", subject_field="orderRef")
    _perform(ledger, "a:1")
    ledger.close()
    with (
        sqlite3.connect(tmp_path / "payments.sqlite3") as database,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        database.execute(statement)


def test_a_decision_that_fails_leaves_nothing(tmp_path: Path):
    """Row, state and answer are one transaction; the next call is not disturbed."""
    ledger = Ledger(tmp_path / "payments.sqlite3", subject_field="orderRef")

    def broken() -> Verdict:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        ledger.perform(Call("authorize", "a:1", b"same"), NONE, broken)
    assert list(ledger.pages(0)) == []
    _perform(ledger, "a:1")
    assert [row["effect"] for page in ledger.pages(0) for row in page] == ["applied"]
    ledger.close()


def test_a_long_ledger_is_read_in_pages_without_gaps(tmp_path: Path):
    """Rows written while reading wait for the next reader."""
    ledger = Ledger(tmp_path / "payments.sqlite3", subject_field="orderRef")
    for _ in range(PAGE + 5):
        _perform(ledger, None)
    pages = ledger.pages(3)
    seen = next(pages)
    _perform(ledger, None)
    seen += next(pages)
    assert [row["seq"] for row in seen] == list(range(4, PAGE + 6))
    assert list(pages) == []
    ledger.close()


@pytest.mark.parametrize("scenario", TOKENS + POSTAL_CODES, ids=lambda scenario: scenario.trigger)
def test_every_listed_trigger_makes_trouble(scenario: Scenario):
    """What /scenarios lists is what happens, in that operation only."""
    written = scenario.trigger.partition("<")[0] + ("1" if "<" in scenario.trigger else "")
    assert trouble_of(written, scenario.operation) == scenario.trouble(1) != NONE
    assert trouble_of(f"{written}x", scenario.operation) == NONE


def test_no_two_scenarios_share_a_trigger():
    """A token or postal code makes one kind of trouble in one operation."""
    for scenario in TOKENS + POSTAL_CODES:
        for other in TOKENS + POSTAL_CODES:
            written = other.trigger.replace("<n>", "1").replace("<ms>", "1").replace("<seconds>", "1")
            same = scenario is not other and scenario.operation == other.operation
            assert not (same and scenario.pattern.fullmatch(written)), (scenario.trigger, other.trigger)
