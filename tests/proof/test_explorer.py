"""The selection that CI explores: nothing breaks, and every seeded bug is found."""

import pytest

from tests.proof.explorer import explored

LONGEST_SECONDS = 1800
"""Three minutes on two quiet cores; a busy machine is no failure."""


@pytest.mark.timeout(LONGEST_SECONDS)
def test_every_wish_at_every_boundary_leaves_the_promises_whole():
    """No schedule is bad; the shortest bad one is shown as a line to replay. Each seeded bug is found."""
    report = explored(tell=print)
    assert report.shortest is None, "\n".join(report.report(0).lines())
    assert report.missed == []
    assert report.schedules > 5_000
