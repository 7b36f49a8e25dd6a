"""A Temporal server and its workers, virtual: executions, workflow tasks, activities, timers, replays.

As on the server: what arrives while a workflow task runs waits for the next one; commands count when the task
completes; a workflow cannot close over something it has not seen. As in the SDK's core: local activities run
inside their workflow task, so a worker that is killed in the middle runs them again; a worker without the
workflow in its memory replays it, and a replay that asks for something else is a violation.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from functools import partial
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.common import RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError

from contracts.chassis.errors import TandemError
from contracts.chassis.telemetry import attached, current_traceparent
from contracts.chassis.temporal.patience import SPENT, why
from contracts.chassis.temporal.translation import translated
from tests.proof.simulation import runner
from tests.proof.simulation.runner import Activation, Command, Instance, Job, Run
from tests.proof.simulation.scheduler import Attempted, Scheduler, point, sleep

TASK_TIMEOUT_SECONDS = 10.0
"""After so long the server gives a dead worker's workflow task to another one."""
QUERY_SECONDS, QUERY_TRIES = 4.0, 40
LONGEST_HISTORY = 400
"""Workflow tasks of one run; who needs more goes round in circles."""


class Status(Enum):
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    TERMINATED = "terminated"
    CONTINUED = "continued as new"


class NobodyAnswers(Exception):
    """A query for which no worker had time."""


class Endless(Exception):
    """A run that never comes to an end."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One activation of a workflow, and what it asked for."""

    activation: Activation
    jobs: tuple[Job, ...]
    commands: tuple[bytes, ...]


@dataclass(eq=False)
class Execution:
    """One run of one workflow, as the server knows it."""

    run: Run
    arguments: list[Payload]
    status: Status = Status.RUNNING
    closed_at: datetime | None = None
    result: Payload | None = None
    failure: str | None = None
    history: list[Turn] = field(default_factory=list[Turn])
    """Every activation of the workflow tasks that completed."""
    tasks: int = 0
    events: int = 0
    waiting: list[Job] = field(default_factory=list[Job])
    """What happened and no workflow task has seen."""
    timers: set[int] = field(default_factory=set[int])
    instance: Instance | None = None
    is_busy: bool = False
    """A workflow task is under way, or due after its time-out."""
    deaths: int = 0
    """So many workers died over it."""

    trace: str | None = None
    """The traceparent of whoever started it: in this trace all that it does is done."""

    @property
    def is_open(self) -> bool:
        return self.status is Status.RUNNING

    @property
    def length(self) -> int:
        """About as many events as a server's history has: three of each workflow task, two of each timer
        and three of each activity, one of each signal and local activity."""
        return 3 * self.tasks + sum(len(turn.commands) + len(turn.jobs) for turn in self.history)


@dataclass(frozen=True)
class Worker:
    """What one service runs."""

    name: str
    namespace: str
    task_queue: str
    workflow: type
    activities: dict[str, Callable[..., Awaitable[Any]]]


class Room:
    """When the server suggests to continue as new."""

    def __init__(self, tasks: int | None = None) -> None:
        self._tasks = tasks

    def is_short(self, execution: Execution) -> bool:
        return self._tasks is not None and execution.tasks >= self._tasks


