"""The Temporal Schedule of a service's reconciler: one, however many workers keep it."""

from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)

from contracts.chassis.housekeeping.workflow import ReconcileWorkflow
from contracts.chassis.settings import Profile

CATCH_UP = timedelta(seconds=30)
"""What was missed while Temporal was away is not made up for: one look sees it all."""


def schedule_id(profile: Profile) -> str:
    return f"reconcile-{profile}"


async def keep_schedule(client: Client, profile: Profile, task_queue: str, every: timedelta) -> None:
    """The schedule is there and as this says; one that somebody paused stays paused.

    Raises RPCError when Temporal does not answer."""
    wanted = Schedule(
        action=ScheduleActionStartWorkflow(
            ReconcileWorkflow.run, id=schedule_id(profile), task_queue=task_queue
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=CATCH_UP),
    )
    try:
        await client.create_schedule(schedule_id(profile), wanted)
    except ScheduleAlreadyRunningError:
        await client.get_schedule_handle(schedule_id(profile)).update(lambda found: _changed(found, wanted))


def _changed(found: ScheduleUpdateInput, wanted: Schedule) -> ScheduleUpdate | None:
    """Nothing is written where nothing differs: every start of a worker comes by here."""
    there = found.description.schedule
    if _said(there) == _said(wanted):
        return None
    wanted.state = there.state
    return ScheduleUpdate(wanted)


def _said(schedule: Schedule) -> tuple[object, ...]:
    action = schedule.action
    assert isinstance(action, ScheduleActionStartWorkflow)
    intervals = [each.every for each in schedule.spec.intervals]
    policy = schedule.policy
    return action.workflow, action.task_queue, intervals, policy.overlap, policy.catchup_window
