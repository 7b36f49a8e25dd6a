"""What the fulfillment service learns from Kafka: where the order of each parcel stands."""

from contracts import order
from contracts.chassis.postgres import Connection
from contracts.envelope import Event
from fulfillment_service.projection import show_order

CONSUMER = "fulfillment-view"
TOPICS = (order.TOPIC,)


async def effect(connection: Connection, event: Event) -> None:
    """The view of the order's parcels shows the order as of this event."""
    if event.source == order.SOURCE:
        await show_order(connection, event)
