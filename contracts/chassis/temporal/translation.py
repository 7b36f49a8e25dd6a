"""The one place where our errors become Temporal's, and where an activity gets its span and log fields.

Temporal knows a retry rule only by name and keeps each text it is given, so a refusal is marked final here,
and no foreign text passes: a message of psycopg or pydantic quotes the values it failed on.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from opentelemetry.trace import SpanKind
from temporalio import activity
from temporalio.client import Interceptor as ClientInterceptor
from temporalio.client import OutboundInterceptor, SignalWorkflowInput, StartWorkflowInput, WorkflowHandle
from temporalio.exceptions import ActivityError, ApplicationError, ApplicationErrorCategory, FailureError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from contracts.chassis import telemetry
from contracts.chassis.errors import Invalid, NotFound, Refused, TandemError, Unavailable
from contracts.values import Code


def translated(error: Exception, *, is_local: bool) -> BaseException:
    """What Temporal is told: final for a refusal, retryable for all else; texts are constants."""
    match error:
        case FailureError():
            return error
        case Refused() | Invalid() | NotFound():
            cut_off = error.cut_off if isinstance(error, Refused) else None
            return ApplicationError(
                type(error).__doc__ or "",
                *_refusal_details(error, cut_off),
                type=error.code,
                non_retryable=True,
                category=ApplicationErrorCategory.BENIGN,
            )
        case Unavailable(retry_after=after):
            # A local activity that waits long holds a workflow task open, which writes events of its own.
            delay = None if is_local else after
            return ApplicationError(_constant(error), type=error.code, next_retry_delay=delay)
        case TandemError():
            return ApplicationError(_constant(error), type=error.code)
        case _:
            return ApplicationError(telemetry.describe(error), type=type(error).__name__)


def _constant(error: TandemError) -> str:
    return type(error).__doc__ or type(error).__name__


def _refusal_details(error: TandemError, cut_off: str | None) -> list[str]:
    return [error.detail, *([cut_off] if cut_off else [])]


def refusal(error: BaseException) -> Refused | None:
    """The refusal inside what an awaited activity raised; None when it failed for another reason."""
    cause = error.cause if isinstance(error, ActivityError) else error
    if not (isinstance(cause, ApplicationError) and cause.non_retryable and cause.type in list(Code)):
        return None
    detail, cut_off = [*cause.details, None, None][:2]
    return Refused(detail, code=Code(cause.type), cut_off=cut_off)


class Translator(Interceptor):
    """Stands around each activity, local or not."""

    def __init__(self, *, spans: bool) -> None:
        self._spans = spans

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        return _TranslatedActivity(next, spans=self._spans)


class _TranslatedActivity(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, *, spans: bool) -> None:  # noqa: A002
        super().__init__(next)
        self._spans = spans

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        info = activity.info()
        try:
            with telemetry.about(workflow_id=info.workflow_id), self._span(info):
                return await super().execute_activity(input)
        except Exception as error:
            raise translated(error, is_local=info.is_local) from None

    def _span(self, info: activity.Info) -> AbstractContextManager[Any]:
        if not self._spans:
            return nullcontext()
        return telemetry.span(info.activity_type, workflow_id=info.workflow_id, attempt=info.attempt)


class ClientSpans(ClientInterceptor):
    """A span for each start and signal; in its context Temporal's own interceptor then writes the header."""

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002
        return _SpannedClient(next)


class _SpannedClient(OutboundInterceptor):
    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:  # noqa: A002
        name = f"{'signal-with-start' if input.start_signal else 'start'} {input.workflow}"
        with telemetry.span(name, kind=SpanKind.PRODUCER, workflow_id=input.id, signal=input.start_signal):
            return await super().start_workflow(input)

    async def signal_workflow(self, input: SignalWorkflowInput) -> None:  # noqa: A002
        with telemetry.span(f"signal {input.signal}", kind=SpanKind.PRODUCER, workflow_id=input.id):
            await super().signal_workflow(input)
