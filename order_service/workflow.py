"""The life of one order, from the stock on the shelf to the money in the till."""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter
from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import FailureError, is_cancelled_exception

from contracts import fulfillment
from contracts import order as contract
from contracts.chassis.seen import Seen
from contracts.chassis.temporal import Arrivals, Policy, decoded, start_outside, stored, why
from contracts.envelope import CommandOutcome, Wish
from contracts.order import FulfillmentCompleted, OrderProgressView, OrderStatusView
from contracts.values import Outcome
from order_service.activities import ORDER_WISHES, OrderActivities, Snapshot
from order_service.order import RENEW, STEPS_TOTAL, Step

SAFETY_NET = timedelta(minutes=10)
"""After so long the stream is read again or the fulfillment asked; each further time six times later."""
SAFETY_NET_LONGEST = timedelta(days=10)
ASK_AGAIN = timedelta(days=1)
"""After the provider refused to capture or to void."""
UNSETTLED = timedelta(minutes=1)
"""A call that settled nothing is made again after so long; each further time twice as late."""
PARKED = timedelta(minutes=15)
"""A parked step that may go on by itself is tried again after so long; each further time twice as late."""
PARKED_LONGEST = timedelta(days=1)
LONG_CALL = timedelta(hours=12)
"""A call is hardly ever out so long, so no timer is set beside it for what is due only later."""