class Server:
    """Both namespaces, and the workers that poll them."""

    def __init__(self, scheduler: Scheduler, room: Room | None = None) -> None:
        self._scheduler = scheduler
        self._room = room or Room()
        self._workers: dict[str, Worker] = {}
        self._executions: dict[tuple[str, str], list[Execution]] = {}
        self._counts: dict[str, int] = {}
        self._attempts: dict[str, dict[Attempt, None]] = {}
        """By worker; a dictionary for its order: the same run must be the same in every process."""
        self.troubles: list[str] = []
        """Replays that asked for something else, and workflow code that raised."""
        self.refuse_signals: Callable[[str, str], bool] = lambda _id, _name: False
        """True loses the signal on its way, though the sender is told that it came."""
        self.is_evicted: Callable[[], bool] = lambda: False
        """Asked before each workflow task; True: its worker has dropped the workflow and has to replay it."""
        self.times_out = False
        """Whether an activity that takes too long is tried again while it still goes on."""
        scheduler.on_kill.append(self._worker_died)

    def poll(self, worker: Worker) -> None:
        self._workers[worker.namespace] = worker
        self._attempts[worker.name] = {}

    @property
    def executions(self) -> list[Execution]:
        return [run for runs in self._executions.values() for run in runs]

    # What clients may ask for.

    def find(self, namespace: str, workflow_id: str) -> Execution | None:
        runs = self._executions.get((namespace, workflow_id))
        return runs[-1] if runs else None

    def start(
        self,
        namespace: str,
        workflow_id: str,
        arguments: Sequence[Payload],
        *,
        reuse: WorkflowIDReusePolicy,
        signal: Job | None,
    ) -> None:
        """It runs and has the signal. Raises WorkflowAlreadyStartedError as the policy says."""
        worker = self._workers[namespace]
        last = self.find(namespace, workflow_id)
        if last is not None and last.is_open:
            if signal is None:
                raise WorkflowAlreadyStartedError(workflow_id, last.run.type)
            self._happens(last, signal)
            return
        if last is not None and last.status is Status.COMPLETED:
            if reuse is not WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY:
                raise NotImplementedError(f"reuse policy {reuse}")
            raise WorkflowAlreadyStartedError(workflow_id, last.run.type)
        self._open(worker, workflow_id, list(arguments), signal)

    def signal(self, namespace: str, workflow_id: str, signal: Job) -> bool:
        """False when no such workflow runs."""
        last = self.find(namespace, workflow_id)
        if last is None or not last.is_open:
            return False
        if not self.refuse_signals(workflow_id, signal.signal_workflow.signal_name):
            self._happens(last, signal)
        return True

    async def query(self, execution: Execution, name: str, kind: Any) -> Any:
        """Answered by a worker, between two workflow tasks. Raises NobodyAnswers when none does in time."""
        for _ in range(QUERY_TRIES):
            if not execution.is_busy:
                break
            await sleep(QUERY_SECONDS / QUERY_TRIES)
        else:
            raise NobodyAnswers
        if execution.instance is None:
            self._rebuild(execution)
        assert execution.instance is not None
        asked = [runner.asked(name)]
        commands = execution.instance.activate(
            runner.activation(execution.run, asked, self._scheduler.now, wants_room=False)
        )
        return runner.unpacked(commands[0].respond_to_query.succeeded.response, kind)

    def terminate(self, namespace: str, workflow_id: str) -> None:
        """It is over from outside, without a word to the workflow."""
        last = self.find(namespace, workflow_id)
        if last is not None and last.is_open:
            self._close(last, Status.TERMINATED)

    def close(self) -> None:
        for execution in self.executions:
            self._forget(execution)

    # Workflow tasks.

    def _open(self, worker: Worker, workflow_id: str, arguments: list[Payload], signal: Job | None) -> None:
        runs = self._executions.setdefault((worker.namespace, workflow_id), [])
        run = Run(
            worker.workflow,
            worker.namespace,
            worker.task_queue,
            workflow_id,
            f"run-{len(runs) + 1}-{workflow_id}",
            self._scheduler.now,
        )
        execution = Execution(run, arguments, trace=current_traceparent())
        runs.append(execution)
        self._happens(execution, runner.started(run, arguments))
        if signal is not None:
            self._happens(execution, signal)

    def _happens(self, execution: Execution, job: Job) -> None:
        if not execution.is_open:
            return
        execution.events += 1
        execution.waiting.append(runner.numbered(job, execution.events))
        if not execution.is_busy:
            self._schedule_task(execution)

    def _schedule_task(self, execution: Execution) -> None:
        execution.is_busy = True
        worker = self._workers[execution.run.namespace]
        name = self._counted(f"{worker.name}.task")
        self._scheduler.spawn(self._task(execution, worker), name, worker.name)

    async def _task(self, execution: Execution, worker: Worker) -> None:
        """One workflow task, tried again from the start when it may not complete."""
        if execution.tasks > LONGEST_HISTORY:
            raise Endless(execution.run.workflow_id)
        while execution.is_open:
            turns, commands = await self._turns(execution, worker)
            if not execution.is_open:
                return
            if execution.waiting and any(map(_closes, commands)):
                # The server says UnhandledCommand: there is something the workflow has not seen.
                execution.waiting[:0] = [job for turn in turns for job in turn.jobs if not _is_local(job)]
                self._forget(execution)
                continue
            execution.history += turns
            execution.tasks += 1
            execution.is_busy = False
            for command in commands:
                self._obey(execution, worker, command)
            if execution.waiting and execution.is_open:
                self._schedule_task(execution)
            return

    async def _turns(self, execution: Execution, worker: Worker) -> tuple[list[Turn], list[Command]]:
        """Activations until no local activity is left, and all that they asked for."""
        if self.is_evicted():
            self._forget(execution)
        jobs, turns, asked = runner.in_order(execution.waiting), list[Turn](), list[Command]()
        execution.waiting.clear()
        local: list[Command] = []
        wants_room = self._room.is_short(execution)
        try:
            while jobs:
                if execution.instance is None:
                    self._rebuild(execution, turns)
                assert execution.instance is not None
                activation = runner.activation(
                    execution.run, jobs, self._scheduler.now, wants_room=wants_room
                )
                commands = execution.instance.activate(activation)
                turns.append(Turn(activation, tuple(jobs), _written(commands)))
                for command in commands:
                    (local if command.HasField("schedule_local_activity") else asked).append(command)
                jobs = [await self._local(execution, worker, local.pop(0))] if local else []
        except runner.TaskFailed as error:
            self.troubles.append(f"{execution.run.workflow_id}: {error}")
            self._close(execution, Status.FAILED)
        except GeneratorExit:
            # The worker died: the server gives the same task to another one, later.
            execution.waiting[:0] = [job for turn in turns for job in turn.jobs if not _is_local(job)]
            raise
        return turns, asked

    def _rebuild(self, execution: Execution, also: Sequence[Turn] = ()) -> None:
        """The workflow is in the worker's memory again, as its history says."""
        instance = execution.instance = Instance(execution.run)
        for turn in (*execution.history, *also):
            turn.activation.is_replaying = True
            if _written(instance.activate(turn.activation)) != turn.commands:
                self.troubles.append(f"{execution.run.workflow_id}: a replay asked for something else")
                return

    def _obey(self, execution: Execution, worker: Worker, command: Command) -> None:
        """The server does what a completed workflow task asked for."""
        match command.WhichOneof("variant"):
            case "start_timer":
                timer = command.start_timer
                execution.timers.add(timer.seq)
                seconds = timer.start_to_fire_timeout.ToTimedelta().total_seconds()
                self._scheduler.after(seconds, lambda: self._fire(execution, timer.seq))
            case "cancel_timer":
                execution.timers.discard(command.cancel_timer.seq)
            case "schedule_activity":
                self._attempt(Attempt(execution, worker, command, Attempted(1)))
            case "complete_workflow_execution":
                execution.result = command.complete_workflow_execution.result
                self._close(execution, Status.COMPLETED)
            case "fail_workflow_execution":
                execution.failure = command.fail_workflow_execution.failure.message
                self._close(execution, Status.FAILED)
            case "continue_as_new_workflow_execution":
                self._close(execution, Status.CONTINUED)
                arguments = list(command.continue_as_new_workflow_execution.arguments)
                with attached(execution.trace):
                    self._open(worker, execution.run.workflow_id, arguments, None)
            case other:
                raise NotImplementedError(f"the virtual server does not know the command {other}")

    def _fire(self, execution: Execution, seq: int) -> None:
        if seq in execution.timers:
            execution.timers.discard(seq)
            self._happens(execution, runner.fired(seq))

    def _close(self, execution: Execution, status: Status) -> None:
        execution.status = status
        execution.closed_at = self._scheduler.now
        execution.timers.clear()
        execution.is_busy = False
        self._forget(execution)

    def _forget(self, execution: Execution) -> None:
        if execution.instance is not None:
            execution.instance.forget()
            execution.instance = None

    # Activities.

    async def _local(self, execution: Execution, worker: Worker, command: Command) -> Job:
        """The local activity's result, after its own few tries."""
        asked = command.schedule_local_activity
        policy = RetryPolicy.from_proto(asked.retry_policy)
        attempt = 0
        while True:
            attempt += 1
            try:
                with attached(execution.trace):
                    result = await self._run(worker, asked.activity_type, asked.arguments, is_local=True)
                return runner.completed(asked.seq, result, is_local=True)
            except ApplicationError as error:
                if error.non_retryable or (policy.maximum_attempts and attempt >= policy.maximum_attempts):
                    return runner.failed(asked.seq, error, activity_type=asked.activity_type, is_local=True)
            await sleep(_back_off(policy, attempt))

    def _attempt(self, attempt: "Attempt") -> None:
        self._attempts[attempt.worker.name][attempt] = None
        self._scheduler.spawn(self._normal(attempt), "", attempt.worker.name)
        if self.times_out:
            self._scheduler.after(attempt.seconds, lambda: self._time_out(attempt))

    def _time_out(self, attempt: "Attempt") -> None:
        if attempt in self._attempts[attempt.worker.name]:
            del self._attempts[attempt.worker.name][attempt]
            self._attempt(attempt.next())

    async def _normal(self, attempt: "Attempt") -> None:
        """One attempt of a normal activity; its completion or its next attempt is on its way."""
        asked, execution = attempt.command.schedule_activity, attempt.execution
        under_way = self._attempts[attempt.worker.name]
        if self._scheduler.current is not None:
            self._scheduler.current.attempt = attempt.told
        try:
            with attached(execution.trace):
                result = await self._run(attempt.worker, asked.activity_type, asked.arguments, is_local=False)
        except ApplicationError as error:
            if error.non_retryable:
                done = runner.failed(asked.seq, error, activity_type=asked.activity_type, is_local=False)
            else:
                policy = RetryPolicy.from_proto(asked.retry_policy)
                delay = error.next_retry_delay
                pause = delay.total_seconds() if delay else _back_off(policy, attempt.number)
                if attempt in under_way:
                    del under_way[attempt]
                    self._scheduler.after(pause, lambda: self._attempt(attempt.next()))
                return
        else:
            done = runner.completed(asked.seq, result, is_local=False)
        # Nobody waits any more for an attempt that had timed out.
        if attempt in under_way:
            del under_way[attempt]
            self._happens(execution, done)

    async def _run(
        self, worker: Worker, name: str, payloads: Sequence[Payload], *, is_local: bool
    ) -> Payload:
        """The activity's result. Raises ApplicationError as the real interceptor would have it."""
        place = self._counted(f"{worker.name}.{name}")
        await point(place)
        self._scheduler.begins(place)
        function = worker.activities[name]
        try:
            result = await function(*runner.arguments_of(function, payloads))
        except Exception as error:
            told = translated(error, is_local=is_local)
            if not isinstance(told, ApplicationError):
                raise
            if not (isinstance(error, TandemError) or _is_spent(error)):
                self.troubles.append(f"{place}: {type(error).__name__}: {error}")
            # What is Temporal's own word already has its own reason.
            raise told from (None if told is error else error)
        return runner.packed(result)[0]

    def _worker_died(self, name: str) -> None:
        """Its memory is empty, and what it was doing is given to another one after the time-outs."""
        if name not in self._attempts:
            return
        for execution in self.executions:
            if self._workers[execution.run.namespace].name != name:
                continue
            self._forget(execution)
            execution.deaths += 1
            if execution.is_busy and execution.is_open:
                self._scheduler.after(TASK_TIMEOUT_SECONDS, partial(self._retry, execution, execution.deaths))
        dead, self._attempts[name] = self._attempts[name], {}
        for attempt in sorted(dead, key=lambda each: each.command.schedule_activity.seq):
            self._scheduler.after(attempt.seconds, partial(self._attempt, attempt.next()))

    def _retry(self, execution: Execution, deaths: int) -> None:
        if execution.is_open and execution.deaths == deaths:
            self._schedule_task(execution)

    def _counted(self, name: str) -> str:
        self._counts[name] = self._counts.get(name, 0) + 1
        return f"{name}#{self._counts[name]}"


