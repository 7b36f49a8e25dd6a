"""What a service does for its own order, beside all that anybody waits for: reconcile and clean up."""

from contracts.chassis.housekeeping.activities import Housekeeping
from contracts.chassis.housekeeping.clean_up import CleanUp, leftovers
from contracts.chassis.housekeeping.schedule import keep_schedule, schedule_id
from contracts.chassis.housekeeping.workflow import ReconcileWorkflow

__all__ = [
    "CleanUp",
    "Housekeeping",
    "ReconcileWorkflow",
    "keep_schedule",
    "leftovers",
    "schedule_id",
]
