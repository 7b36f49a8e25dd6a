"""The people of a run: who sends the explorer's wishes through the four doors, and who helps an order on.

The doors are two REST doors, for which their intake stands, and a bare signal to either workflow."""

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from contracts import fulfillment, order
from contracts.chassis.errors import Invalid, NotFound, TandemError, TooMany
from contracts.chassis.receipts import Granted
from contracts.envelope import Wish, WishName, WishPayload
from contracts.order import RequestAddress, UpdateOrder
from contracts.values import Address, Hold, HoldReason
from fulfillment_service.fulfillment import Fulfillment, Step
from fulfillment_service.intake import FulfillmentJournal
from fulfillment_service.intake import Intake as ParcelIntake
from fulfillment_service.standing_holds import PlaceStandingHold, StandingHolds
from order_service.intake import Intake as OrderIntake
from order_service.intake import OrderJournal
from order_service.order import Order
from tests.proof.record import Message, Sent
from tests.proof.simulation.schedule import Injection

ACTOR = "explorer"
OPERATOR = "operator"
HOLD = Hold(handle="inspect", reason=HoldReason.QUALITY)
HOLD_FOR = timedelta(minutes=5)
FROZEN = PlaceStandingHold(kind="sku", value="TEAPOT", reason=HoldReason.INVENTORY, handle="recall")

Side = Literal["order", "parcel"]


class Doors(Protocol):
    """Where people meet the pair, simulated or real."""

    order_journal: OrderJournal
    order_intake: OrderIntake
    parcel_journal: FulfillmentJournal
    parcel_intake: ParcelIntake
    standing: StandingHolds

    async def signal(self, side: Side, workflow_id: str, name: str, content: Sequence[Any]) -> bool:
        """False when no such workflow runs."""
        ...


_OF_ORDER: dict[Message, WishName] = {
    "pause": "pauseOrderFulfillment",
    "resume": "resumeOrderFulfillment",
    "hold": "applyHold",
    "timed-hold": "applyHold",
    "release": "releaseHold",
    "cancel": "cancelOrder",
    "address": "updateOrder",
}
_OF_PARCEL: dict[Message, WishName] = {
    "pause": "pauseFulfillment",
    "resume": "resumeFulfillment",
    "hold": "applyHold",
    "timed-hold": "applyHold",
    "release": "releaseHold",
    "cancel": "cancelFulfillment",
    "address": "updateShippingAddress",
}


@dataclass(frozen=True)
class Wished:
    """An injection with all it needs to be sent, as often as it likes."""

    injection: Injection
    number: int
    order_id: str
    at: datetime

    @property
    def message(self) -> Message:
        return self.injection.message

    @property
    def command_id(self) -> str:
        return f"{self.order_id}.wish-{self.number}-{self.message}"

    @property
    def fulfillment_id(self) -> str:
        return fulfillment.fulfillment_id(self.order_id, 1)

    @property
    def address(self) -> Address | None:
        if self.message != "address":
            return None
        return Address(
            street=f"{self.number} Second Street", city="Newtown", state="NC", zip_code="12345", country="USA"
        )

    @property
    def hold(self) -> Hold | None:
        match self.message:
            case "hold":
                return HOLD
            case "timed-hold":
                handle, until = f"until-{self.number}", self.at + HOLD_FOR
                return Hold(handle=handle, reason=HoldReason.CARRIER, until=until)
            case _:
                return None

    @property
    def is_bare(self) -> bool:
        """A signal as somebody types it at the command line, once and without an envelope."""
        return self.injection.times == 1 and self.message != "timed-hold"

    async def send(self, doors: Doors) -> Sent | None:
        """The wish went through its door, and this is what the sender was told; None: it has no such door."""
        side: Side = "order" if self.injection.door.startswith("order") else "parcel"
        over_rest = self.injection.door.endswith("rest")
        if self.message == "freeze" and self.injection.door != "parcel-rest":
            return None
        if over_rest:
            told = "receipt" if await _is_taken(self._asked(doors, side)) else "nobody"
        else:
            told = "sent" if await self._signal(doors, side) else "nobody"
        return Sent(
            self.message,
            self.injection.door,
            told,
            self.command_id if over_rest or not self.is_bare else None,
            self.address.model_dump(mode="json") if self.address else None,
        )

    async def _asked(self, doors: Doors, side: Side) -> None:
        if self.message == "freeze":
            await doors.standing.place(FROZEN, command_id=self.command_id, actor=ACTOR)
        elif side == "order":
            changes = None
            if self.address:
                changes = UpdateOrder(shipping_address=RequestAddress(**self.address.model_dump()))
            await doors.order_intake.submit(
                _OF_ORDER[self.message],
                self.order_id,
                Wish(payload=WishPayload(hold=self.hold)),
                command_id=self.command_id,
                actor=ACTOR,
                changes=changes,
                knock=True,
            )
        else:
            await doors.parcel_intake.submit(
                _OF_PARCEL[self.message],
                self.fulfillment_id,
                Wish(payload=WishPayload(hold=self.hold, address=self.address)),
                command_id=self.command_id,
                actor=ACTOR,
                knock=True,
            )

    async def _signal(self, doors: Doors, side: Side) -> bool:
        envelope = Wish(
            command_id=self.command_id,
            actor=ACTOR,
            payload=WishPayload(hold=self.hold, address=self.address),
        )
        bare = [self.address] if self.address else []
        is_order = side == "order"
        return await doors.signal(
            side,
            order.workflow_id(self.order_id) if is_order else fulfillment.workflow_id(self.fulfillment_id),
            (_OF_ORDER if is_order else _OF_PARCEL)[self.message],
            bare if self.is_bare else [envelope],
        )


