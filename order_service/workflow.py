"""The life of one order, from the stock on the shelf to the money in the till."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter
from temporalio import workflow
from temporalio.common import RawValue

from contracts import fulfillment
from contracts import order as contract
from contracts.chassis.temporal import Arrivals, Policy, decoded, start_outside, stored
from contracts.envelope import CommandOutcome, Wish
from contracts.order import FulfillmentCompleted, OrderProgressView, OrderStatusView
from contracts.values import Outcome
from order_service.activities import ORDER_WISHES, OrderActivities, Snapshot
from order_service.order import STEPS_TOTAL, Step

SAFETY_NET = timedelta(minutes=10)
"""Without news for so long the fulfillment is asked; each further time six times later."""
SAFETY_NET_LONGEST = timedelta(days=10)
ASK_AGAIN = timedelta(days=1)
"""After the provider refused to capture or to void."""


@workflow.defn(name="processOrderWorkflow")
class OrderWorkflow(contract.OrderApi):
    """Drives one order; whatever it decides was decided by the order's stream."""

    @workflow.init
    def __init__(self, order_id: str) -> None:
        self._order_id = order_id
        self._order = Snapshot()
        self._arrivals: Arrivals[Arrival] = Arrivals()
        self._sent: set[str] = set()

    @workflow.run
    async def run(self, order_id: str) -> Outcome:
        await self._hold_stock()
        await self._authorize()
        await self._confirm()
        await self._request_fulfillment()
        await self._await_outcome()
        await self._capture()
        await self._undo()
        return await self._end()

    # The steps: each one does what the stream asks for, or nothing when the stream is past it.

    async def _hold_stock(self) -> None:
        """All lines are held, or none. Also the first look: a stream that ended falls through all steps."""
        self._arrivals.forget(None)
        self._see(await stored(OrderActivities.hold_stock, self._order_id))

    async def _authorize(self) -> None:
        """The total is authorized or declined; `_capture` and `_undo` are its two ways out."""
        while await self._comes(Step.AUTHORIZE):
            await self._outside(
                start_outside(OrderActivities.authorize, self._order_id, policy=Policy.PROVIDER)
            )

    async def _confirm(self) -> None:
        """The order is confirmed and the parcel asked for, in one commit."""
        if await self._comes(Step.CONFIRM):
            self._see(await stored(OrderActivities.confirm, self._order_id))

    async def _request_fulfillment(self) -> None:
        """The fulfillment runs on its own; nothing else is sent to it before this has returned."""
        while await self._comes(Step.START_FULFILLMENT):
            await self._outside(
                start_outside(
                    OrderActivities.start_fulfillment_workflow, self._order_id, policy=Policy.BRIDGE
                )
            )

    async def _await_outcome(self) -> None:
        """The fulfillment has ended, compensation included; meanwhile wishes for the parcel pass on."""
        patience = SAFETY_NET
        while await self._comes(Step.AWAIT_OUTCOME):
            if await self._passes_on() or await self._arrivals.come(within=patience):
                continue
            patience = min(patience * 6, SAFETY_NET_LONGEST)
            self._sent.clear()
            await self._outside(
                start_outside(OrderActivities.query_fulfillment_status, self._order_id, policy=Policy.BRIDGE)
            )

    async def _capture(self) -> None:
        """The parcel left, so the money is taken; a refusal is for a person, and is tried again every day."""
        while await self._comes(Step.CAPTURE):
            await self._outside(
                start_outside(OrderActivities.capture, self._order_id, policy=Policy.PROVIDER)
            )
            if self._order.step is Step.CAPTURE:
                await self._arrivals.come(within=ASK_AGAIN)

    async def _undo(self) -> None:
        """The parcel did not leave: void, release, and only then say how the order ended."""
        while await self._comes(Step.UNDO):
            await self._outside(start_outside(OrderActivities.undo, self._order_id, policy=Policy.PROVIDER))
            if self._order.step is Step.UNDO:
                await self._arrivals.come(within=ASK_AGAIN)

    async def _end(self) -> Outcome:
        """Whoever wished something in the last moment has a receipt too."""
        await self._serve()
        await workflow.wait_condition(workflow.all_handlers_finished)
        if self._order.outcome is None:
            raise AssertionError(f"the order stopped at {self._order.step} without an end")
        return self._order.outcome

    # How the steps meet what arrives.

    async def _comes(self, step: Step) -> bool:
        """True when the stream asks for this step next, after everything that arrived has been recorded."""
        await self._serve()
        return self._order.step is step

    async def _outside(self, call: workflow.ActivityHandle[Snapshot]) -> None:
        """The call has finished and is seen; what arrives meanwhile is recorded at once."""
        self._see(await self._arrivals.beside(call, self._serve))

    async def _serve(self) -> None:
        """Everything that arrived is recorded, in the order it came."""
        while self._arrivals:
            match self._arrivals.next():
                case FulfillmentCompleted() as news:
                    self._see(await stored(OrderActivities.record_outcome, self._order_id, news))
                case CommandOutcome() as news:
                    self._see(await stored(OrderActivities.record_answer, self._order_id, news))
                case (str() as name, Wish() as wish):
                    command_id = self._arrivals.command_id(wish)
                    self._see(await stored(OrderActivities.submit, self._order_id, name, wish, command_id))
                case None:
                    self._see(await stored(OrderActivities.load, self._order_id))

    async def _passes_on(self) -> bool:
        """True when a wish for the parcel was sent, the oldest first; its answer comes as a signal.

        Much may have arrived meanwhile, so the stream is asked again before anything is waited for."""
        for command_id in self._order.lane:
            if command_id not in self._sent:
                self._sent.add(command_id)
                await self._outside(
                    start_outside(
                        OrderActivities.signal_fulfillment_workflow,
                        self._order_id,
                        command_id,
                        policy=Policy.BRIDGE,
                    )
                )
                return True
        return False

    def _see(self, seen: Snapshot) -> None:
        if seen.version >= self._order.version:
            self._order = seen
            workflow.set_current_details(f"{seen.status}: next {seen.step}")

    # Signals only note what arrived; they never decide and never raise. Because of `*extra` the SDK leaves
    # the payloads as plain JSON, so none is dropped for its shape: what it means is found out here.

    @workflow.signal(name="cancelOrder")
    def cancel(self, wish: Wish | None = None, *extra: Any) -> None:
        self._arrivals.note(("cancelOrder", Wish.model_validate(wish)))

    @workflow.signal(name="updateOrder")
    def update(self, wish: Wish | None = None, *extra: Any) -> None:
        self._arrivals.note(("updateOrder", Wish.model_validate(wish)))

    @workflow.signal(name="pauseOrderFulfillment")
    def pause(self, wish: Wish | None = None, *extra: Any) -> None:
        self._arrivals.note(("pauseOrderFulfillment", Wish.model_validate(wish)))

    @workflow.signal(name="resumeOrderFulfillment")
    def resume(self, wish: Wish | None = None, *extra: Any) -> None:
        self._arrivals.note(("resumeOrderFulfillment", Wish.model_validate(wish)))

    @workflow.signal(name="fulfillmentCompleted")
    def fulfillment_completed(self, news: contract.CompletionSignal = None, *extra: Any) -> None:
        self._arrivals.note(_COMPLETION.validate_python(news))

    @workflow.signal(name="commandOutcome")
    def command_outcome(self, news: contract.AnswerSignal = None, *extra: Any) -> None:
        self._arrivals.note(_ANSWER.validate_python(news))

    @workflow.signal(name="knock")
    def knock(self, *extra: Any) -> None:
        self._arrivals.note(None)

    @workflow.signal(dynamic=True)
    def other(self, name: str, args: Sequence[RawValue]) -> None:
        """A name with the suffix `Signal` means the plain one; any other gets a receipt that says no."""
        plain = name.removesuffix("Signal")
        wish = Wish.model_validate(decoded(args)) if plain in ORDER_WISHES else Wish()
        self._arrivals.note((plain if plain in ORDER_WISHES else name[:60], wish))

    @workflow.query(name="getOrderStatus")
    def status(self) -> OrderStatusView:
        seen = self._order
        return OrderStatusView(
            order_id=self._order_id,
            workflow_id=contract.workflow_id(self._order_id),
            status=seen.status,
            stage=seen.stage,
            payment_status=seen.payment,
            version=seen.version,
            fulfillment_id=fulfillment.fulfillment_id(self._order_id, seen.n) if seen.n else None,
        )

    @workflow.query(name="getOrderProgress")
    def progress(self) -> OrderProgressView:
        seen = self._order
        return OrderProgressView(
            order_id=self._order_id,
            current_step=seen.step,
            percent=seen.percent,
            steps_done=seen.steps_done,
            steps_total=STEPS_TOTAL,
        )

    @workflow.query(dynamic=True)
    def other_query(self, name: str, args: Sequence[RawValue]) -> OrderStatusView | OrderProgressView:
        return self.progress() if name.startswith("getOrderProgress") else self.status()


_COMPLETION: TypeAdapter[FulfillmentCompleted | None] = TypeAdapter(contract.CompletionSignal)
_ANSWER: TypeAdapter[CommandOutcome | None] = TypeAdapter(contract.AnswerSignal)

Arrival = FulfillmentCompleted | CommandOutcome | tuple[str, Wish] | None
"""What a signal brought; None is a knock: read the stream again."""
