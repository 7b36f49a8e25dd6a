"""The role `relay`: the fulfillments' outbox to Kafka, knocks to the fulfillment workflows."""

from contextlib import AbstractAsyncContextManager

from contracts import fulfillment as contract
from contracts.chassis.lifecycle import Health, Role
from contracts.chassis.parking import dead_letters
from contracts.chassis.roles.relay import Home, relay
from contracts.chassis.temporal.delivery import Target
from fulfillment_service.bootstrap import Settings
from fulfillment_service.consumer import TOPICS

HOME = Home(
    profile="fulfillments",
    target=Target("fulfillmentWorkflow", contract.TASK_QUEUE, contract.fulfillment_id_of),
    topics=(contract.TOPIC, *map(dead_letters, TOPICS)),
    source=contract.SOURCE,
    stream_of=contract.stream,
    open_ones="""
        select fulfillment_id as id
        from fulfillment_view
        left join order_view using (order_id)
        where fulfillment_id = any(%(ids)s)
          -- One that has ended is open as well until its order has heard of it.
          and (
            step <> 'end'
            or order_view.status not in ('SHIPPED', 'NEEDS_ATTENTION', 'CANCELLED', 'FAILED')
          )
        """,
)


def open_role(settings: Settings, health: Health) -> AbstractAsyncContextManager[Role]:
    """Rows leave the database."""
    return relay(HOME, settings, health)