async def _is_taken(asked: Coroutine[Any, Any, None]) -> bool:
    """False when there was nobody to ask, or nothing of that kind may be asked."""
    try:
        await asked
    except (Invalid, NotFound, TooMany):
        return False
    return True


class Operator:
    """Completes steps where the warehouse is manual, and helps whoever is stuck."""

    def __init__(self, doors: Doors, order_id: str, answer: Literal["accept", "reject"] | None) -> None:
        self._doors = doors
        self._order_id = order_id
        self._fulfillment_id = fulfillment.fulfillment_id(order_id, 1)
        self._answer = answer
        self._helped = 0

    async def work(self) -> bool:
        """True when a step that waited for somebody's word is completed."""
        step_key = await self.awaited()
        return step_key is not None and await self.complete(step_key)

    async def awaited(self) -> str | None:
        """The step that waits for somebody's word."""
        parcel = await self._parcel()
        if parcel is None or parcel.mode != "manual" or parcel.is_stopped:
            return None
        if parcel.step not in (Step.WORK, Step.HAND_OVER) or parcel.hand_over is not None:
            return None
        return parcel.step_key

    async def complete(self, step_key: str) -> bool:
        """True when the word was accepted."""
        return await self._ask_parcel("completeStep", WishPayload(step_key=step_key))

    async def set_free(self) -> bool:
        """True when a request is answered, an exception looked at, or lifted what held order or parcel."""
        parcel = await self._parcel()
        if parcel is None:
            return bool((await self._order()).holds) and await self._ask_order("releaseHold")
        if parcel.is_ended:
            return False
        if parcel.is_asked:
            name = "rejectCancellation" if self._answer == "reject" else "acceptCancellation"
            return await self._ask_parcel(name, WishPayload(request=parcel.asked[0].command_id))
        if parcel.trouble is not None:
            return await self._ask_parcel("resolveException")
        if any(not hold.standing for hold in parcel.holds):
            return await self._ask_parcel("releaseHold")
        return await self._lift()

    async def _lift(self) -> bool:
        """True when a standing hold stood; a parcel whose next step is a person's word does not say so."""
        handle, command_id = str(FROZEN.handle), self._named("lift")
        try:
            lifted = await self._doors.standing.lift(handle, command_id=command_id, actor=OPERATOR)
        except TandemError:
            return False
        return bool(lifted.facts)

    async def _ask_parcel(self, name: WishName, payload: WishPayload | None = None) -> bool:
        return await self._helps(
            self._doors.parcel_intake.submit(
                name,
                self._fulfillment_id,
                Wish(payload=payload or WishPayload()),
                command_id=self._named(name),
                actor=OPERATOR,
                knock=True,
            )
        )

    async def _ask_order(self, name: WishName) -> bool:
        return await self._helps(
            self._doors.order_intake.submit(
                name, self._order_id, Wish(), command_id=self._named(name), actor=OPERATOR, knock=True
            )
        )

    def _named(self, name: str) -> str:
        self._helped += 1
        return f"{self._order_id}.help-{self._helped}-{name}"

    async def _helps(self, asked: Coroutine[Any, Any, Granted[Any]]) -> bool:
        """False when it was refused."""
        try:
            return (await asked).receipt.status != "REJECTED"
        except TandemError:
            return False

    async def _parcel(self) -> Fulfillment | None:
        change = await self._doors.parcel_journal.read(fulfillment.stream(self._fulfillment_id))
        return change.state if change else None

    async def _order(self) -> Order:
        change = await self._doors.order_journal.read(order.stream(self._order_id))
        assert change is not None
        return change.state
