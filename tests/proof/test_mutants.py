"""The checker is checked: what it does not catch, it does not watch."""

import pytest

from tests.proof.mutants.hunt import STORED, hunted

ENOUGH = 25


@pytest.mark.timeout(1200)
def test_each_seeded_bug_is_caught_by_its_invariant():
    """And the same run without the bug is clean. Those that need a PostgreSQL are tests of the store."""
    report = hunted(stored=False, tell=print)
    assert report.violations == [], "\n".join(report.lines())
    assert report.exercised["caught"] + len(STORED) >= ENOUGH
