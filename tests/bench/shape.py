"""What a workflow of ours does on Temporal, read from its history, so that the floor does as much."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

LOCAL, NORMAL, START_PEER, REPORT, TIMER = "L", "A", "S", "R", "W"
"""A local activity, a normal one, the one that starts the other workflow, the one that signals it."""

_BRIDGES = {"startFulfillmentWorkflow": START_PEER, "signalOrderWorkflow": REPORT}


@dataclass(frozen=True)
class Shape:
    """The steps of both workflows, one letter each, in the order they were scheduled."""

    orders: str = "LALSWLA"
    fulfillments: str = "LLAAR"

    @classmethod
    def recorded(cls, orders: str, fulfillments: str) -> Self:
        """Raises ValueError when the pair did not meet, or waited where the floor would not know for what."""
        if orders.count(START_PEER) != 1 or not fulfillments.endswith(REPORT):
            raise ValueError(f"no happy path: {orders} and {fulfillments}")
        return cls(orders, fulfillments.replace(TIMER, ""))

    def of(self, namespace: str) -> str:
        return self.orders if namespace == "orders" else self.fulfillments

    def as_dict(self) -> dict[str, dict[str, int]]:
        """Counts for the report."""
        names = {
            "local_activities": (LOCAL,),
            "normal_activities": (NORMAL, START_PEER, REPORT),
            "timers": (TIMER,),
        }
        return {
            namespace: {name: sum(map(self.of(namespace).count, letters)) for name, letters in names.items()}
            | {"signals": 2 if namespace == "orders" else 1}
            for namespace in ("orders", "fulfillments")
        }


def script_of(events: Iterable[HistoryEvent]) -> str:
    """The letters of one history."""
    letters: list[str] = []
    for event in events:
        match event.event_type:
            case EventType.EVENT_TYPE_MARKER_RECORDED:
                if event.marker_recorded_event_attributes.marker_name == "core_local_activity":
                    letters.append(LOCAL)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                name = event.activity_task_scheduled_event_attributes.activity_type.name
                letters.append(_BRIDGES.get(name, NORMAL))
            case EventType.EVENT_TYPE_TIMER_STARTED:
                letters.append(TIMER)
            case _:
                pass
    return "".join(letters)