@dataclass(frozen=True, eq=False)
class Attempt:
    """One try of a normal activity."""

    execution: Execution
    worker: Worker
    command: Command
    told: Attempted

    @property
    def number(self) -> int:
        return self.told.attempt

    @property
    def seconds(self) -> float:
        """It may take so long, or be silent for so long where it is to be heard of."""
        asked = self.command.schedule_activity
        longest = (
            asked.heartbeat_timeout if asked.HasField("heartbeat_timeout") else asked.start_to_close_timeout
        )
        return longest.ToTimedelta().total_seconds()

    def next(self) -> "Attempt":
        """With what this one has told in its heartbeat."""
        told = Attempted(self.number + 1, self.told.heartbeat_details)
        return Attempt(self.execution, self.worker, self.command, told)


def _is_spent(error: Exception) -> bool:
    """Its tries were, and of nothing that is our own mistake."""
    return isinstance(error, ApplicationError) and error.type == SPENT and why(error).fault != "bug"


def _written(commands: Sequence[Command]) -> tuple[bytes, ...]:
    return tuple([command.SerializeToString(deterministic=True) for command in commands])


def _closes(command: Command) -> bool:
    return command.WhichOneof("variant") in (
        "complete_workflow_execution",
        "fail_workflow_execution",
        "continue_as_new_workflow_execution",
    )


def _is_local(job: Job) -> bool:
    return job.HasField("resolve_activity") and job.resolve_activity.is_local


def _back_off(policy: RetryPolicy, attempt: int) -> float:
    pause = policy.initial_interval * policy.backoff_coefficient ** min(attempt - 1, 30)
    longest = policy.maximum_interval or timedelta(days=1)
    return min(pause, longest).total_seconds()
