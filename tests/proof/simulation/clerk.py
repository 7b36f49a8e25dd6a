"""People who look at what waits for one, at random moments: claim it, have the provider repaired, and retry
it, leave it out or cancel.

Who leaves out a capture or a void has done it at the provider's own desk.
"""

from contextlib import suppress
from itertools import count
from random import Random
from typing import Literal

from contracts import fulfillment, order
from contracts.chassis import exceptions
from contracts.chassis.errors import TandemError
from contracts.chassis.postgres import Row
from contracts.chassis.receipts import Granted
from contracts.envelope import Wish, WishName, WishPayload
from fulfillment_service.fulfillment import Fulfillment
from order_service.order import Order
from tests.proof.checks import FINAL
from tests.proof.simulation.house import House, Side

NAMES = ("ann", "bob")
REPAIRS = 0.5
"""How likely whoever looks has the providers repaired first."""
OTHERWISE = 0.2
"""How likely something is asked for that is not offered."""
How = Literal["retry", "skip", "cancel"]


class Clerk:
    """Helps one exception at a time, of either service."""

    def __init__(self, house: House, chance: Random) -> None:
        self._house = house
        self._chance = chance
        self._numbers = count(1)
        self._cancelled: dict[str, str] = {}
        """The last cancel of each subject: whoever asked for it waits for what becomes of it."""

    @property
    def has_work(self) -> bool:
        sides = (self._house.orders, self._house.parcels)
        known = [rows for side in sides if (rows := side.database.tables.rows("exceptions"))]
        return any(row["resolved_at"] is None for rows in known for row in rows.values())

    async def help(self, *, repairs: bool = False) -> bool:
        """True when somebody's word on one of them was accepted, or a provider repaired."""
        house = self._house
        waiting = [
            (side, row)
            for side in (house.orders, house.parcels)
            for row in await exceptions.page(side.real_database)
        ]
        if not waiting:
            return False
        was_broken = bool(house.payments.broken or house.carrier.broken)
        if repairs or self._chance.random() < REPAIRS:
            house.payments.broken.clear()
            house.carrier.broken.clear()
        side, row = self._chance.choice(waiting)
        with suppress(TandemError):
            await exceptions.claim(side.real_database, row["id"], self._chance.choice(NAMES))
        granted = await self._ask(side, row, self._way(side, row))
        return granted or (repairs and was_broken)

    def _way(self, side: Side, row: Row) -> How:
        """What is offered, most of the time; new data are a matter of other people."""
        way = self._drawn(row)
        receipt = side.database.tables.get("receipts", self._cancelled.get(row["subject"]))
        return "retry" if way == "cancel" and receipt and receipt["status"] not in FINAL else way

    def _drawn(self, row: Row) -> How:
        offered = [how for how in row["resolutions"] if how != "change-data"]
        if not offered or self._chance.random() < OTHERWISE:
            return self._chance.choice(("retry", "retry", "retry", "skip", "cancel"))
        # Who could cancel retries most of the time, or no order would come to its end in peace.
        return "retry" if self._chance.random() < OTHERWISE else self._chance.choice(offered)

    async def _ask(self, side: Side, row: Row, how: How) -> bool:
        """Asked as the routes do it; False when it was refused."""
        house, name = self._house, f"clerk-{next(self._numbers)}-{how}"
        wish = Wish()
        if how != "cancel":
            wish = Wish(payload=WishPayload(resolution=how, code=row["code"], step_key=row["step"]))
        cancels: WishName = "cancelOrder" if side is house.orders else "cancelFulfillment"
        wished: WishName = cancels if how == "cancel" else "resolveException"
        try:
            if side is house.orders:
                before = await house.order_journal.read(order.stream(row["subject"]))
                granted: Granted[Order] | Granted[Fulfillment] = await house.order_intake.submit(
                    wished, row["subject"], wish, command_id=name, actor="clerk", knock=True
                )
                if how == "skip" and before and granted.receipt.status != "REJECTED":
                    self._settle_money(before.state, row)
            else:
                parcel = await house.parcel_journal.read(fulfillment.stream(row["subject"]))
                granted = await house.parcel_intake.submit(
                    wished, row["subject"], wish, command_id=name, actor="clerk", knock=True
                )
                if how == "skip" and parcel and granted.receipt.status != "REJECTED":
                    self._settle_label(parcel.state)
        except TandemError:
            return False
        if how == "cancel":
            self._cancelled[row["subject"]] = name
        return granted.receipt.status != "REJECTED"

    def _settle_money(self, was: Order, row: Row) -> None:
        """What the skipped step was for is done by hand."""
        if row["step"] == "capture" and (taken := was.reference):
            self._house.payments.settle("capture", taken, was.total_minor)
        elif row["step"] in ("undo", "renew") and was.void and was.void.reference:
            self._house.payments.settle("void", was.void.reference)

    def _settle_label(self, was: Fulfillment) -> None:
        if was.label is not None and was.label.tracking_reference is not None:
            self._house.carrier.settle("void", was.label.tracking_reference)
