"""The one file that knows the runner API of Temporal's Python SDK, which is private and may change.

A workflow instance takes activations (what the server says happened) and answers with commands (what the
workflow wants next), both in the SDK core's protobuf words; there is no server and no event loop.
"""

# pyright: reportPrivateUsage=false
# The runner API has no public door; it is used here and nowhere else.

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, lru_cache
from typing import Any, TypeGuard

from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import BaseModel
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.bridge.proto.activity_result import ActivityResolution
from temporalio.bridge.proto.workflow_activation import (
    FireTimer,
    InitializeWorkflow,
    QueryWorkflow,
    RemoveFromCache,
    ResolveActivity,
    SignalWorkflow,
    WorkflowActivation,
    WorkflowActivationJob,
)
from temporalio.bridge.proto.workflow_commands import WorkflowCommand
from temporalio.common import Priority, TypedSearchAttributes
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter, PydanticPayloadConverter
from temporalio.converter import DefaultFailureConverter
from temporalio.worker._workflow_instance import (
    UnsandboxedWorkflowRunner,
    WorkflowInstance,
    WorkflowInstanceDetails,
)

from contracts.values import Message

Activation = WorkflowActivation
Job = WorkflowActivationJob
Command = WorkflowCommand

_ACTIVITIES: Any = activity._Definition
_WORKFLOWS: Any = workflow._Definition
_SIGNALS: Any = workflow._SignalDefinition
_QUERIES: Any = workflow._QueryDefinition

REMEMBERED = 2_000
"""So many payloads; a replay asks for those of the run again, and reads them again."""

_JSON = PydanticJSONPlainPayloadConverter()
_ONLY_JSON = (datetime, BaseModel)
"""What no other converter takes, so that none of them has to be asked first."""


class _Converter(PydanticPayloadConverter):
    """The real one; a text is written only once, and a message, which nobody can change, read only once."""

    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        return [payload for value in values for payload in self._written(value)]

    def _written(self, value: Any) -> list[Payload]:
        if type(value) is str:
            return _text(value)
        return _in_json(value) if isinstance(value, _ONLY_JSON) else super().to_payloads([value])

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        if type_hints and len(type_hints) == len(payloads) == 1 and _is_message(type_hints[0]):
            payload = payloads[0]
            if payload.metadata.get("encoding") == b"json/plain":
                return [_message(payload.data, type_hints[0])]
        return super().from_payloads(payloads, type_hints)


def _in_json(value: Any) -> list[Payload]:
    payload = _JSON.to_payload(value)
    assert payload is not None
    return [payload]


_text: Callable[[str], list[Payload]] = lru_cache(REMEMBERED)(_in_json)


@lru_cache(REMEMBERED)
def _message(data: bytes, kind: type[Message]) -> Message:
    return kind.model_validate_json(data)


@cache
def _is_message(kind: Any) -> TypeGuard[type[Message]]:
    return isinstance(kind, type) and issubclass(kind, Message)


_CONVERTER = _Converter()
_FAILURES = DefaultFailureConverter()
_RUNNER = UnsandboxedWorkflowRunner()
_OUTSIDE = asyncio.new_event_loop()
"""Never runs: the SDK notes on it, for a moment, which workflow is being made."""


class TaskFailed(Exception):
    """The workflow's code raised: on a server the task would be tried again for ever."""


@dataclass(frozen=True)
class Run:
    """One run of one workflow, as its first event names it."""

    workflow: type
    namespace: str
    task_queue: str
    workflow_id: str
    run_id: str
    started_at: datetime

    @property
    def type(self) -> str:
        return str(_WORKFLOWS.must_from_class(self.workflow).name)


class Instance:
    """A run in the memory of one worker."""

    def __init__(self, run: Run) -> None:
        self._run = run
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(_OUTSIDE)
        try:
            self._instance: WorkflowInstance = _RUNNER.create_instance(_details(run))
        finally:
            asyncio._set_running_loop(before)

    def activate(self, activation: Activation) -> list[Command]:
        """What the workflow wants next. Raises TaskFailed when its code did."""
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
        try:
            completion = self._instance.activate(activation)
        finally:
            # The SDK makes its own loop the running one and leaves none; whoever calls us keeps theirs.
            asyncio._set_running_loop(before)
        if completion.HasField("failed"):
            raise TaskFailed(completion.failed.failure.message)
        return list(completion.successful.commands)

    def forget(self) -> None:
        """Its coroutines are gone without a trace, as when a worker dies or drops it from its cache."""
        self.activate(Activation(run_id=self._run.run_id, jobs=[Job(remove_from_cache=RemoveFromCache())]))


def _details(run: Run) -> WorkflowInstanceDetails:
    return WorkflowInstanceDetails(
        payload_converter_factory=lambda: _CONVERTER,
        failure_converter_class=DefaultFailureConverter,
        interceptor_classes=[],
        defn=_WORKFLOWS.must_from_class(run.workflow),
        info=_info(run),
        randomness_seed=1,
        extern_functions=_OUTWARD,
        disable_eager_activity_execution=False,
        worker_level_failure_exception_types=[],
        patch_activation_callback=None,
        last_completion_result=Payloads(),
        last_failure=None,
    )


