"""The only way to place an order and to grant a wish of it.

One transaction locks the receipt, loads the order, asks the pure decision, and writes the facts or the
refusal with everything that follows from them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from contracts import order as contract
from contracts.chassis import knocks, pii
from contracts.chassis.errors import Invalid, NotFound
from contracts.chassis.event_store import Change, Journal
from contracts.chassis.knocks import Knock
from contracts.chassis.postgres import Connection
from contracts.chassis.receipts import Command, Granted, grant
from contracts.chassis.troubles import Undo
from contracts.envelope import ReceiptStatus, Wish, WishName, hold_of
from contracts.order import PlaceOrder, UpdateOrder
from contracts.values import Code, Hold, LineItem, WarehouseMode, order_id
from order_service import inventory
from order_service.events import OrderEvent, OrderPlaced
from order_service.order import Order, compensation, exceptions, horizon
from order_service.order.horizon import Action
from order_service.order.wishes import (
    Changes,
    pause,
    place_hold,
    release,
    request_cancel,
    resume,
    status_of,
    update,
)
from order_service.settings import DeadlineSettings

__all__ = ["Action", "Intake", "Look", "OrderJournal"]

OrderJournal = Journal[Order, OrderEvent]
MAX_TOTAL_MINOR = 9_999_999_999


@dataclass(frozen=True, slots=True)
class Look:
    """What one may know of an order at one moment."""

    status: str
    step: str
    version: int
    at: datetime
    actions: Sequence[Action]
    compensation: Sequence[Undo]
    """What a cancel would undo, or undoes, in that order."""


class Intake:
    """Places orders and grants wishes, for the REST door and for the workflow alike."""

    def __init__(
        self,
        journal: OrderJournal,
        deadlines: DeadlineSettings,
        *,
        random_bits: Callable[[int], int],
        now: Callable[[], datetime],
    ) -> None:
        self._journal = journal
        self._deadlines = deadlines
        self._random_bits = random_bits
        self._now = now

    async def place(
        self,
        body: PlaceOrder,
        *,
        command_id: str,
        actor: str,
        request_hash: str,
        mode: WarehouseMode | None = None,
        pace_seconds: float | None = None,
        rehearse: bool = False,
    ) -> Granted[Order]:
        """The order exists with everything that follows from it, and its workflow will be started.

        Raises Invalid when an article is unknown or the total is out of bounds."""
        new_id = order_id(self._now(), self._random_bits(64))
        lines = tuple(LineItem(**item.model_dump()) for item in body.items)
        total = sum(line.quantity * line.unit_price_minor for line in lines)
        if total > MAX_TOTAL_MINOR:
            raise Invalid(f"the total is {total}, more than the {MAX_TOTAL_MINOR} minor units we take")

        async def decide(connection: Connection, _: Order | None) -> Sequence[OrderEvent]:
            await inventory.known(connection, lines)
            await _keep_personal(connection, contract.stream(new_id), body)
            return [
                OrderPlaced(
                    order_id=new_id,
                    customer_id=body.customer_id,
                    lines=lines,
                    currency=body.currency,
                    total_minor=total,
                    country=body.shipping_address.country,
                    service_level="standard",
                    mode=mode,
                    pace_seconds=pace_seconds,
                    has_instructions=body.instructions is not None,
                )
            ]

        async def start(connection: Connection, _: Change[Order, OrderEvent]) -> None:
            await knocks.add(connection, Knock(contract.workflow_id(new_id)))

        def answer(_: Change[Order, OrderEvent]) -> dict[str, Any]:
            return {
                "orderId": new_id,
                "workflowId": contract.workflow_id(new_id),
                "message": "Order created successfully",
            }

        command = Command(command_id, "placeOrder", contract.stream(new_id), actor, request_hash)
        return await grant(
            self._journal,
            command,
            decide,
            status_of=lambda _: "EFFECTIVE",
            answer_of=answer,
            granted=start,
            rehearse=rehearse,
        )

    async def submit(
        self,
        name: WishName,
        order_id: str,
        wish: Wish,
        *,
        command_id: str,
        actor: str,
        request_hash: str = "",
        changes: UpdateOrder | None = None,
        expected_version: int | None = None,
        knock: bool = False,
        rehearse: bool = False,
    ) -> Granted[Order]:
        """The wish has its receipt; asked again, the same one.

        Raises NotFound for an order nobody placed, Invalid(VERSION_MISMATCH) for one that is at another
        version than the caller expected, and Invalid for a hold that would be over already."""
        stream = contract.stream(order_id)

        async def decide(connection: Connection, order: Order | None) -> Sequence[OrderEvent]:
            if order is None:
                raise NotFound(f"no order {order_id}; see GET /orders")
            if expected_version is not None:
                await self._expect(connection, stream, expected_version)
            await self._keep_wish(connection, order, wish, changes, command_id)
            if wish.payload.hold and wish.payload.hold.is_over(connection.now):
                raise Invalid("until must be in the future")
            answer_by = connection.now + self._deadlines.cancel_answer
            return _decide(order, _Asked(name, wish, changes, command_id, actor, answer_by, connection.now))

        async def tell_workflow(connection: Connection, change: Change[Order, OrderEvent]) -> None:
            if knock and change.recorded:
                await knocks.add(connection, Knock(contract.workflow_id(order_id), name, command_id))

        def status(change: Change[Order, OrderEvent]) -> ReceiptStatus:
            return status_of(change.state, command_id)

        command = Command(command_id, name, stream, actor, request_hash)
        return await grant(
            self._journal, command, decide, status_of=status, granted=tell_workflow, rehearse=rehearse
        )

    async def look(self, order_id: str) -> Look:
        """The order as its stream makes it now. Raises NotFound for one that nobody placed."""
        change = await self._journal.read(contract.stream(order_id))
        if change is None:
            raise NotFound(f"no order {order_id}; see GET /orders")
        order, at = change.state, change.recorded[-1].recorded_at
        plan = compensation.plan(order)
        return Look(order.status, order.step, change.version, at, horizon.actions(order), plan)

    async def _expect(self, connection: Connection, stream: str, version: int) -> None:
        rows = await connection.execute(
            "select max(version) as version from events where stream = %s", (stream,)
        )
        row = await rows.fetchone()
        if row is None or row["version"] != version:
            raise Invalid(
                "the order has changed since you read it; read it again", code=Code.VERSION_MISMATCH
            )

    async def _keep_wish(
        self, connection: Connection, order: Order, wish: Wish, changes: UpdateOrder | None, command_id: str
    ) -> None:
        """What the wish says in words or about a person is kept where such things are kept."""
        if wish.reason or wish.note:
            await pii.put(connection, command_id, "note", 1, {"reason": wish.reason, "note": wish.note})
        if changes is None:
            return
        if changes.contact:
            content = changes.contact.model_dump(mode="json")
            await pii.put(connection, order.stream, "contact", order.contact_version + 1, content)
        if changes.instructions and not order.is_requested:
            content = {"text": changes.instructions}
            await pii.put(connection, order.stream, "instructions", order.instructions_version + 1, content)
        if changes.shipping_address:
            # Once the fulfillment owns the address, ours waits under the command until it was accepted.
            ref, version = (
                (command_id, 1) if order.is_requested else (order.stream, order.address_version + 1)
            )
            content = changes.shipping_address.model_dump(mode="json")
            await pii.put(connection, ref, "address", version, content)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A wish with all that its decision needs to know."""

    name: WishName
    wish: Wish
    changes: UpdateOrder | None
    command_id: str
    actor: str
    answer_by: datetime
    now: datetime

    @property
    def hold(self) -> Hold:
        """What a pause or a hold asks for; only the fulfillment service knows standing holds."""
        asked = hold_of(self.wish, self.command_id)
        return asked.model_copy(update={"holder": asked.holder or self.actor, "standing": False})


