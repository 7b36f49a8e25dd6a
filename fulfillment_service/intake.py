"""The only way to grant a wish.

One transaction locks the receipt, loads the fulfillment, asks the pure decision, and writes the facts or the
refusal with everything that follows from them."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from contracts import fulfillment as contract
from contracts.chassis import knocks, pii
from contracts.chassis.errors import Invalid, NotFound
from contracts.chassis.event_store import Cause, Change, Journal
from contracts.chassis.knocks import Knock
from contracts.chassis.postgres import Connection
from contracts.chassis.receipts import Command, Granted, grant
from contracts.chassis.troubles import Undo
from contracts.envelope import ReceiptStatus, Wish, WishName, hold_of
from contracts.fulfillment import StartFulfillment
from contracts.values import Code, Hold
from fulfillment_service import projection
from fulfillment_service.events import FulfillmentEvent, HandOverStarted, LabelRequested, StepStarted
from fulfillment_service.fulfillment import Fulfillment, compensation, horizon, steps, wishes
from fulfillment_service.fulfillment.horizon import Action
from fulfillment_service.fulfillment.progress import Outlook, outlook
from fulfillment_service.settings import WarehouseSettings
from fulfillment_service.standing_holds import StandingHolds

BEGINNINGS = (StepStarted, LabelRequested, HandOverStarted)
FulfillmentJournal = Journal[Fulfillment, FulfillmentEvent]


@dataclass(frozen=True, slots=True)
class Look:
    """What one may know of a parcel at one moment."""

    status: str
    version: int
    at: datetime
    document: dict[str, Any]
    """What the view shows."""
    actions: Sequence[Action]
    compensation: Sequence[Undo]
    """What a cancel would undo, or undoes, in that order."""
    step_started_at: datetime | None
    outlook: Outlook


class Intake:
    """Accepts parcels and grants wishes, for the REST door and for the workflow alike."""

    def __init__(
        self,
        journal: FulfillmentJournal,
        standing: StandingHolds,
        warehouse: WarehouseSettings,
        *,
        carrier: str,
    ) -> None:
        self.standing = standing
        self._journal = journal
        self._warehouse = warehouse
        self._carrier = carrier

    async def accept(self, request: StartFulfillment) -> Change[Fulfillment, FulfillmentEvent]:
        """The parcel exists, with its holds and its address; accepted again, nothing is added."""
        stream = contract.stream(contract.fulfillment_id(request.order_id, request.n))

        async def decide(connection: Connection, known: Fulfillment | None) -> Sequence[FulfillmentEvent]:
            if known is not None:
                return []
            await _keep_personal(connection, stream, request)
            return steps.accept(
                request,
                mode=self._warehouse.mode,
                pace_seconds=self._warehouse.pace_seconds,
                warehouse=self._warehouse.name,
                carrier=self._carrier,
            )

        return await self._journal.change(stream, Cause("order-service", f"{stream}/accept"), decide)

    async def submit(
        self,
        name: WishName,
        fulfillment_id: str,
        wish: Wish,
        *,
        command_id: str,
        actor: str,
        request_hash: str = "",
        expected_version: int | None = None,
        knock: bool = False,
        asked_at: datetime | None = None,
        rehearse: bool = False,
    ) -> Granted[Fulfillment]:
        """The wish has its receipt; asked again, the same one.

        `asked_at` is when the order asked for it: where the policy is `ask`, a person then decides about a
        cancel. None is a person's own word.
        Raises NotFound for a parcel nobody asked for, Invalid(VERSION_MISMATCH) when it is not at the version
        the caller expected, Invalid(NOT_UNDERSTOOD) when the wish lacks what it is about, and Invalid for a
        person's hold that would be over already; the order's may have come late."""
        stream = contract.stream(fulfillment_id)
        command = Command(command_id, name, stream, actor, request_hash)

        async def decide(connection: Connection, state: Fulfillment | None) -> Sequence[FulfillmentEvent]:
            if state is None:
                raise unknown(fulfillment_id)
            if expected_version is not None:
                await self._expect(connection, stream, expected_version)
            hold = wish.payload.hold
            if hold and asked_at is None and hold.is_over(connection.now):
                raise Invalid("until must be in the future")
            await _keep_wish(connection, state, wish, command_id)
            if name == "completeStep" and wish.payload.step_key:
                standing = await self.standing.against(connection, state)
                return wishes.complete_step(state, step_key=wish.payload.step_key, standing=standing)
            return self._decide(command, state, wish, asked_at)

        async def tell_workflow(
            connection: Connection, change: Change[Fulfillment, FulfillmentEvent]
        ) -> None:
            if knock and change.recorded:
                await knocks.add(connection, Knock(contract.workflow_id(fulfillment_id), name, command_id))

        def status(change: Change[Fulfillment, FulfillmentEvent]) -> ReceiptStatus:
            return wishes.status_of(change.state, command_id)

        return await grant(
            self._journal, command, decide, status_of=status, granted=tell_workflow, rehearse=rehearse
        )

    def _decide(  # noqa: PLR0911  one case a wish
        self, command: Command, state: Fulfillment, wish: Wish, asked_at: datetime | None
    ) -> list[FulfillmentEvent]:
        payload, command_id = wish.payload, command.command_id
        match command.name:
            case "pauseFulfillment" | "applyHold":
                return wishes.place_hold(state, hold=_held(wish, command), command_id=command_id)
            case "resumeFulfillment":
                return wishes.resume(state, handle=payload.handle, command_id=command_id)
            case "releaseHold":
                return wishes.release(state, handle=payload.handle, command_id=command_id)
            case "cancelFulfillment":
                return wishes.request_cancel(
                    state, command_id=command_id, answer_by=self._answer_by(asked_at)
                )
            case "acceptCancellation" if payload.request:
                return wishes.accept_cancellation(state, request=payload.request)
            case "rejectCancellation" if payload.request:
                return wishes.reject_cancellation(state, request=payload.request)
            case "updateShippingAddress" if payload.address:
                country = payload.address.country
                return wishes.change_address(state, command_id=command_id, country=country)
            case "failStep" if payload.step_key:
                return wishes.fail_step(state, step_key=payload.step_key)
            case "resolveException":
                how = payload.resolution or "retry"
                return wishes.resolve_exception(state, how=how, code=payload.code, step_key=payload.step_key)
            case _:
                raise Invalid(
                    f"a fulfillment does not understand this {command.name}", code=Code.NOT_UNDERSTOOD
                )

    def _answer_by(self, asked_at: datetime | None) -> datetime | None:
        if asked_at is None or self._warehouse.cancel_policy == "accept":
            return None
        return asked_at + timedelta(seconds=self._warehouse.cancel_answer_seconds)

    async def look(self, fulfillment_id: str, *, now: datetime) -> Look | None:
        """The parcel as its stream and the standing holds of now make it; None where there is none."""
        change = await self._journal.read(contract.stream(fulfillment_id))
        if change is None:
            return None
        async with self._journal.database.connection() as connection:
            standing = await self.standing.against(connection, change.state)
        return Look(
            status=change.state.status,
            version=change.version,
            at=change.recorded[-1].recorded_at,
            document=projection.document(change.state),
            actions=horizon.actions(change.state, standing),
            compensation=compensation.plan(change.state),
            step_started_at=(started := _step_started_at(change)),
            outlook=outlook(change.state, self._warehouse.manual_budgets, now=now, step_started_at=started),
        )

    async def _expect(self, connection: Connection, stream: str, version: int) -> None:
        rows = await connection.execute(
            "select max(version) as version from events where stream = %s", (stream,)
        )
        row = await rows.fetchone()
        if row is None or row["version"] != version:
            raise Invalid(
                "the fulfillment has changed since you read it; read it again", code=Code.VERSION_MISMATCH
            )


def _step_started_at(change: Change[Fulfillment, FulfillmentEvent]) -> datetime | None:
    """When the step in flight began."""
    begun = [each for each in change.recorded if isinstance(each.fact, BEGINNINGS)]
    return begun[-1].recorded_at if begun and change.state.is_moving else None


async def _keep_wish(connection: Connection, state: Fulfillment, wish: Wish, command_id: str) -> None:
    """What the wish says in words or about a person is kept where such things are kept."""
    if wish.reason or wish.note:
        await pii.put(connection, command_id, "note", 1, {"reason": wish.reason, "note": wish.note})
    if wish.payload.address:
        content = wish.payload.address.model_dump(mode="json")
        await pii.put(connection, state.stream, "address", state.address_version + 1, content)


def _held(wish: Wish, command: Command) -> Hold:
    """The hold that is asked for, held by whoever asks unless the wish says who."""
    hold = hold_of(wish, command.command_id)
    return hold.model_copy(update={"holder": hold.holder or command.actor, "standing": False})


async def _keep_personal(connection: Connection, ref: str, request: StartFulfillment) -> None:
    await pii.put(
        connection, ref, "address", request.address_version, request.address.model_dump(mode="json")
    )
    if request.instructions:
        await pii.put(connection, ref, "instructions", 1, {"text": request.instructions})


def unknown(name: str) -> NotFound:
    """It may be an order's whose warehouse has not been asked."""
    with suppress(ValueError):
        order_id = contract.order_id_of(name)
        return NotFound(f"no fulfillment {name}; see GET /orders/{order_id}/status of the order service")
    return NotFound(f"no fulfillment of {name} yet; see GET /orders/{name}/status of the order service")
