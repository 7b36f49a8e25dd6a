"""What an undo of the order does: the reverse of what was done, in the order in which it is done."""

from contracts.chassis.troubles import Undo
from contracts.order import PaymentStatus, Stage
from order_service.order.state import Order, Step


def plan(order: Order) -> list[Undo]:
    """The money first, then the stock; nothing once the parcel has left."""
    if order.completion == "SHIPPED" or order.stage is Stage.SHIPPED:
        return []
    waits = any(trouble.step_key == Step.UNDO for trouble in order.troubles)
    voids = [Undo("void-payment", "waits" if waits else "planned") for _ in order.authorizations]
    if order.open_authorization:
        voids.append(Undo("void-payment", "unknown"))
    if order.payment is PaymentStatus.VOIDED:
        voids.append(Undo("void-payment", "done"))
    match order.stock:
        case "held" | "confirmed":
            return [*voids, Undo("release-stock", "planned")]
        case "released":
            return [*voids, Undo("release-stock", "done")]
        case _:
            return voids