@workflow.defn(name="processOrderWorkflow")
class OrderWorkflow(contract.OrderApi):
    """Drives one order; whatever it decides was decided by the order's stream."""

    @workflow.init
    def __init__(self, order_id: str) -> None:
        self._order_id = order_id
        self._order = Snapshot()
        self._arrivals: Arrivals[Arrival] = Arrivals()
        self._is_put_back = False
        self._sent: set[str] = set()
        self._renewal: asyncio.Task[Snapshot] | None = None
        """Runs beside whatever else is done; a provider that is away keeps no wish waiting."""
        self._pause: Patience | None = None
        """Until the parked step is tried again."""

    @property
    def seen(self) -> Seen:
        """As far as it knows its stream; each activity is told."""
        return Seen(self._order.version, self._is_put_back)

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
        await self._inside(Step.HOLD_STOCK, stored(OrderActivities.hold_stock, self._order_id))
        while await self._comes(Step.HOLD_STOCK):
            await self._inside(Step.HOLD_STOCK, stored(OrderActivities.hold_stock, self._order_id))

    async def _authorize(self) -> None:
        """The total is authorized or declined; `_capture` and `_undo` are its two ways out."""
        while await self._comes(Step.AUTHORIZE):
            await self._outside(
                Step.AUTHORIZE,
                start_outside(
                    OrderActivities.authorize, self._order_id, workflow.now(), policy=Policy.PROVIDER
                ),
            )

    async def _confirm(self) -> None:
        """The order is confirmed and the parcel asked for, in one commit."""
        while await self._comes(Step.CONFIRM):
            await self._inside(Step.CONFIRM, stored(OrderActivities.confirm, self._order_id))

    async def _request_fulfillment(self) -> None:
        """The fulfillment runs on its own; nothing else is sent to it before this has returned."""
        while await self._comes(Step.START_FULFILLMENT):
            await self._outside(
                Step.START_FULFILLMENT,
                start_outside(
                    OrderActivities.start_fulfillment_workflow, self._order_id, policy=Policy.BRIDGE
                ),
            )

    async def _await_outcome(self) -> None:
        """The fulfillment has ended, compensation included; meanwhile wishes for the parcel pass on."""
        patience = Patience.safety_net()
        while await self._comes(Step.AWAIT_OUTCOME):
            if await self._passes_on():
                continue
            quiet_since = workflow.now()
            if await self._is_quiet(patience.until):
                patience.grows()
                self._sent.clear()
                await self._ask_fulfillment(quiet_since)

    async def _ask_fulfillment(self, quiet_since: datetime) -> None:
        """The safety net. Local first: so rarely it may hold a workflow task, and the history stays short."""
        asked = stored(OrderActivities.query_fulfillment_status, self._order_id, quiet_since)
        await self._outside(Step.AWAIT_OUTCOME, asyncio.create_task(asked))

    async def _capture(self) -> None:
        """The parcel left, so the money is taken; a refusal is for a person, and is tried again every day."""
        pause = UNSETTLED
        while await self._comes(Step.CAPTURE):
            await self._outside(
                Step.CAPTURE,
                start_outside(
                    OrderActivities.capture, self._order_id, workflow.now(), policy=Policy.PROVIDER
                ),
            )
            pause = await self._rested(Step.CAPTURE, pause)

    async def _undo(self) -> None:
        """The parcel did not leave: void, release, and only then say how the order ended."""
        pause = UNSETTLED
        while await self._comes(Step.UNDO):
            await self._outside(
                Step.UNDO,
                start_outside(OrderActivities.undo, self._order_id, workflow.now(), policy=Policy.PROVIDER),
            )
            pause = await self._rested(Step.UNDO, pause)

    async def _rested(self, step: Step, pause: timedelta) -> timedelta:
        """The step may come again: a day after a refusal; after the pause when the call settled nothing, as
        when somebody says retry before the refused call has ended. Answers with the next pause."""
        if self._order.step is step and not self._order.is_parked:
            await self._is_quiet(workflow.now() + (ASK_AGAIN if self._order.is_refused else pause))
        return min(2 * pause, ASK_AGAIN)

    async def _end(self) -> Outcome:
        """Whoever wished something in the last moment has a receipt too.

        Where the store was put back to a time before it, this is not the end, and the story goes on there."""
        await self._serve()
        await workflow.wait_condition(workflow.all_handlers_finished)
        if self._order.outcome is None and self._is_put_back:
            return await self.run(self._order_id)
        if self._order.outcome is None:
            raise AssertionError(f"the order stopped at {self._order.step} without an end")
        return self._order.outcome

    # How the steps meet what arrives.

    async def _comes(self, step: Step) -> bool:
        """True when the stream asks for this step next, all that arrived is recorded, and nothing stands
        against it: no hold, and no person who has to look first."""
        patience = Patience.safety_net()
        await self._serve()
        while self._order.step is step and (self._order.is_stopped or self._order.is_parked):
            pause = self._until_it_is_tried_again()
            if await self._is_quiet(min(patience.until, pause.until) if pause else patience.until):
                if pause and workflow.now() >= pause.until:
                    pause.grows()
                    return True
                patience.grows()
                self._arrivals.note(None)
            await self._serve()
        return self._order.step is step

    def _until_it_is_tried_again(self) -> "Patience | None":
        """None for what only a person can help. The pause grows for as long as the step is parked."""
        if not (self._order.is_parked and self._order.tries_again):
            return None
        self._pause = self._pause or Patience(PARKED, 2, PARKED_LONGEST)
        return self._pause

    async def _is_quiet(self, until: datetime) -> bool:
        """True when nothing came and time changed nothing until then."""
        self._make_room()
        alarm = self._order.alarm
        if alarm is None or alarm > until:
            return not await self._hears(until)
        if not await self._hears(alarm):
            await self._elapse(alarm)
        return False

    async def _inside(self, step: Step, call: Awaitable[Snapshot]) -> None:
        """What our own database was to record is seen."""
        self._see(await self._done(step, call))

    async def _outside(self, step: Step, call: asyncio.Task[Snapshot]) -> None:
        """The call has finished and is seen; what arrives or falls due meanwhile is recorded at once."""
        while not call.done():
            alarm = self._order.alarm
            is_near = alarm is not None and alarm < workflow.now() + LONG_CALL
            if not await self._hears(alarm if is_near else None, call):
                await self._elapse(alarm)
            await self._serve()
        self._see(await self._done(step, call))

    async def _done(self, step_key: str, call: Awaitable[Snapshot]) -> Snapshot:
        """What the call returned; where it failed for good its step is parked, and the workflow lives on."""
        try:
            return await call
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            return await stored(OrderActivities.park, self._order_id, step_key, why(error))

    async def _hears(self, until: datetime | None, call: asyncio.Task[Snapshot] | None = None) -> bool:
        """True when something arrived or a call ended, False when nothing did until then."""
        if self._order.renews and self._renewal is None:
            # Asked here and not in the task: a timer that is set below has to come after it in every replay.
            asked = None if self._order.is_renewal_parked else self._asked_to_renew()
            self._renewal = asyncio.create_task(self._renewed(asked))
        calls = [each for each in (call, self._renewal) if each is not None]
        left = max(until - workflow.now(), timedelta()) if until else None
        try:
            await workflow.wait_condition(
                lambda: bool(self._arrivals) or any(each.done() for each in calls), timeout=left
            )
        except TimeoutError:
            return False
        if self._renewal is not None and self._renewal.done():
            renewed, self._renewal = self._renewal, None
            self._see(await renewed)
        return True

    def _asked_to_renew(self) -> asyncio.Task[Snapshot]:
        return start_outside(OrderActivities.renew, self._order_id, workflow.now(), policy=Policy.PROVIDER)

    async def _renewed(self, asked: asyncio.Task[Snapshot] | None) -> Snapshot:
        """The authorization is replaced; one that is parked after a pause, or when a person says so."""
        if asked is None:
            with suppress(TimeoutError):
                await workflow.wait_condition(lambda: not self._order.is_renewal_parked, timeout=PARKED)
        return await self._done(RENEW, asked or self._asked_to_renew())

    async def _elapse(self, alarm: datetime | None) -> None:
        """What was due at that moment is recorded; a timer may be a moment early, so no clock decides it."""
        moment = max(alarm or workflow.now(), workflow.now())
        self._see(await stored(OrderActivities.elapse, self._order_id, moment))

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
                    Step.AWAIT_OUTCOME,
                    start_outside(
                        OrderActivities.signal_fulfillment_workflow,
                        self._order_id,
                        command_id,
                        policy=Policy.BRIDGE,
                    ),
                )
                if self._order.is_parked:
                    self._sent.discard(command_id)
                return True
        return False

    def _make_room(self) -> None:
        """A history that has grown long is left behind: everything is in the stream."""
        renews = self._renewal is not None and not self._order.is_renewal_parked
        is_idle = not self._arrivals and not renews and workflow.all_handlers_finished()
        if is_idle and workflow.info().is_continue_as_new_suggested():
            workflow.continue_as_new(self._order_id)

    def _see(self, seen: Snapshot) -> None:
        """The newest snapshot counts, or the one that a person said is right."""
        if seen.version >= self._order.version or seen.is_put_back:
            self._order = seen
            self._is_put_back |= seen.is_put_back
            self._pause = self._pause if seen.is_parked else None
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

    @workflow.signal(name="applyHold")
    def apply_hold(self, wish: Wish | None = None, *extra: Any) -> None:
        self._arrivals.note(("applyHold", Wish.model_validate(wish)))

    @workflow.signal(name="releaseHold")
    def release_hold(self, wish: Wish | None = None, *extra: Any) -> None:
        self._arrivals.note(("releaseHold", Wish.model_validate(wish)))

    @workflow.signal(name="resolveException")
    def resolve_exception(self, wish: Wish | None = None, *extra: Any) -> None:
        self._arrivals.note(("resolveException", Wish.model_validate(wish)))

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
            holds=seen.holds,
            attention=seen.attention,
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


class Patience:
    """When to look again although nothing was heard; nothing that happens meanwhile puts it off."""

    def __init__(self, first: timedelta, factor: int, longest: timedelta) -> None:
        self._pause, self._factor, self._longest = first, factor, longest
        self.until = workflow.now() + first

    @classmethod
    def safety_net(cls) -> "Patience":
        return cls(SAFETY_NET, 6, SAFETY_NET_LONGEST)

    def grows(self) -> None:
        self._pause = min(self._pause * self._factor, self._longest)
        self.until = workflow.now() + self._pause


_COMPLETION: TypeAdapter[FulfillmentCompleted | None] = TypeAdapter(contract.CompletionSignal)
_ANSWER: TypeAdapter[CommandOutcome | None] = TypeAdapter(contract.AnswerSignal)

Arrival = FulfillmentCompleted | CommandOutcome | tuple[str, Wish] | None
"""What a signal brought; None is a knock: read the stream again."""
