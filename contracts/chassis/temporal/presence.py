"""Whether workflows run that should, asked of Temporal itself and not of its search."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from contracts.chassis.errors import Unavailable
from contracts.chassis.telemetry import quiet
from contracts.chassis.temporal.patience import TRIES_OF_A_BUG
from contracts.values import Code

AT_ONCE = 10
"""So many questions are out at a time; each costs the server a millisecond or two."""


@dataclass(frozen=True, slots=True)
class Failing:
    """What is tried again and again, and fails each time of a mistake of ours."""

    what: str
    """The activity, or `workflow task` for the workflow's own code."""
    attempts: int
    error: str
    """The last one's kind."""


@dataclass(frozen=True, slots=True)
class Presence:
    """What Temporal knows under a workflow id."""

    run: str
    """The status of its last run, or `NONE`."""
    run_id: str = ""
    failing: Failing | None = None

    @property
    def is_running(self) -> bool:
        return self.run == "RUNNING"

    @property
    def is_completed(self) -> bool:
        return self.run == "COMPLETED"

    @property
    def evidence(self) -> dict[str, Any]:
        """What a person is told of it."""
        failing = self.failing
        told = (
            {"fails": failing.what, "attempts": failing.attempts, "error": failing.error} if failing else {}
        )
        return {"workflow": self.run, **told}

    def mark(self, version: int) -> str:
        """Tells this case from an earlier one; what fails at another version of its stream is told anew."""
        if self.is_running:
            return f"{self.failing.what} v{version}" if self.failing else ""
        return self.run_id or f"v{version}"


class Attendance:
    """Asks about the workflows of one namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def of(self, workflow_ids: Sequence[str]) -> dict[str, Presence]:
        """Each of them. Raises Unavailable when Temporal does not answer."""
        turns = asyncio.Semaphore(AT_ONCE)

        async def ask(workflow_id: str) -> Presence:
            async with turns:
                return await self._of(workflow_id)

        with quiet():
            found = await asyncio.gather(*(ask(name) for name in workflow_ids))
        return dict(zip(workflow_ids, found, strict=True))

    async def _of(self, workflow_id: str) -> Presence:
        try:
            described = await self._client.get_workflow_handle(workflow_id).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return Presence("NONE")
            raise Unavailable("Temporal does not answer") from error
        status = described.status or WorkflowExecutionStatus.RUNNING
        return Presence(status.name, described.run_id, _failing(described.raw_description))


def _failing(described: DescribeWorkflowExecutionResponse) -> Failing | None:
    """None as well for what may pass by itself: our own errors have a code, and what is away comes back."""
    for activity in described.pending_activities:
        error = activity.last_failure.application_failure_info.type
        if activity.attempt > TRIES_OF_A_BUG and error and error not in list(Code):
            return Failing(activity.activity_type.name, activity.attempt - 1, error)
    task = described.pending_workflow_task
    return Failing("workflow task", task.attempt - 1, "bug") if task.attempt > TRIES_OF_A_BUG else None
