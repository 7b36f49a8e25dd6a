"""The life of one fulfillment, from the first pick to the carrier's scan."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import TypeAdapter
from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, FailureError, is_cancelled_exception

from contracts import fulfillment as contract
from contracts.chassis.seen import Seen
from contracts.chassis.temporal import Arrivals, Policy, decoded, start_outside, stored, why
from contracts.envelope import Wish
from contracts.fulfillment import FulfillmentProgressView, FulfillmentStatusView, StartFulfillment
from contracts.values import Code, Outcome
from fulfillment_service.activities import FULFILLMENT_WISHES, FulfillmentActivities, Report, Snapshot
from fulfillment_service.fulfillment import Step

REQUEST_WAIT = timedelta(minutes=1)
"""A workflow that was called without anything to do ends after so long."""
LOOK_AGAIN = timedelta(hours=1)
"""Stopped for so long without a knock the stream is read again; each further time six times later.

A knock is never lost, so this is for what nobody thought of; each look is six events of history."""
LOOK_AGAIN_LATEST = timedelta(days=10)
PARKED = timedelta(minutes=15)
"""A parked step that may go on by itself is tried again after so long; each further time twice as late."""
PARKED_LONGEST = timedelta(days=1)
REPORT_TRIES = 10
"""An order's workflow that is gone is started again by its own service; so often we try to reach it.

