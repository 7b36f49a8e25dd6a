"""The way to the order's workflow: signal and query, typed by its contract, nothing else."""

from typing import Any

from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from contracts import order
from contracts.chassis.errors import NotFound, Unavailable
from contracts.envelope import CommandOutcome
from contracts.order import FulfillmentCompleted, OrderApi, OrderStatusView
from contracts.values import Outcome


class OrderBridge:
    """Speaks to workflows of the orders' namespace.

    Raises Unavailable when Temporal does not answer, NotFound when no such workflow runs."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def answer(self, workflow_id: str, news: CommandOutcome) -> None:
        """The order's workflow knows what became of a wish."""
        await self._signal(workflow_id, OrderApi.command_outcome, news)

    async def completed(self, workflow_id: str, news: FulfillmentCompleted) -> None:
        """The order's workflow knows how its parcel ended."""
        await self._signal(workflow_id, OrderApi.fulfillment_completed, news)

    async def status(self, workflow_id: str) -> OrderStatusView:
        """The order as its own workflow sees it."""
        try:
            return await self._handle(workflow_id).query(OrderApi.status)
        except (RPCError, RuntimeError) as error:
            raise _told(error) from error

    async def has_ended(self, workflow_id: str) -> bool:
        """The order's workflow came to its own end, so it needs to hear nothing more."""
        try:
            description = await self._handle(workflow_id).describe()
        except (RPCError, RuntimeError) as error:
            if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise _told(error) from error
        return description.status is WorkflowExecutionStatus.COMPLETED

    async def _signal(
        self, workflow_id: str, signal: Any, news: CommandOutcome | FulfillmentCompleted
    ) -> None:
        try:
            await self._handle(workflow_id).signal(signal, news)
        except (RPCError, RuntimeError) as error:
            raise _told(error) from error

    def _handle(self, workflow_id: str) -> WorkflowHandle[OrderApi, Outcome]:
        return self._client.get_workflow_handle_for(order.OrderApi.run, workflow_id)


def _told(error: RPCError | RuntimeError) -> Exception:
    """What the failed call means. A lazy client whose first connection fails raises RuntimeError."""
    if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
        return NotFound("no such order workflow runs")
    return Unavailable("the orders' Temporal namespace does not answer")
