"""The role `relay`: the orders' outbox to Kafka, knocks to the order workflows."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from contracts import order as contract
from contracts.chassis.lifecycle import Health, Role
from contracts.chassis.postgres import Database
from contracts.chassis.roles.relay import Home, relay
from contracts.chassis.temporal.delivery import Target
from order_service.bootstrap import Settings

_KNOCK_OPEN = """
    insert into knocks (workflow_id, signal)
    select 'order-workflow-' || order_id, 'knock'
    from order_view
    where 'order-workflow-' || order_id = any(%(ids)s)
      and step <> 'end'
    """


async def knock_open(database: Database, workflow_ids: Sequence[str]) -> int:
    """Each of these workflows whose order has not ended is knocked."""
    inserted = await database.execute(_KNOCK_OPEN, ids=list(workflow_ids))
    if inserted:
        database.ring("knocks")
    return inserted


HOME = Home(
    "orders",
    Target("processOrderWorkflow", contract.TASK_QUEUE, contract.order_id_of),
    contract.TOPIC,
    knock_open,
)


def open_role(settings: Settings, health: Health) -> AbstractAsyncContextManager[Role]:
    """Rows leave the database."""
    return relay(HOME, settings, health)
