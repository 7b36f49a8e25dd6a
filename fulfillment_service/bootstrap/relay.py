"""The role `relay`: the fulfillments' outbox to Kafka, knocks to the fulfillment workflows."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from contracts import fulfillment as contract
from contracts.chassis.lifecycle import Health, Role
from contracts.chassis.postgres import Database
from contracts.chassis.roles.relay import Home, relay
from contracts.chassis.temporal.delivery import Target
from fulfillment_service.bootstrap import Settings

_KNOCK_OPEN = """
    insert into knocks (workflow_id, signal)
    select 'fulfillment-' || fulfillment_id, 'knock'
    from fulfillment_view
    where 'fulfillment-' || fulfillment_id = any(%(ids)s)
      and step <> 'end'
    """


async def knock_open(database: Database, workflow_ids: Sequence[str]) -> int:
    """Each of these workflows whose fulfillment has not ended is knocked."""
    inserted = await database.execute(_KNOCK_OPEN, ids=list(workflow_ids))
    if inserted:
        database.ring("knocks")
    return inserted


HOME = Home(
    "fulfillments",
    Target("fulfillmentWorkflow", contract.TASK_QUEUE, contract.fulfillment_id_of),
    contract.TOPIC,
    knock_open,
)


def open_role(settings: Settings, health: Health) -> AbstractAsyncContextManager[Role]:
    """Rows leave the database."""
    return relay(HOME, settings, health)
