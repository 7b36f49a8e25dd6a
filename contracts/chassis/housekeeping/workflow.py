"""One look of the reconciler: the workflow that a service's schedule starts."""

from temporalio import workflow

from contracts.chassis.housekeeping.activities import Housekeeping
from contracts.chassis.temporal.activities import Policy, start_outside


@workflow.defn(name="reconcileWorkflow")
class ReconcileWorkflow:
    """Looks for what does not add up, then deletes what is too old."""

    @workflow.run
    async def run(self) -> dict[str, int]:
        """How many cases were settled, by kind. A look that fails is over; the next one is near."""
        settled = await start_outside(Housekeeping.reconcile, policy=Policy.HOUSEKEEPING)
        await start_outside(Housekeeping.clean_up, policy=Policy.HOUSEKEEPING)
        return settled
