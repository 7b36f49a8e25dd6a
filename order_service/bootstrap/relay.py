"""The role `relay`: the orders' outbox to Kafka, knocks to the order workflows."""

from contextlib import AbstractAsyncContextManager

from contracts import order as contract
from contracts.chassis.lifecycle import Health, Role
from contracts.chassis.parking import dead_letters
from contracts.chassis.roles.relay import Home, relay
from contracts.chassis.temporal.delivery import Target
from order_service.bootstrap import Settings
from order_service.consumer import TOPICS

HOME = Home(
    profile="orders",
    target=Target("processOrderWorkflow", contract.TASK_QUEUE, contract.order_id_of),
    topics=(contract.TOPIC, *map(dead_letters, TOPICS)),
    source=contract.SOURCE,
    stream_of=contract.stream,
    open_ones="""
        select order_id as id
        from order_view
        where order_id = any(%(ids)s) and step <> 'end'
        """,
)


def open_role(settings: Settings, health: Health) -> AbstractAsyncContextManager[Role]:
    """Rows leave the database."""
    return relay(HOME, settings, health)
