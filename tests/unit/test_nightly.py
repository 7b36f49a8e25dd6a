"""The night's proofs, part by part."""

import argparse

import pytest

from tests.proof import nightly
from tests.proof.report import Report


def test_a_part_that_breaks_off_is_a_violation_and_the_others_tell_theirs(monkeypatch: pytest.MonkeyPatch):
    """Hours of figures are not lost with it."""

    def breaks_off(_: argparse.Namespace) -> list[tuple[str, Report]]:
        raise TimeoutError("nothing came")

    def goes_well(_: argparse.Namespace) -> list[tuple[str, Report]]:
        return [("recovery", Report(seed=3, exercised={"kills": 4}))]

    monkeypatch.setattr(nightly, "PARTS", {"chaos": breaks_off, "recovery": goes_well})
    whole = nightly.run(argparse.Namespace(only=["chaos", "recovery"], kafka="embedded"))
    assert [(each.invariant, each.evidence) for each in whole.violations] == [
        (nightly.CARRIED_OUT, "chaos: TimeoutError: nothing came")
    ]
    assert whole.exercised["recovery"]["kills"] == 4
    assert whole.exercised["kafka"] == "embedded"
    assert not whole.is_good