def _nothing(*_: Any) -> None: ...


_OUTWARD: Mapping[str, Callable[..., Any]] = {"__temporal_assert_local_activity_valid": _nothing}


def _info(run: Run) -> workflow.Info:
    return workflow.Info(
        attempt=1,
        continued_run_id=None,
        cron_schedule=None,
        execution_timeout=None,
        first_execution_run_id=run.run_id,
        headers={},
        namespace=run.namespace,
        original_execution_run_id=run.run_id,
        parent=None,
        root=None,
        priority=Priority.default,
        raw_memo={},
        retry_policy=None,
        run_id=run.run_id,
        run_timeout=None,
        search_attributes={},
        start_time=run.started_at,
        task_queue=run.task_queue,
        task_timeout=timedelta(seconds=10),
        typed_search_attributes=TypedSearchAttributes.empty,
        workflow_id=run.workflow_id,
        workflow_start_time=run.started_at,
        workflow_type=run.type,
    )


@lru_cache(1_000)
def _timestamp(moment: datetime) -> Timestamp:
    """Most activations of a run share their moment with others, and all replays do."""
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp


# What the server says happened.


def activation(run: Run, jobs: Sequence[Job], now: datetime, *, wants_room: bool) -> Activation:
    """All these jobs at once."""
    return Activation(
        run_id=run.run_id, timestamp=_timestamp(now), continue_as_new_suggested=wants_room, jobs=jobs
    )


def started(run: Run, arguments: Sequence[Payload]) -> Job:
    first = InitializeWorkflow(
        workflow_type=run.type, workflow_id=run.workflow_id, arguments=arguments, randomness_seed=1
    )
    return Job(initialize_workflow=first)


def signalled(name: str, arguments: Sequence[Payload]) -> Job:
    return Job(signal_workflow=SignalWorkflow(signal_name=name, input=arguments))


def asked(name: str) -> Job:
    return Job(query_workflow=QueryWorkflow(query_id="query", query_type=name))


def fired(seq: int) -> Job:
    return Job(fire_timer=FireTimer(seq=seq))


def completed(seq: int, result: Payload, *, is_local: bool) -> Job:
    resolution = ActivityResolution()
    resolution.completed.result.CopyFrom(result)
    return Job(resolve_activity=ResolveActivity(seq=seq, result=resolution, is_local=is_local))


def failed(seq: int, error: BaseException, *, activity_type: str, is_local: bool) -> Job:
    """A normal activity's failure comes wrapped, a local one's as it was raised."""
    failure = Failure()
    _FAILURES.to_failure(error, _CONVERTER, failure)
    if not is_local:
        outer = Failure(message="Activity task failed", source="Server", cause=failure)
        outer.activity_failure_info.activity_type.name = activity_type
        failure = outer
    resolution = ActivityResolution()
    resolution.failed.failure.CopyFrom(failure)
    return Job(resolve_activity=ResolveActivity(seq=seq, result=resolution, is_local=is_local))


def numbered(job: Job, event_id: int) -> Job:
    """The job knows which event of the history it comes from."""
    if job.HasField("signal_workflow"):
        job.signal_workflow.originating_event_id = event_id
    return job


def in_order(jobs: Sequence[Job]) -> list[Job]:
    """As the SDK's core hands them over: the start, then signals, then all else, each as they came."""
    return sorted(jobs, key=_rank)


def _rank(job: Job) -> int:
    if job.HasField("initialize_workflow"):
        return 0
    return 1 if job.HasField("signal_workflow") else 2


# Values on their way, and the names behind functions.


def packed(*values: Any) -> list[Payload]:
    return list(_CONVERTER.to_payloads(values))


def unpacked(payload: Payload, kind: Any) -> Any:
    return _CONVERTER.from_payloads([payload], [kind] if kind else None)[0]


def arguments_of(function: Callable[..., Any], payloads: Sequence[Payload]) -> list[Any]:
    return list(_CONVERTER.from_payloads(payloads, _types(getattr(function, "__func__", function))))


@cache
def _types(function: Callable[..., Any]) -> list[type] | None:
    """Of the arguments of an activity, without its object."""
    return _ACTIVITIES.must_from_callable(function).arg_types


def activity_name(function: Callable[..., Any]) -> str:
    return str(_ACTIVITIES.must_from_callable(function).name)


def signal_name(signal: Callable[..., Any] | str) -> str:
    return str(_SIGNALS.must_name_from_fn_or_str(signal))


def query_of(query: Callable[..., Any]) -> tuple[str, Any]:
    """The query's name and what it answers with."""
    found = _QUERIES.from_fn(query)
    return str(found.name), found.ret_type
