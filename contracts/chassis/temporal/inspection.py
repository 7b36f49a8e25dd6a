"""What Temporal says of a workflow, for whoever wants to know why it waits.

Asked by the REST door, which must answer while Temporal is away: so two seconds at most, and "it does not
answer" is a finding.
"""

import asyncio
from datetime import UTC, datetime, timedelta

import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.enums.v1 import PendingActivityState, TaskQueueType
from temporalio.api.failure.v1 import Failure
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.service import RPCError, RPCStatusCode

from contracts.chassis.explanation import Inspection, PendingActivity
from contracts.chassis.settings import Profile
from contracts.chassis.telemetry import quiet
from contracts.chassis.temporal.wiring import onlooker

log = structlog.get_logger()

LONGEST_SECONDS = 2.0
_RPC = timedelta(seconds=LONGEST_SECONDS)


class Inspector:
    """Asks about the workflows of one namespace and the workers of its queue."""

    def __init__(self, profile: Profile, task_queue: str) -> None:
        self._profile: Profile = profile
        self._task_queue = task_queue
        self._client: Client | None = None

    async def inspect(self, workflow_id: str) -> Inspection:
        """What Temporal says; an Inspection without an answer when it says nothing in time."""
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                self._client = self._client or await onlooker(self._profile)
                with quiet():
                    found, polled = await asyncio.gather(
                        self._described(self._client, workflow_id), self._last_poll(self._client)
                    )
        except (RPCError, RuntimeError, TimeoutError) as error:
            log.warning("Temporal cannot be asked", reason=type(error).__name__)
            return Inspection(answers=False)
        return _inspection(found, polled)

    async def _described(self, client: Client, workflow_id: str) -> WorkflowExecutionDescription | None:
        try:
            return await client.get_workflow_handle(workflow_id).describe(rpc_timeout=_RPC)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise

    async def _last_poll(self, client: Client) -> datetime | None:
        """When a worker last asked for work; the server forgets it after five minutes."""
        asked = DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=self._task_queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        )
        answer = await client.workflow_service.describe_task_queue(asked, timeout=_RPC)
        polls = [_moment(poller.last_access_time) for poller in answer.pollers]
        return max((poll for poll in polls if poll), default=None)


def _inspection(found: WorkflowExecutionDescription | None, polled: datetime | None) -> Inspection:
    if found is None:
        return Inspection(run="NONE", last_poll_at=polled)
    raw = found.raw_description
    task = raw.pending_workflow_task
    waits = raw.HasField("pending_workflow_task") and not task.HasField("started_time")
    return Inspection(
        run=found.status.name if found.status else "RUNNING",
        closed_at=found.close_time,
        pending=tuple(_pending(each) for each in raw.pending_activities),
        last_poll_at=polled,
        task_since=_moment(task.original_scheduled_time) if waits else None,
    )


def _pending(activity: PendingActivityInfo) -> PendingActivity:
    is_running = activity.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
    since = activity.last_started_time if is_running else activity.scheduled_time
    next_at = None if is_running else _moment(activity.next_attempt_schedule_time)
    return PendingActivity(
        name=activity.activity_type.name,
        attempt=activity.attempt,
        failure=_kind(activity.last_failure) if activity.HasField("last_failure") else None,
        # Between two attempts it is scheduled for the next one, which lies ahead.
        since=None if next_at else _moment(since),
        next_at=next_at,
        is_running=is_running,
        queue=activity.activity_options.task_queue.name or None,
    )


def _kind(failure: Failure) -> str:
    """The failure by its name only: its text may be anybody's."""
    if failure.HasField("application_failure_info"):
        return failure.application_failure_info.type or "ERROR"
    return "TIMEOUT" if failure.HasField("timeout_failure_info") else "ERROR"


def _moment(stamp: Timestamp) -> datetime | None:
    """None for a stamp that was never set."""
    return stamp.ToDatetime(UTC) if stamp.seconds else None
