"""A Temporal client with just what the bridges and the knocks' delivery use, on the virtual server."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from contracts.values import Outcome
from tests.proof.simulation import runner
from tests.proof.simulation.database import Behaviour
from tests.proof.simulation.scheduler import Scheduler
from tests.proof.simulation.temporal import Execution, NobodyAnswers, Server, Status

T = TypeVar("T")
_STATUSES = {
    Status.RUNNING: WorkflowExecutionStatus.RUNNING,
    Status.COMPLETED: WorkflowExecutionStatus.COMPLETED,
    Status.FAILED: WorkflowExecutionStatus.FAILED,
    Status.TERMINATED: WorkflowExecutionStatus.TERMINATED,
    Status.CONTINUED: WorkflowExecutionStatus.CONTINUED_AS_NEW,
}


@dataclass(frozen=True)
class Description:
    status: WorkflowExecutionStatus
    close_time: datetime | None


class Client:
    """Speaks to one namespace; between each request and its answer others may go on."""

    def __init__(self, server: Server, scheduler: Scheduler, namespace: str) -> None:
        self._server = server
        self._scheduler = scheduler
        self._namespace = namespace
        self.behaviours: list[Behaviour] = []
        """How the next starts and signals go; then all goes well."""

    async def answered(self, ask: Callable[[], T]) -> T:
        """The server's answer, which may be lost, or never have been asked for."""
        behaviour = self.behaviours.pop(0) if self.behaviours else "ok"
        if behaviour == "away":
            raise _unavailable()
        answer = ask()
        if behaviour == "lost":
            raise _unavailable()
        return answer

    async def start_workflow(
        self,
        run: Any,
        argument: Any,
        *,
        id: str,  # noqa: A002  Temporal's own word
        task_queue: str,
        id_reuse_policy: WorkflowIDReusePolicy,
        start_signal: str | None = None,
        start_signal_args: Sequence[Any] = (),
        static_summary: str | None = None,
    ) -> None:
        signal = runner.signalled(start_signal, runner.packed(*start_signal_args)) if start_signal else None
        await self._scheduler.stage("asks")
        arguments = runner.packed(argument)
        await self.answered(
            lambda: self._server.start(self._namespace, id, arguments, reuse=id_reuse_policy, signal=signal)
        )
        await self._scheduler.stage("told")

    def get_workflow_handle_for(self, run: Any, workflow_id: str) -> "Handle":
        return Handle(self, self._server, self._scheduler, self._namespace, workflow_id)

    def get_workflow_handle(self, workflow_id: str) -> "Handle":
        return Handle(self, self._server, self._scheduler, self._namespace, workflow_id)


class Handle:
    """One workflow, by its id."""

    def __init__(
        self, client: Client, server: Server, scheduler: Scheduler, namespace: str, workflow_id: str
    ) -> None:
        self._client = client
        self._server = server
        self._scheduler = scheduler
        self._namespace = namespace
        self._workflow_id = workflow_id

    async def signal(self, signal: Any, *arguments: Any) -> None:
        job = runner.signalled(runner.signal_name(signal), runner.packed(*arguments))
        await self._scheduler.stage("signals")
        if not await self._client.answered(
            lambda: self._server.signal(self._namespace, self._workflow_id, job)
        ):
            raise _not_found()
        await self._scheduler.stage("signalled")

    async def query(self, query: Any) -> Any:
        name, kind = runner.query_of(query)
        try:
            return await self._server.query(self._found(), name, kind)
        except NobodyAnswers as error:
            raise RPCError("no worker answers", RPCStatusCode.DEADLINE_EXCEEDED, b"") from error

    async def describe(self) -> Description:
        found = self._found()
        return Description(_STATUSES[found.status], found.closed_at)

    async def result(self) -> Outcome:
        execution = self._found()
        if execution.status is Status.COMPLETED and execution.result is not None:
            return runner.unpacked(execution.result, Outcome)
        if execution.is_open:
            raise NotImplementedError("nobody waits for a result of a workflow that runs")
        raise WorkflowFailureError(cause=ApplicationError(execution.failure or execution.status.value))

    def _found(self) -> Execution:
        found = self._server.find(self._namespace, self._workflow_id)
        if found is None:
            raise _not_found()
        return found


def _unavailable() -> RPCError:
    return RPCError("no answer", RPCStatusCode.UNAVAILABLE, b"")


def _not_found() -> RPCError:
    return RPCError("workflow not found", RPCStatusCode.NOT_FOUND, b"")
