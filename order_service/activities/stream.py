"""An order's stream as the workflow's steps read and change it."""

from collections.abc import Awaitable, Callable, Sequence

from contracts import order as contract
from contracts.chassis.errors import NotFound
from contracts.chassis.event_store import Cause, Change
from contracts.chassis.postgres import Connection
from order_service.events import OrderEvent
from order_service.intake import OrderJournal
from order_service.order import Order, exceptions

Decide = Callable[[Order], Sequence[OrderEvent]]
OrderChange = Change[Order, OrderEvent]


class OrderStream:
    """Loads an order, lets a decision answer with facts, and stores them; each change is one transaction."""

    def __init__(self, journal: OrderJournal) -> None:
        self._journal = journal
        self.database = journal.database

    async def read(self, order_id: str) -> OrderChange:
        change = await self._journal.read(contract.stream(order_id))
        if change is None:
            raise NotFound(f"no order {order_id}")
        return change

    async def decide(self, order_id: str, step_key: str, decide: Decide) -> OrderChange:
        """The facts of a decision that needs the order only are stored."""

        async def decided(_: Connection, order: Order) -> Sequence[OrderEvent]:
            return decide(order)

        return await self.change(order_id, step_key, decided)

    async def change(
        self,
        order_id: str,
        step_key: str,
        decide: Callable[[Connection, Order], Awaitable[Sequence[OrderEvent]]],
    ) -> OrderChange:
        """The decision's facts are stored with what it wrote itself."""

        async def decided(connection: Connection, order: Order | None) -> Sequence[OrderEvent]:
            if order is None:
                raise NotFound(f"no order {order_id}")
            return exceptions.passed(order, await decide(connection, order))

        cause = Cause("order-workflow", f"{contract.workflow_id(order_id)}/{step_key}")
        return await self._journal.change(contract.stream(order_id), cause, decided)
