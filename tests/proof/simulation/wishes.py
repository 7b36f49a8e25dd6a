"""The six wishes through the four doors: two REST doors and a bare signal to either workflow."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from contracts import fulfillment, order
from contracts.chassis.errors import Invalid, NotFound, TooMany
from contracts.envelope import Wish, WishName, WishPayload
from contracts.order import RequestAddress, UpdateOrder
from contracts.values import Address, Hold, HoldReason
from fulfillment_service.standing_holds import PlaceStandingHold
from tests.proof.record import Message, Sent
from tests.proof.simulation import runner
from tests.proof.simulation.house import House
from tests.proof.simulation.schedule import Injection

ACTOR = "explorer"
HOLD = Hold(handle="inspect", reason=HoldReason.QUALITY)
HOLD_FOR = timedelta(minutes=5)
FROZEN = PlaceStandingHold(kind="sku", value="TEAPOT", reason=HoldReason.INVENTORY, handle="recall")

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
        return f"wish-{self.number}-{self.message}"

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
                return Hold(
                    handle=f"until-{self.number}", reason=HoldReason.CARRIER, until=self.at + HOLD_FOR
                )
            case _:
                return None

    @property
    def wish(self) -> Wish:
        """The whole envelope."""
        return Wish(
            command_id=self.command_id,
            actor=ACTOR,
            payload=WishPayload(hold=self.hold, address=self.address),
        )

    @property
    def is_bare(self) -> bool:
        """A signal as somebody types it at the command line, once and without an envelope."""
        return self.injection.times == 1 and self.message != "timed-hold"

    def send(self, house: House) -> Sent | None:
        """The wish went through its door, and this is what the sender was told; None: it has no such door."""
        side, _, way = self.injection.door.partition("-")
        if self.message == "freeze" and self.injection.door != "parcel-rest":
            return None
        if way == "rest":
            told = "receipt" if self._ask(house, side) else "nobody"
        else:
            told = "sent" if self._signal(house, side) else "nobody"
        has_id = way == "rest" or not self.is_bare
        return Sent(
            self.message,
            self.injection.door,
            told,
            self.command_id if has_id else None,
            self.address.model_dump(mode="json") if self.address else None,
        )

    def _ask(self, house: House, side: str) -> bool:
        try:
            house.scheduler.run(self._asked(house, side))
        except (Invalid, NotFound, TooMany):
            return False
        return True

    async def _asked(self, house: House, side: str) -> None:
        if self.message == "freeze":
            await house.standing.place(FROZEN, command_id=self.command_id, actor=ACTOR, request_hash="same")
        elif side == "order":
            changes = None
            if self.address:
                changes = UpdateOrder(shipping_address=RequestAddress(**self.address.model_dump()))
            await house.order_intake.submit(
                _OF_ORDER[self.message],
                self.order_id,
                Wish(payload=WishPayload(hold=self.hold)),
                command_id=self.command_id,
                actor=ACTOR,
                request_hash="same",
                changes=changes,
                knock=True,
            )
        else:
            await house.parcel_intake.submit(
                _OF_PARCEL[self.message],
                self.fulfillment_id,
                Wish(payload=self.wish.payload),
                command_id=self.command_id,
                actor=ACTOR,
                request_hash="same",
                knock=True,
            )

    def _signal(self, house: House, side: str) -> bool:
        is_order = side == "order"
        name = (_OF_ORDER if is_order else _OF_PARCEL)[self.message]
        content: list[Any] = [] if self.is_bare else [self.wish]
        if self.is_bare and self.address:
            content = [self.address]
        return house.server.signal(
            order.NAMESPACE if is_order else fulfillment.NAMESPACE,
            order.workflow_id(self.order_id) if is_order else fulfillment.workflow_id(self.fulfillment_id),
            runner.signalled(name, runner.packed(*content)),
        )
