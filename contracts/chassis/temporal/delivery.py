"""How knocks reach our own workflows, and how a workflow that was ended from outside is found."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from temporalio.client import Client, WorkflowExecution
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from contracts.chassis.errors import Unavailable
from contracts.chassis.knocks import DueKnock
from contracts.chassis.telemetry import quiet
from contracts.envelope import Wish

log = structlog.get_logger()

REVIVE_EVERY = timedelta(seconds=15)
LOOK_BACK = timedelta(days=30)
"""The namespace's retention: what was closed earlier is not in Temporal any more."""
VISIBLE_WITHIN = timedelta(minutes=1)
"""What has ended is in Temporal's lists by then."""


@dataclass(frozen=True, slots=True)
class Target:
    """The kind of workflow a service runs, and how its id names what it is about."""

    workflow_type: str
    task_queue: str
    argument_of: Callable[[str], str]
    """From a workflow id to the id its `run` takes."""


class Delivery:
    """Signal-with-start for one kind of workflow in our own namespace."""

    def __init__(self, client: Client, target: Target) -> None:
        self._client = client
        self._target = target

    async def deliver(self, knock: DueKnock) -> None:
        """The workflow has the signal, started if it did not run; one that completed needs none.

        Nor does one of a name that no workflow of ours can have. Raises Unavailable when Temporal does not
        answer."""
        try:
            argument = self._target.argument_of(knock.workflow_id)
        except ValueError:
            log.error("knock at nobody", reason="not the id of a workflow of ours")
            return
        wish = [] if knock.command_id is None else [Wish(command_id=knock.command_id)]
        try:
            await self._client.start_workflow(
                self._target.workflow_type,
                argument,
                id=knock.workflow_id,
                task_queue=self._target.task_queue,
                # REJECT_DUPLICATE would make an order unrecoverable whose workflow was terminated.
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
                start_signal=knock.signal,
                start_signal_args=wish,
                static_summary=argument,
            )
        except WorkflowAlreadyStartedError:
            log.info("knock not needed, workflow completed", workflow_id=knock.workflow_id)
        except (RPCError, RuntimeError) as error:  # a lazy client's first connection raises RuntimeError
            raise Unavailable("Temporal does not answer") from error

    async def revive(self, knock_open: Callable[[Mapping[str, str]], Awaitable[int]]) -> None:
        """Workflows that were ended from outside are knocked while their stream is open.

        Runs until cancelled. `knock_open` is given the run that ended of each workflow, inserts the knocks
        and says how many it inserted."""
        since = datetime.now(UTC) - LOOK_BACK
        known: Set[str] = set()
        while True:
            try:
                with quiet():
                    closed = {found.run_id: found for found in await self._closed_since(since)}
                    ended = {found.id: run_id for run_id, found in closed.items() if run_id not in known}
                    revived = await knock_open(ended) if ended else 0
            except (RPCError, RuntimeError, Unavailable):
                log.warning(
                    "cannot look for ended workflows", reason="Temporal or the database does not answer"
                )
            else:
                if revived:
                    log.warning("workflows revived", count=revived)
                # Visibility lags behind, so the last minute is looked at again; each run is knocked for once.
                # Counted from what has ended, by Temporal's clock: ours may be minutes wrong.
                known = closed.keys()
                ended_at = [found.close_time for found in closed.values() if found.close_time]
                since = max([since, *(at - VISIBLE_WITHIN for at in ended_at)])
            await asyncio.sleep(REVIVE_EVERY.total_seconds())

    async def _closed_since(self, since: datetime) -> list[WorkflowExecution]:
        query = (
            f"WorkflowType = '{self._target.workflow_type}'"
            " AND ExecutionStatus IN ('Canceled', 'Terminated', 'Failed', 'TimedOut')"
            f" AND CloseTime > '{since.isoformat()}'"
        )
        return [found async for found in self._client.list_workflows(query)]
