"""A standing hold: it freezes everything that matches it, parcels that are not there yet included."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

from contracts.chassis.errors import Refused
from contracts.fulfillment import StandingKind
from contracts.values import Code, Hold, HoldReason
from fulfillment_service.events import StandingHoldEvent, StandingHoldLifted, StandingHoldPlaced
from fulfillment_service.fulfillment.state import Fulfillment
from fulfillment_service.fulfillment.wishes import STANDING


@dataclass(frozen=True, slots=True)
class StandingHold:
    """As its facts have made it."""

    handle: str
    kind: StandingKind
    value: str
    reason: HoldReason
    holder: str
    until: datetime | None
    is_lifted: bool = False

    @property
    def status(self) -> str:
        return "LIFTED" if self.is_lifted else "STANDING"


def place(known: StandingHold | None, new: StandingHold) -> list[StandingHoldEvent]:
    """It stands from the commit on. Raises Refused when the handle was ever used: none means two holds."""
    if known is not None:
        raise Refused("this handle was used before; choose another", code=Code.HANDLE_TAKEN)
    return [
        StandingHoldPlaced(
            handle=new.handle,
            kind=new.kind,
            value=new.value,
            reason=new.reason,
            holder=new.holder,
            until=new.until,
        )
    ]


def lift(known: StandingHold) -> list[StandingHoldEvent]:
    """It stands no more, for good."""
    return [] if known.is_lifted else [StandingHoldLifted()]


def evolve(known: StandingHold | None, fact: StandingHoldEvent) -> StandingHold:
    """The standing hold after one more fact."""
    match fact:
        case StandingHoldPlaced():
            return StandingHold(**dict(fact))
        case StandingHoldLifted():
            if known is None:
                raise ValueError("a standing hold begins with StandingHoldPlaced")
            return replace(known, is_lifted=True)
        case _:
            assert_never(fact)


def marks(f: Fulfillment) -> list[tuple[StandingKind, str]]:
    """Everything by which a standing hold can mean this parcel."""
    skus: set[tuple[StandingKind, str]] = {("sku", line.sku) for line in f.lines}
    return [
        *sorted(skus),
        ("warehouse", f.warehouse),
        ("carrier", f.carrier),
        ("country", f.country),
        ("customer", f.customer_ref),
    ]


def shown_as(handle: str, reason: HoldReason, holder: str, until: datetime | None) -> Hold:
    """How a parcel shows the standing hold of that handle."""
    return Hold(handle=STANDING + handle, reason=reason, holder=holder, until=until, standing=True)
