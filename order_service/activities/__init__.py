"""What the order's workflow does to the world: load, decide, record.

The rules are in the aggregate, the retries are Temporal's, the transaction is the journal's.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from temporalio import activity

from contracts import fulfillment
from contracts import order as contract
from contracts.chassis import pii
from contracts.chassis.errors import Invalid, NotFound, Refused, TooMany, Unavailable
from contracts.chassis.faults import Failure
from contracts.chassis.postgres import Connection
from contracts.chassis.receipts import Command, refuse
from contracts.chassis.settings import PROVIDER_ATTEMPTS
from contracts.chassis.temporal import patience
from contracts.envelope import CommandOutcome, Wish, WishName, WishPayload
from contracts.fulfillment import FulfillmentProgressView, FulfillmentStatusView, StartFulfillment
from contracts.order import FulfillmentCompleted, RequestAddress, UpdateOrder
from contracts.values import Address, Code, Line, Outcome
from order_service import inventory
from order_service.activities.money import Money
from order_service.activities.snapshot import Snapshot, snapshot
from order_service.activities.stream import OrderChange, OrderStream
from order_service.events import FulfillmentInstructed, OrderEvent
from order_service.fulfillment_bridge import FulfillmentBridge
from order_service.intake import Intake, OrderJournal
from order_service.order import Order, Step, exceptions, steps
from order_service.payments import Payments

__all__ = ["ORDER_WISHES", "OrderActivities", "Snapshot"]

ORDER_WISHES: tuple[WishName, ...] = (
    "cancelOrder",
    "updateOrder",
    "pauseOrderFulfillment",
    "resumeOrderFulfillment",
    "applyHold",
    "releaseHold",
    "resolveException",
)


class OrderActivities:
    """The steps of an order. Each one that the stream already records adds nothing and says what is."""

    def __init__(
        self,
        journal: OrderJournal,
        intake: Intake,
        payments: Payments,
        bridge: FulfillmentBridge,
        *,
        provider_attempts: int = PROVIDER_ATTEMPTS,
    ) -> None:
        self._stream = OrderStream(journal)
        self._intake = intake
        self._money = Money(self._stream, payments)
        self._bridge = bridge
        self._provider_attempts = provider_attempts

    def all(self) -> list[Callable[..., Any]]:
        """Every activity, for the worker."""
        return [
            self.load,
            self.elapse,
            self.hold_stock,
            self.authorize,
            self.renew,
            self.confirm,
            self.start_fulfillment_workflow,
            self.signal_fulfillment_workflow,
            self.query_fulfillment_status,
            self.query_fulfillment_progress,
            self.record_outcome,
            self.record_answer,
            self.capture,
            self.undo,
            self.park,
            self.submit,
        ]

    def of_provider(self) -> list[Callable[..., Any]]:
        """Those that ask the payment provider."""
        return [self.authorize, self.renew, self.capture, self.undo]

    @activity.defn
    async def load(self, order_id: str) -> Snapshot:
        return snapshot(await self._stream.read(order_id))

    @activity.defn
    async def elapse(self, order_id: str, now: datetime) -> Snapshot:
        """What time alone has changed by now is recorded."""
        return snapshot(await self._stream.decide(order_id, "elapse", lambda order: steps.elapse(order, now)))

    @activity.defn
    async def hold_stock(self, order_id: str) -> Snapshot:
        """All lines of the order are held, or none is and the order will fail."""

        async def decide(connection: Connection, order: Order) -> Sequence[OrderEvent]:
            if order.step is not Step.HOLD_STOCK or order.is_stopped:
                return []
            short_of = await inventory.hold(connection, order_id, order.lines)
            return steps.hold_stock(order, short_of=short_of)

        async with patience():
            return snapshot(await self._stream.change(order_id, "hold-stock", decide))

    @activity.defn
    async def authorize(self, order_id: str, now: datetime) -> Snapshot:
        """The total is authorized or declined, and the stream says which; the provider is asked once."""
        async with patience(self._provider_attempts):
            return snapshot(await self._money.authorize(order_id, now))

    @activity.defn
    async def renew(self, order_id: str, now: datetime) -> Snapshot:
        """The authorization that would lapse is replaced by another one, and voided."""
        async with patience(self._provider_attempts):
            return snapshot(await self._money.renew(order_id, now))

    @activity.defn
    async def confirm(self, order_id: str) -> Snapshot:
        """The order is confirmed, its stock with it, and its parcel is asked for."""

        async def decide(connection: Connection, order: Order) -> Sequence[OrderEvent]:
            facts = steps.confirm(order)
            if facts:
                await inventory.confirm(connection, order_id)
            return facts

        async with patience():
            return snapshot(await self._stream.change(order_id, "confirm", decide))

    @activity.defn(name="startFulfillmentWorkflow")
    async def start_fulfillment_workflow(self, order_id: str) -> Snapshot:
        """The fulfillment runs, and the stream says so; one that had ended already has its end recorded."""
        _, seen = await self._start(order_id)
        return seen

    @activity.defn(name="signalFulfillmentWorkflow")
    async def signal_fulfillment_workflow(self, order_id: str, command_id: str) -> Snapshot:
        """The fulfillment's workflow has the wish; when it is gone, it is asked for again."""
        change = await self._stream.read(order_id)
        order = change.state
        asked = next((wish for wish in order.lane if wish.command_id == command_id), None)
        if asked is None:
            return snapshot(change)
        target = fulfillment.fulfillment_id(order_id, order.fulfillment_n)
        try:
            await self._bridge.signal(
                target, asked.instruction, await self._wish(asked, _asker(change, asked))
            )
        except NotFound:
            ended, seen = await self._start(order_id)
            if ended is None and command_id in seen.lane:
                # It was ended from outside and runs again, without the wish: the next attempt brings it.
                raise Unavailable("the fulfillment runs again and does not have the wish yet") from None
            return seen
        return snapshot(change)

    @activity.defn(name="queryFulfillmentStatus")
    async def query_fulfillment_status(self, order_id: str, quiet_since: datetime | None = None) -> Snapshot:
        """The safety net: an end that nobody told us of is recorded, a lost fulfillment restarted.

        `quiet_since` when the order's workflow knows that it has heard nothing since then."""
        change = await self._stream.read(order_id)
        order = change.state
        target = fulfillment.fulfillment_id(order_id, order.fulfillment_n)
        try:
            view: FulfillmentStatusView = await self._bridge.status(target)
            closed_at = await self._bridge.closed_at(target)
        except NotFound:
            return await self.start_fulfillment_workflow(order_id)
        if view.outcome is None:
            return await self.start_fulfillment_workflow(order_id) if closed_at else snapshot(change)
        news = FulfillmentCompleted(
            n=order.fulfillment_n, outcome=view.outcome, version=view.version, code=view.code
        )
        is_told = quiet_since is not None and closed_at is not None and closed_at < quiet_since
        return await self._completed(order_id, news, is_told=is_told)

    @activity.defn(name="queryFulfillmentProgress")
    async def query_fulfillment_progress(self, fulfillment_id: str) -> FulfillmentProgressView:
        return await self._bridge.progress(fulfillment_id)

    @activity.defn
    async def record_outcome(self, order_id: str, news: FulfillmentCompleted) -> Snapshot:
        """How the fulfillment ended is recorded; a shipped parcel takes its stock along."""
        return await self._completed(order_id, news, is_told=True)

    @activity.defn
    async def record_answer(self, order_id: str, news: CommandOutcome) -> Snapshot:
        """The fulfillment's answer closes the wish; an address it accepted is ours as well."""

        async def decide(connection: Connection, order: Order) -> Sequence[OrderEvent]:
            if steps.accepts_address(order, news) and news.address and news.address_version:
                content = news.address.model_dump(mode="json")
                await pii.put(connection, order.stream, "address", news.address_version, content)
            return steps.answered(order, news)

        return snapshot(await self._stream.change(order_id, f"answer/{news.command_id}", decide))

    @activity.defn
    async def capture(self, order_id: str, now: datetime) -> Snapshot:
        """The authorized money is ours, or a person is told that it is not."""
        async with patience(self._provider_attempts):
            return snapshot(await self._money.capture(order_id, now))

    @activity.defn
    async def undo(self, order_id: str, now: datetime) -> Snapshot:
        """What was authorized is voided, what was held is available again, and then the order ends."""

        async def decide(connection: Connection, order: Order) -> Sequence[OrderEvent]:
            facts = steps.undone(order)
            if facts:
                await inventory.release(connection, order_id)
            return facts

        async with patience(self._provider_attempts):
            await self._money.renew(order_id, now)
            return snapshot(await self._stream.change(order_id, "undo", decide))

    @activity.defn
    async def park(self, order_id: str, step_key: str, failure: Failure) -> Snapshot:
        """The step waits for a person, who is told why."""

        def decide(order: Order) -> Sequence[OrderEvent]:
            return exceptions.park(order, step_key, failure)

        return snapshot(await self._stream.decide(order_id, f"park/{step_key}", decide))

    @activity.defn
    async def submit(self, order_id: str, name: str, wish: Wish, command_id: str) -> Snapshot:
        """The wish has its receipt, whatever it was; one that came over REST had it before."""
        changes = (
            UpdateOrder(shipping_address=_request(wish.payload.address)) if wish.payload.address else None
        )
        actor = wish.actor or "temporal"
        try:
            if wish.malformed:
                raise Invalid("the signal's payload could not be understood", code=Code.NOT_UNDERSTOOD)
            await self._intake.submit(
                _known(name), order_id, wish, command_id=command_id, actor=actor, changes=changes
            )
        except (Invalid, TooMany) as error:
            command = Command(command_id, name, contract.stream(order_id), actor, "")
            async with self._stream.database.transaction() as connection:
                await refuse(connection, command, error.code, error.detail)
        return await self.load(order_id)

    async def _start(self, order_id: str) -> tuple[Outcome | None, Snapshot]:
        """How the fulfillment had ended already, None when it runs; and the order as it knows that."""
        order = (await self._stream.read(order_id)).state
        async with patience():
            ended = await self._bridge.start(await self._start_request(order))
        change = await self._stream.decide(order_id, "start-fulfillment", steps.fulfillment_started)
        if ended is None:
            return None, snapshot(change)
        news = FulfillmentCompleted(n=order.fulfillment_n, outcome=ended, version=0)
        return ended, await self._completed(order_id, news, is_told=False)

    async def _completed(self, order_id: str, news: FulfillmentCompleted, *, is_told: bool) -> Snapshot:
        """The end is recorded. One that we found by asking is not while wishes wait for their answers, unless
        nothing can be on its way: the fulfillment answers them first, tells its end, and then closes."""

        async def decide(connection: Connection, order: Order) -> Sequence[OrderEvent]:
            facts = steps.complete(order, news) if is_told or not order.lane else []
            if facts and news.outcome == "SHIPPED":
                await inventory.ship(connection, order_id)
            return facts

        return snapshot(await self._stream.change(order_id, "outcome", decide))

    async def _start_request(self, order: Order) -> StartFulfillment:
        async with self._stream.database.connection() as connection:
            address = await pii.get(connection, order.stream, "address", order.address_version)
            instructions = await pii.get(connection, order.stream, "instructions", order.instructions_version)
        if address is None:
            raise Refused("the order's address was erased", code=Code.NOT_FOUND)
        return StartFulfillment(
            order_id=order.order_id,
            n=order.fulfillment_n,
            lines=tuple(Line(sku=line.sku, quantity=line.quantity) for line in order.lines),
            address=Address.model_validate(address),
            address_version=order.address_version,
            country=order.country,
            customer_ref=order.customer_id,
            service_level=order.service_level,
            holds=order.held,
            mode=order.mode,
            pace_seconds=order.pace_seconds,
            instructions=instructions["text"] if instructions else None,
            reply_to=contract.workflow_id(order.order_id),
        )

    async def _wish(self, asked: FulfillmentInstructed, actor: str) -> Wish:
        """The wish as the fulfillment will see it; an address is read here and encrypted on its way."""
        async with self._stream.database.connection() as connection:
            address = await pii.get(connection, asked.command_id, "address", 1)
        return Wish(
            command_id=asked.command_id,
            actor=actor,
            payload=WishPayload(
                address=Address.model_validate(address) if address else None,
                hold=asked.hold,
                handle=asked.handle,
            ),
        )


def _asker(change: OrderChange, asked: FulfillmentInstructed) -> str:
    """Who wanted it: the fulfillment's own facts and receipts name no one else."""
    return next(recorded.actor for recorded in change.recorded if recorded.fact == asked)


def _known(name: str) -> WishName:
    for known in ORDER_WISHES:
        if known == name:
            return known
    raise Invalid(f"an order does not understand {name[:60]}", code=Code.NOT_UNDERSTOOD)


def _request(address: Address) -> RequestAddress:
    return RequestAddress(**address.model_dump())
