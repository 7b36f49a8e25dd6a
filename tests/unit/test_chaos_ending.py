"""What is recorded of the end of a run."""

import pytest

from tests.proof.chaos.ending import is_a_look
from tests.proof.record import Ended


@pytest.mark.parametrize(
    ("workflow_id", "status", "is_left_out"),
    [
        ("reconcile-orders-2026-11-22T01:03:00Z", "running", True),
        ("reconcile-orders-2026-11-22T01:03:00Z", "failed", False),
        ("order-workflow-ORD-1", "running", False),
    ],
)
def test_a_look_of_the_reconciler_that_has_just_begun_is_no_order_without_an_end(
    workflow_id: str, status: str, is_left_out: bool
):
    """It begins every minute, also while the record is taken; one that failed is still told."""
    assert is_a_look(Ended(workflow_id, status, None)) is is_left_out
