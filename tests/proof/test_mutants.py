"""The checker is checked: what it does not catch, it does not watch."""

import pytest

from tests.proof.mutants.hunt import hunted

ENOUGH = 25


@pytest.mark.timeout(1200)
def test_each_seeded_bug_is_caught_by_its_invariant():
    """And the same run without the bug is clean; no invariant is without a bug."""
    report = hunted(tell=print)
    assert report.violations == [], "\n".join(report.lines())
    assert report.exercised["caught"] >= ENOUGH
