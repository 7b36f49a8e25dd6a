"""What taking the parcel apart does: the reverse of what was done, in the order in which it is done."""

from contracts.chassis.troubles import Undo, UndoState
from contracts.fulfillment import PACK, Stage
from fulfillment_service.fulfillment.state import Fulfillment


def plan(f: Fulfillment) -> list[Undo]:
    """The label first, then the box, then the shelf; nothing once the carrier has the parcel."""
    if f.stage is Stage.SHIPPED:
        return []
    undone: list[Undo] = []
    if f.label is not None:
        is_booked = f.label.tracking_reference is not None
        undone.append(Undo("void-label", _now(f, "void-") if is_booked else "unknown"))
    elif f.is_undone and f.costs.wasted_minor:
        undone.append(Undo("void-label", "done"))
    shelf: UndoState = "done" if f.is_ended else _now(f, "settle")
    if f.worked > f.warehouse_steps.index(PACK):
        undone.append(Undo("unpack", shelf))
    return [*undone, Undo("restock", shelf)] if f.picked else undone


def _now(f: Fulfillment, step: str) -> UndoState:
    waits = f.is_undone and any(trouble.step_key.startswith(step) for trouble in f.troubles)
    return "waits" if waits else "planned"