Only for one that is not there; while Temporal does not answer, it is tried without an end."""
BACK_OFF_LATEST = 30.0


@workflow.defn(name="fulfillmentWorkflow")
class FulfillmentWorkflow(contract.FulfillmentApi):
    """Drives one parcel; whatever it decides was decided by the parcel's stream."""

    @workflow.init
    def __init__(self, fulfillment_id: str) -> None:
        self._fulfillment_id = fulfillment_id
        self._parcel = Snapshot()
        self._request: StartFulfillment | None = None
        self._arrivals: Arrivals[Arrival] = Arrivals()
        self._is_put_back = False
        self._news: deque[str] = deque()
        self._is_telling = False
        self._is_over = False
        self._clock: asyncio.Task[None] | None = None
        self._pause = PARKED
        """Until a parked step is tried again."""

    @property
    def seen(self) -> Seen:
        """As far as it knows its stream; each activity is told."""
        return Seen(self._parcel.version, self._is_put_back)

    @workflow.run
    async def run(self, fulfillment_id: str) -> Outcome:
        await self._receive()
        reporter = asyncio.create_task(self._tell_the_order())
        while (step := await self._comes_next()) is not Step.END:
            match step:
                case Step.WORK:
                    await self._work()
                case Step.BOOK_LABEL:
                    await self._book_label()
                case Step.VOID_LABEL:
                    await self._void_label()
                case Step.HAND_OVER:
                    await self._hand_over()
                case Step.SETTLE:
                    await self._settle()
        return await self._end(reporter)

    # The steps: each one does what the stream asks for, and sees what the stream then says.

    async def _receive(self) -> None:
        """The parcel exists; one that was received in an earlier run goes on from its stream."""
        if self._request is None:
            self._see(await stored(FulfillmentActivities.load, self._fulfillment_id))
        if self._parcel.version == 0:
            self._see(await stored(FulfillmentActivities.accept, await self._requested()))

    async def _requested(self) -> StartFulfillment:
        with suppress(TimeoutError):
            await workflow.wait_condition(lambda: self._request is not None, timeout=REQUEST_WAIT)
        if self._request is None:
            raise _nobody_asked()
        return self._request

    async def _work(self) -> None:
        """The warehouse step in flight takes its time and is recorded; then the next one has begun."""
        finished = None
        if self._parcel.is_open:
            finished = self._parcel.step_key
            if not await self._passes(self._parcel.pace_seconds):
                return
        await self._inside(Step.WORK, stored(FulfillmentActivities.work, self._fulfillment_id, finished))

    async def _book_label(self) -> None:
        """The carrier knows the parcel and where it goes; `_void_label` is the way back."""
        await self._outside(
            Step.BOOK_LABEL,
            start_outside(FulfillmentActivities.book_label, self._fulfillment_id, policy=Policy.PROVIDER),
        )

    async def _void_label(self) -> None:
        """A label with an old address, or without a parcel, is no more."""
        await self._outside(
            Step.VOID_LABEL,
            start_outside(FulfillmentActivities.void_label, self._fulfillment_id, policy=Policy.PROVIDER),
        )

    async def _hand_over(self) -> None:
        """The carrier takes the parcel: the point of no return. After a refusal it is asked again, later."""
        seen = self._parcel
        back_off = min(2.0**seen.refusals, BACK_OFF_LATEST) if seen.refusals else 0.0
        if seen.is_open or await self._passes(max(seen.pace_seconds, back_off)):
            await self._outside(
                Step.HAND_OVER,
                start_outside(FulfillmentActivities.hand_over, self._fulfillment_id, policy=Policy.PROVIDER),
            )

    async def _settle(self) -> None:
        """What was picked is back on the shelf, and only then the fulfillment says how it ended."""
        await self._inside(Step.SETTLE, stored(FulfillmentActivities.settle, self._fulfillment_id))

    async def _end(self, reporter: asyncio.Task[None]) -> Outcome:
        """The order knows the end, and whoever wished something in the last moment has a receipt too."""
        self._is_over = True
        while not reporter.done():
            await workflow.wait_condition(lambda: reporter.done() or bool(self._arrivals))
            await self._serve()
        await reporter
        while self._arrivals or self._news:
            await self._serve()
            report = Report(command_ids=tuple(self._news))
            self._news.clear()
            await self._tell(report)
        await workflow.wait_condition(workflow.all_handlers_finished)
        if self._parcel.outcome is None:
            raise AssertionError(f"the fulfillment stopped at {self._parcel.step} without an end")
        return self._parcel.outcome

    # How the steps meet what arrives.

    async def _comes_next(self) -> Step:
        """What the stream asks for, once all that arrived is recorded and nothing stands against it."""
        patience = LOOK_AGAIN
        await self._serve()
        while self._parcel.is_stopped or self._parcel.waits_for_operator or self._parcel.is_parked:
            self._make_room()
            if self._parcel.tries_again and not await self._passes(self._pause.total_seconds()):
                continue
            if self._parcel.tries_again:
                self._pause = min(self._pause * 2, PARKED_LONGEST)
                break
            if not await self._arrivals.come(within=patience):
                patience = min(patience * 6, LOOK_AGAIN_LATEST)
                self._arrivals.note("knock")
            await self._serve()
        return self._parcel.step

    async def _passes(self, seconds: float) -> bool:
        """True when so long has passed and the step is where it was; what arrives meanwhile is recorded."""
        before, until = _place(self._parcel), workflow.time() + seconds
        while (left := until - workflow.time()) > 0:
            if await self._arrivals.come(within=timedelta(seconds=left)):
                await self._serve()
            if _place(self._parcel) != before:
                return False
        return True

    async def _inside(self, step: Step, call: Awaitable[Snapshot]) -> None:
        """What our own database was to record is seen; where that failed for good, the step is parked."""
        try:
            self._see(await call)
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            self._see(await stored(FulfillmentActivities.park, self._fulfillment_id, step, why(error)))

    async def _outside(self, step: Step, call: workflow.ActivityHandle[Snapshot]) -> None:
        """The call has finished and is seen; what arrives meanwhile is recorded at once."""
        await self._inside(step, self._arrivals.beside(call, self._serve))

    async def _serve(self) -> None:
        """Everything that arrived is recorded, in the order it came; the order will hear of each wish."""
        while self._arrivals:
            now = workflow.now()
            match self._arrivals.next():
                case "knock":
                    self._see(await stored(FulfillmentActivities.load, self._fulfillment_id))
                case "alarm":
                    self._see(await stored(FulfillmentActivities.elapse, self._fulfillment_id, now))
                case (name, wish):
                    command_id = self._arrivals.command_id(wish)
                    self._see(
                        await stored(
                            FulfillmentActivities.submit, self._fulfillment_id, name, wish, command_id, now
                        )
                    )
                    self._news.append(command_id)

    def _see(self, seen: Snapshot) -> None:
        """The newest snapshot counts; a wish that was answered or took effect since the last one is news."""
        if seen.version < self._parcel.version and not seen.is_put_back:
            return
        if seen.is_put_back and not seen.version:
            raise _nobody_asked()
        self._is_put_back |= seen.is_put_back
        before, self._parcel = self._parcel, seen
        self._pause = self._pause if seen.is_parked else PARKED
        self._news.extend(command_id for command_id in before.waiting if command_id not in seen.waiting)
        self._news.extend(
            command_id
            for command_id in before.asked
            if command_id not in seen.asked and command_id in seen.waiting
        )
        self._set_the_clock(before.alarm)
        workflow.set_current_details(f"{seen.status}: next {seen.step_key or seen.step}")

    def _set_the_clock(self, before: datetime | None) -> None:
        """When the alarm is due it arrives like anything else; nothing waits for one that is over."""
        alarm = self._parcel.alarm
        if self._clock and alarm == before and not self._clock.done():
            return
        if self._clock:
            self._clock.cancel()
        self._clock = asyncio.create_task(self._ring(alarm)) if alarm else None

    async def _ring(self, alarm: datetime) -> None:
        await workflow.sleep(max((alarm - workflow.now()).total_seconds(), 0))
        self._arrivals.note("alarm")

    def _make_room(self) -> None:
        """A history that has grown long is left behind: everything is in the stream.

        Only what the order was told is not: a wish that took effect between two runs would be no news."""
        is_idle = not (self._arrivals or self._news or self._is_telling or self._parcel.waiting)
        if is_idle and workflow.info().is_continue_as_new_suggested() and workflow.all_handlers_finished():
            workflow.continue_as_new(self._fulfillment_id)

    # The lane to the order: in the order of events, and never in the way of a step.

    async def _tell_the_order(self) -> None:
        """Everything the order has to know has been said, the end last.

        To an order whose workflow cannot be found for long it was said in vain. Then the order's own service
        sees to it: its workflow asks by itself, and its reconciler finds a parcel that ended unheard, a wish
        without a final receipt and a parcel of no order, and tells a person where asking does not help."""
        while True:
            await workflow.wait_condition(lambda: bool(self._news) or self._is_over)
            self._is_telling = True
            report = Report(command_ids=tuple(self._news), is_end=self._is_over)
            self._news.clear()
            await self._tell(report)
            self._is_telling = False
            if report.is_end:
                return

    async def _tell(self, report: Report) -> None:
        for attempt in range(REPORT_TRIES):
            call = start_outside(
                FulfillmentActivities.signal_order_workflow,
                self._fulfillment_id,
                report,
                policy=Policy.BRIDGE,
            )
            if await call:
                return
            await workflow.sleep(min(2.0**attempt, BACK_OFF_LATEST))

    # Signals only note what arrived; they never decide and never raise.

    @workflow.signal(name="startFulfillment")
    def start(self, request: contract.StartSignal = None, *extra: Any) -> None:
        """Asked again, by an order that is not sure of it, the first request stands."""
        asked = _REQUEST.validate_python(request)
        if asked and contract.fulfillment_id(asked.order_id, asked.n) == self._fulfillment_id:
            self._request = self._request or asked

    @workflow.signal(name="pauseFulfillment")
    def pause(self, wish: Wish | None = None, *extra: Any) -> None:
        self._arrivals.note(("pauseFulfillment", Wish.model_validate(wish)))

    @workflow.signal(name="resumeFulfillment")
    def resume(self, wish: Wish | None = None, *extra: Any) -> None:
        self._arrivals.note(("resumeFulfillment", Wish.model_validate(wish)))

    @workflow.signal(name="cancelFulfillment")
    def cancel(self, wish: Wish | None = None, *extra: Any) -> None:
        self._arrivals.note(("cancelFulfillment", Wish.model_validate(wish)))

    @workflow.signal(name="updateShippingAddress")
    def update_address(self, wish: Wish | None = None, *extra: Any) -> None:
        self._arrivals.note(("updateShippingAddress", Wish.model_validate(wish)))

    @workflow.signal(name="applyHold")
    def apply_hold(self, wish: Wish | None = None, *extra: Any) -> None:
        self._arrivals.note(("applyHold", Wish.model_validate(wish)))

    @workflow.signal(name="releaseHold")
    def release_hold(self, wish: Wish | None = None, *extra: Any) -> None:
        self._arrivals.note(("releaseHold", Wish.model_validate(wish)))

    @workflow.signal(name="completeStep")
    def complete_step(self, wish: Wish | None = None, *extra: Any) -> None:
        self._arrivals.note(("completeStep", Wish.model_validate(wish)))

    @workflow.signal(name="resolveException")
    def resolve_exception(self, wish: Wish | None = None, *extra: Any) -> None:
        self._arrivals.note(("resolveException", Wish.model_validate(wish)))

    @workflow.signal(name="knock")
    def knock(self, *extra: Any) -> None:
        self._arrivals.note("knock")

    @workflow.signal(dynamic=True)
    def other(self, name: str, args: Sequence[RawValue]) -> None:
        """A name with the suffix `Signal` means the plain one; any other gets a receipt that says no."""
        plain = name.removesuffix("Signal")
        if plain == "startFulfillment":
            self.start(decoded(args))
        elif plain == "knock":
            self.knock()
        elif plain in FULFILLMENT_WISHES:
            self._arrivals.note((plain, Wish.model_validate(decoded(args))))
        else:
            self._arrivals.note(("unknown", Wish()))

    @workflow.query(name="getFulfillmentStatus")
    def status(self) -> FulfillmentStatusView:
        seen = self._parcel
        return FulfillmentStatusView(
            fulfillment_id=self._fulfillment_id,
            workflow_id=contract.workflow_id(self._fulfillment_id),
            status=seen.status,
            stage=seen.stage,
            paused_from=seen.paused_from,
            holds=seen.holds,
            outcome=seen.outcome,
            code=seen.code,
            version=seen.version,
            address_version=seen.address_version,
            cancellation_requests=seen.asked,
        )

    @workflow.query(name="getFulfillmentProgress")
    def progress(self) -> FulfillmentProgressView:
        seen = self._parcel
        return FulfillmentProgressView(
            fulfillment_id=self._fulfillment_id,
            current_step=seen.step_key,
            items_picked=seen.items_picked,
            items_total=seen.items_total,
            steps_done=seen.steps_done,
            steps_total=seen.steps_total,
            percent=seen.percent,
        )

    @workflow.query(dynamic=True)
    def other_query(
        self, name: str, args: Sequence[RawValue]
    ) -> FulfillmentStatusView | FulfillmentProgressView:
        return self.progress() if name.startswith("getFulfillmentProgress") else self.status()


Arrival = tuple[str, Wish] | Literal["knock", "alarm"]
"""A wish by its name; a knock: read the stream again; the alarm: time alone changes something."""

# A signal's argument is what its JSON says and no more: beside `*extra` Temporal's SDK ignores the types.
_REQUEST: TypeAdapter[StartFulfillment | None] = TypeAdapter(contract.StartSignal)


def _nobody_asked() -> ApplicationError:
    """Failed and not completed, so that the order may still start a workflow of this name."""
    return ApplicationError("nobody asked for this fulfillment", type=Code.NOT_FOUND, non_retryable=True)


def _place(seen: Snapshot) -> tuple[str | None, bool, bool, bool]:
    """Where the parcel is, as far as a waiting step needs to know."""
    return seen.step_key, seen.is_open, seen.is_stopped, seen.is_parked
