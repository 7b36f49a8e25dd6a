"""Each activity is told what its workflow has seen of the stream, in a header: no event more, in any history.

The next run after continue-as-new is told as well, for it has seen nothing yet.
"""

from dataclasses import replace
from typing import Any, NoReturn, Protocol

from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.worker import (
    ActivityInboundInterceptor,
    ContinueAsNewInput,
    ExecuteActivityInput,
    ExecuteWorkflowInput,
    Interceptor,
    StartActivityInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from contracts.chassis.seen import Seen, having_seen

HEADER = "tandem-seen"


class Remembers(Protocol):
    """A workflow that knows how far it has seen its stream."""

    @property
    def seen(self) -> Seen: ...


class Remembrance(Interceptor):
    """Stands between each workflow and its activities."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        return _Told(next)

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type["_Tells"]:  # noqa: A002
        return _Tells


class _Told(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        known = _read(input.headers.get(HEADER), activity.payload_converter())
        with having_seen(replace(known, asked_at=activity.info().scheduled_time)):
            return await super().execute_activity(input)


class _Tells(WorkflowInboundInterceptor):
    """Around the run of one workflow."""

    told = Seen()
    """By the run before this one."""

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Telling(outbound, self))

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:  # noqa: A002
        self.told = _read(input.headers.get(HEADER), workflow.payload_converter())
        return await super().execute_workflow(input)


class _Telling(WorkflowOutboundInterceptor):
    def __init__(self, next: WorkflowOutboundInterceptor, run: _Tells) -> None:  # noqa: A002
        super().__init__(next)
        self._run = run

    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:  # noqa: A002
        input.headers = {**input.headers, **self._header()}
        return super().start_activity(input)

    def start_local_activity(self, input: StartLocalActivityInput) -> workflow.ActivityHandle[Any]:  # noqa: A002
        input.headers = {**input.headers, **self._header()}
        return super().start_local_activity(input)

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:  # noqa: A002
        input.headers = {**input.headers, **self._header()}
        super().continue_as_new(input)

    def _header(self) -> dict[str, Payload]:
        told, instance = self._run.told, workflow.instance()
        seen: Seen = getattr(instance, "seen", Seen())
        version = seen.version or told.version
        is_put_back = seen.is_put_back or told.is_put_back
        return {HEADER: workflow.payload_converter().to_payload([version, is_put_back])} if version else {}


def _read(header: Payload | None, converter: Any) -> Seen:
    """What the header says; a header that nobody wrote says nothing."""
    if header is None:
        return Seen()
    version, is_put_back = converter.from_payload(header)
    return Seen(version, is_put_back)
