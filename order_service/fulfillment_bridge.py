"""The way to the fulfillment's workflow: start, signal and query, typed by its contract, nothing else."""

from datetime import datetime
from typing import Any

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from contracts import fulfillment
from contracts.chassis.errors import NotFound, Unavailable
from contracts.envelope import Wish
from contracts.fulfillment import (
    FulfillmentApi,
    FulfillmentProgressView,
    FulfillmentStatusView,
    StartFulfillment,
)
from contracts.values import Outcome
from order_service.events import Instruction

_SIGNALS: dict[Instruction, Any] = {
    "pauseFulfillment": FulfillmentApi.pause,
    "resumeFulfillment": FulfillmentApi.resume,
    "cancelFulfillment": FulfillmentApi.cancel,
    "updateShippingAddress": FulfillmentApi.update_address,
    "applyHold": FulfillmentApi.apply_hold,
    "releaseHold": FulfillmentApi.release_hold,
}


class FulfillmentBridge:
    """Speaks to the fulfillments' namespace. Raises Unavailable when Temporal does not answer."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def start(self, request: StartFulfillment) -> Outcome | None:
        """The fulfillment runs, started now or before: None. It ended before: how.

        One signal-with-start under a name of its own, so a lost answer can be asked for again."""
        fulfillment_id = fulfillment.fulfillment_id(request.order_id, request.n)
        try:
            await self._client.start_workflow(
                FulfillmentApi.run,
                fulfillment_id,
                id=fulfillment.workflow_id(fulfillment_id),
                task_queue=fulfillment.TASK_QUEUE,
                # A completed fulfillment is never run twice; one that was terminated may go on.
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
                start_signal="startFulfillment",
                start_signal_args=[request],
                static_summary=fulfillment_id,
            )
        except WorkflowAlreadyStartedError:
            return await self._outcome(fulfillment_id)
        except (RPCError, RuntimeError) as error:
            raise _told(error) from error
        return None

    async def signal(self, fulfillment_id: str, instruction: Instruction, wish: Wish) -> None:
        """The workflow has the wish. Raises NotFound when no such workflow runs."""
        try:
            await self._handle(fulfillment_id).signal(_SIGNALS[instruction], wish)
        except (RPCError, RuntimeError) as error:
            raise _told(error) from error

    async def status(self, fulfillment_id: str) -> FulfillmentStatusView:
        """The parcel as its workflow sees it. Raises NotFound when there is no such workflow."""
        try:
            return await self._handle(fulfillment_id).query(FulfillmentApi.status)
        except (RPCError, RuntimeError) as error:
            raise _told(error) from error

    async def closed_at(self, fulfillment_id: str) -> datetime | None:
        """When its workflow ended, of itself or from outside; None while it is at work. Both answer queries.

        Raises NotFound when there is no such workflow."""
        try:
            description = await self._handle(fulfillment_id).describe()
        except (RPCError, RuntimeError) as error:
            raise _told(error) from error
        return description.close_time

    async def progress(self, fulfillment_id: str) -> FulfillmentProgressView:
        try:
            return await self._handle(fulfillment_id).query(FulfillmentApi.progress)
        except (RPCError, RuntimeError) as error:
            raise _told(error) from error

    async def _outcome(self, fulfillment_id: str) -> Outcome | None:
        try:
            return await self._handle(fulfillment_id).result()
        except WorkflowFailureError:
            return None
        except (RPCError, RuntimeError) as error:
            raise _told(error) from error

    def _handle(self, fulfillment_id: str) -> WorkflowHandle[FulfillmentApi, Outcome]:
        return self._client.get_workflow_handle_for(
            FulfillmentApi.run, fulfillment.workflow_id(fulfillment_id)
        )


def _told(error: RPCError | RuntimeError) -> Exception:
    """What the failed call means. A lazy client whose first connection fails raises RuntimeError."""
    if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
        return NotFound("no such fulfillment workflow runs")
    return Unavailable("the fulfillment's Temporal namespace does not answer")
