"""What the order service learns from Kafka: where the fulfillment of each order stands."""

from contracts import fulfillment
from contracts.chassis.postgres import Connection
from contracts.envelope import Event
from order_service.projection import show_fulfillment

CONSUMER = "order-view"
TOPICS = (fulfillment.TOPIC,)


async def effect(connection: Connection, event: Event) -> None:
    """The order's view shows the fulfillment as of this event."""
    if event.source == fulfillment.SOURCE:
        await show_fulfillment(connection, event)