def _decide(order: Order, asked: _Asked) -> list[OrderEvent]:  # noqa: PLR0911  one case a wish
    handle, command_id = asked.wish.payload.handle, asked.command_id
    match asked.name:
        case "cancelOrder":
            return request_cancel(order, command_id=command_id, answer_by=asked.answer_by)
        case "pauseOrderFulfillment":
            return pause(order, hold=asked.hold, command_id=command_id)
        case "resumeOrderFulfillment":
            return resume(order, handle=handle, command_id=command_id)
        case "applyHold":
            return place_hold(order, hold=asked.hold, command_id=command_id)
        case "releaseHold":
            return release(order, handle=handle, command_id=command_id)
        case "resolveException":
            payload = asked.wish.payload
            how = payload.resolution or "retry"
            return exceptions.resolve(
                order, how=how, code=payload.code, step_key=payload.step_key, now=asked.now
            )
        case "updateOrder" if asked.changes is not None:
            return update(order, _changes(asked.changes), command_id=command_id)
        case _:
            raise Invalid(f"an order does not understand {asked.name}", code=Code.NOT_UNDERSTOOD)


def _changes(asked: UpdateOrder) -> Changes:
    return Changes(
        contact=asked.contact is not None,
        country=asked.shipping_address.country if asked.shipping_address else None,
        instructions=asked.instructions is not None,
    )


async def _keep_personal(connection: Connection, ref: str, body: PlaceOrder) -> None:
    await pii.put(connection, ref, "address", 1, body.shipping_address.model_dump(mode="json"))
    await pii.put(connection, ref, "contact", 1, body.contact.model_dump(mode="json"))
    await pii.put(connection, ref, "payment", 1, body.payment.model_dump(mode="json"))
    if body.instructions:
        await pii.put(connection, ref, "instructions", 1, {"text": body.instructions})
