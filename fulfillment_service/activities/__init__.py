"""What the fulfillment's workflow does to the world: load, decide, record.

The rules are in the aggregate, the retries are Temporal's, the transaction is the journal's."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

from temporalio import activity

from contracts import fulfillment as contract
from contracts.chassis import pii, receipts
from contracts.chassis.errors import Invalid, NotFound, TooMany, Unavailable
from contracts.chassis.event_store import Cause, Change
from contracts.chassis.faults import Failure
from contracts.chassis.postgres import Connection
from contracts.chassis.receipts import Command, refuse
from contracts.chassis.seen import seen
from contracts.chassis.settings import PROVIDER_ATTEMPTS
from contracts.chassis.temporal import patience
from contracts.envelope import CommandOutcome, Wish, WishName
from contracts.fulfillment import HAND_OVER, StartFulfillment, label_step
from contracts.order import FulfillmentCompleted, OrderStatusView
from contracts.values import Address, Code, Hold, Message
from fulfillment_service.activities.snapshot import Snapshot, code_of, snapshot
from fulfillment_service.carrier import Booked, Carrier, NotTaken, Taken
from fulfillment_service.events import FulfillmentEvent
from fulfillment_service.fulfillment import Fulfillment, Step, steps
from fulfillment_service.fulfillment.state import Label
from fulfillment_service.intake import FulfillmentJournal, Intake
from fulfillment_service.order_bridge import OrderBridge

Decide = Callable[[Fulfillment], Sequence[FulfillmentEvent]]
DecideUnderHolds = Callable[[Fulfillment, Sequence[Hold]], Sequence[FulfillmentEvent]]
FULFILLMENT_WISHES: tuple[WishName, ...] = (
    "pauseFulfillment",
    "resumeFulfillment",
    "cancelFulfillment",
    "updateShippingAddress",
    "applyHold",
    "releaseHold",
    "completeStep",
    "failStep",
    "resolveException",
    "acceptCancellation",
    "rejectCancellation",
)


class Report(Message):
    """What the order has to be told: what became of some wishes, and then, maybe, that this is the end."""

    command_ids: tuple[str, ...] = ()
    is_end: bool = False


class FulfillmentActivities:
    """The steps of a parcel. Each one that the stream already records adds nothing and says what is."""

    def __init__(
        self,
        journal: FulfillmentJournal,
        intake: Intake,
        carrier: Carrier,
        bridge: OrderBridge,
        *,
        provider_attempts: int = PROVIDER_ATTEMPTS,
    ) -> None:
        self._journal = journal
        self._intake = intake
        self._carrier = carrier
        self._bridge = bridge
        self._provider_attempts = provider_attempts

    def all(self) -> list[Callable[..., Any]]:
        """Every activity, for a worker."""
        return [
            self.load,
            self.accept,
            self.work,
            self.book_label,
            self.void_label,
            self.hand_over,
            self.settle,
            self.park,
            self.submit,
            self.elapse,
            self.signal_order_workflow,
            self.query_order_status,
        ]

    def of_provider(self) -> list[Callable[..., Any]]:
        """Those that ask the carrier."""
        return [self.book_label, self.void_label, self.hand_over]

    @activity.defn
    async def load(self, fulfillment_id: str) -> Snapshot:
        """The stream as it is, its standing holds as they are now; version 0 when nothing was recorded."""
        change = await self._journal.read(contract.stream(fulfillment_id))
        if change is None:
            return Snapshot(is_put_back=seen().version > 0)
        if any(hold.standing for hold in change.state.holds):
            change = await self._meet(fulfillment_id, "load", steps.meet)
        return snapshot(change)

    @activity.defn
    async def accept(self, request: StartFulfillment) -> Snapshot:
        return snapshot(await self._intake.accept(request))

    @activity.defn
    async def work(self, fulfillment_id: str, finished: str | None) -> Snapshot:
        """The finished warehouse step is recorded and the next begun; steps that take no time are all done.

        One transaction for all of them: a wish is decided before it or after it, so it cannot be overrun."""

        def decide(state: Fulfillment, standing: Sequence[Hold]) -> Sequence[FulfillmentEvent]:
            return steps.work(state, finished=finished, standing=standing)

        async with patience():
            return snapshot(await self._meet(fulfillment_id, finished or "work", decide))

    @activity.defn
    async def book_label(self, fulfillment_id: str) -> Snapshot:
        """There is a label for the current address, or it was refused, and the stream says which."""
        change = await self._begin(fulfillment_id, Step.BOOK_LABEL)
        state, label = change.state, change.state.label
        if state.step is not Step.BOOK_LABEL or label is None:
            return snapshot(change)
        async with patience(self._provider_attempts):
            answer = await self._book(state, label)

        def record(state: Fulfillment) -> Sequence[FulfillmentEvent]:
            match answer:
                case Booked(tracking_reference, cost_minor, currency):
                    return steps.label_booked(
                        state,
                        label,
                        tracking_reference=tracking_reference,
                        cost_minor=cost_minor,
                        currency=currency,
                    )
                case NotTaken(reason):
                    return steps.label_refused(state, label, reason=reason)

        return snapshot(await self._decide(fulfillment_id, label_step(label.n), record))

    @activity.defn
    async def void_label(self, fulfillment_id: str) -> Snapshot:
        """The carrier has forgotten the label that is out of date or has no parcel any more."""
        change = await self._read(fulfillment_id)
        label = change.state.label
        if change.state.step is not Step.VOID_LABEL or label is None or label.tracking_reference is None:
            return snapshot(change)
        async with patience(self._provider_attempts):
            if await self._carrier.void(change.state.void_key(label.n), label.tracking_reference):
                raise Unavailable("the carrier would not void a label")

        def record(state: Fulfillment) -> Sequence[FulfillmentEvent]:
            return steps.label_voided(state, label)

        return snapshot(await self._decide(fulfillment_id, f"void-label:{label.n}", record))

    @activity.defn
    async def hand_over(self, fulfillment_id: str) -> Snapshot:
        """The carrier has the parcel, or left without it, and the stream says which."""
        change = await self._begin(fulfillment_id, Step.HAND_OVER)
        key, label = change.state.hand_over, change.state.label
        if key is None or label is None or label.tracking_reference is None:
            return snapshot(change)
        async with patience(self._provider_attempts):
            answer = await self._carrier.hand_over(key, label.tracking_reference)

        def record(state: Fulfillment) -> Sequence[FulfillmentEvent]:
            match answer:
                case Taken(reference):
                    return steps.handed_over(state, key, reference=reference)
                case NotTaken(reason):
                    return steps.hand_over_refused(state, key, reason=reason)

        return snapshot(await self._decide(fulfillment_id, HAND_OVER, record))

    @activity.defn
    async def settle(self, fulfillment_id: str) -> Snapshot:
        """What was picked is back on the shelf, and the fulfillment has ended."""
        async with patience():
            return snapshot(await self._decide(fulfillment_id, "settle", steps.settle))

    @activity.defn
    async def park(self, fulfillment_id: str, step: Step, failure: Failure) -> Snapshot:
        """The step waits for a person, who is told why."""

        def decide(state: Fulfillment) -> Sequence[FulfillmentEvent]:
            return steps.park(state, step, failure)

        return snapshot(await self._decide(fulfillment_id, f"park/{step}", decide))

    @activity.defn
    async def elapse(self, fulfillment_id: str, now: datetime) -> Snapshot:
        """What the time alone changes is recorded."""

        def decide(state: Fulfillment) -> Sequence[FulfillmentEvent]:
            return steps.elapse(state, now)

        return snapshot(await self._decide(fulfillment_id, "elapse", decide))

    @activity.defn
    async def submit(
        self, fulfillment_id: str, name: str, wish: Wish, command_id: str, now: datetime
    ) -> Snapshot:
        """The wish has its receipt, whatever it was; one that came over REST had it before."""
        actor = wish.actor or "temporal"
        try:
            if wish.malformed:
                raise Invalid("the signal's payload could not be understood", code=Code.NOT_UNDERSTOOD)
            await self._intake.submit(
                _known(name), fulfillment_id, wish, command_id=command_id, actor=actor, asked_at=now
            )
        except (Invalid, NotFound, TooMany) as error:
            command = Command(command_id, name, contract.stream(fulfillment_id), actor, "")
            async with self._journal.database.transaction() as connection:
                await refuse(connection, command, error.code, error.detail)
        return await self.load(fulfillment_id)

    @activity.defn(name="signalOrderWorkflow")
    async def signal_order_workflow(self, fulfillment_id: str, report: Report) -> bool:
        """The order knows what the report is about; False when no such order runs that still has to know."""
        change = await self._read(fulfillment_id)
        state = change.state
        try:
            for command_id in report.command_ids:
                outcome = await self._outcome(state, command_id)
                # What a person still has to decide is no answer yet.
                if outcome and outcome.status != "RECEIVED":
                    await self._bridge.answer(state.reply_to, outcome)
            if report.is_end and state.outcome:
                completed = FulfillmentCompleted(
                    n=state.n, outcome=state.outcome, version=change.version, code=code_of(state)
                )
                await self._bridge.completed(state.reply_to, completed)
        except NotFound:
            return await self._bridge.has_ended(state.reply_to)
        return True

    @activity.defn(name="queryOrderStatus")
    async def query_order_status(self, fulfillment_id: str) -> OrderStatusView:
        """The order as its own workflow sees it."""
        return await self._bridge.status((await self._read(fulfillment_id)).state.reply_to)

    async def _outcome(self, state: Fulfillment, command_id: str) -> CommandOutcome | None:
        """The receipt as the order needs it: an accepted address goes along, and is read only here."""
        async with self._journal.database.connection() as connection:
            rows = await connection.execute(receipts.FIND, {"command_id": command_id})
            row = await rows.fetchone()
            if row is None:
                return None
            receipt = receipts.receipt_of(row)
            accepted = row["name"] == "updateShippingAddress" and receipt.status != "REJECTED"
            version = await _address_version(connection, state.stream, command_id) if accepted else None
            content = await pii.get(connection, state.stream, "address", version) if version else None
        return CommandOutcome(
            command_id=command_id,
            status=receipt.status,
            code=receipt.code,
            detail=receipt.detail,
            cut_off=receipt.cut_off,
            address_version=version,
            address=Address.model_validate(content) if content else None,
        )

    async def _book(self, state: Fulfillment, label: Label) -> Booked | NotTaken:
        async with self._journal.database.connection() as connection:
            content = await pii.get(connection, state.stream, "address", label.address_version)
        if content is None:
            return NotTaken("address_erased")
        return await self._carrier.book(
            label.provider_key,
            fulfillment_id=state.fulfillment_id,
            address=Address.model_validate(content),
            service_level=state.service_level,
        )

    async def _begin(self, fulfillment_id: str, step: Step) -> Change[Fulfillment, FulfillmentEvent]:
        """The step is in flight if it is due and nothing stands against it; its intent may be older."""

        def begin(state: Fulfillment, standing: Sequence[Hold]) -> Sequence[FulfillmentEvent]:
            return steps.begin(state, standing) if state.step is step else []

        return await self._meet(fulfillment_id, step, begin)

    async def _read(self, fulfillment_id: str) -> Change[Fulfillment, FulfillmentEvent]:
        change = await self._journal.read(contract.stream(fulfillment_id))
        if change is None:
            raise NotFound(f"no fulfillment {fulfillment_id}")
        return change

    async def _decide(
        self, fulfillment_id: str, step_key: str, decide: Decide
    ) -> Change[Fulfillment, FulfillmentEvent]:
        async def decided(_: Connection, state: Fulfillment) -> Sequence[FulfillmentEvent]:
            return decide(state)

        return await self._change(fulfillment_id, step_key, decided)

    async def _meet(
        self, fulfillment_id: str, step_key: str, decide: DecideUnderHolds
    ) -> Change[Fulfillment, FulfillmentEvent]:
        """The same for what may begin a step: it knows the standing holds, and none comes in between."""

        async def decided(connection: Connection, state: Fulfillment) -> Sequence[FulfillmentEvent]:
            return decide(state, await self._intake.standing.against(connection, state))

        return await self._change(fulfillment_id, step_key, decided)

    async def _change(
        self,
        fulfillment_id: str,
        step_key: str,
        decide: Callable[[Connection, Fulfillment], Awaitable[Sequence[FulfillmentEvent]]],
    ) -> Change[Fulfillment, FulfillmentEvent]:
        async def decided(connection: Connection, state: Fulfillment | None) -> Sequence[FulfillmentEvent]:
            if state is None:
                raise NotFound(f"no fulfillment {fulfillment_id}")
            return steps.passed(state, await decide(connection, state))

        cause = Cause("fulfillment-workflow", f"{contract.workflow_id(fulfillment_id)}/{step_key}")
        return await self._journal.change(contract.stream(fulfillment_id), cause, decided)


async def _address_version(connection: Connection, stream: str, command_id: str) -> int | None:
    """The address version that this command led to."""
    rows = await connection.execute(
        """
        select (data ->> 'version')::integer as version
        from events
        where stream = %s and type = 'AddressChanged' and data ->> 'command_id' = %s
        """,
        (stream, command_id),
    )
    row = await rows.fetchone()
    return row["version"] if row else None


def _known(name: str) -> WishName:
    for known in FULFILLMENT_WISHES:
        if known == name:
            return known
    raise Invalid("a fulfillment does not understand a wish of this name", code=Code.NOT_UNDERSTOOD)
