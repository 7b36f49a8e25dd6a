"""Whether workflows run that should, asked of Temporal itself and not of its search."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from contracts.chassis.errors import Unavailable
from contracts.chassis.telemetry import quiet

AT_ONCE = 10
"""So many questions are out at a time; each costs the server a millisecond or two."""


@dataclass(frozen=True, slots=True)
class Presence:
    """What Temporal knows under a workflow id."""

    run: str
    """The status of its last run, or `NONE`."""
    run_id: str = ""

    @property
    def is_running(self) -> bool:
        return self.run == "RUNNING"

    @property
    def is_completed(self) -> bool:
        return self.run == "COMPLETED"


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
        return Presence(status.name, described.run_id)
