"""The role `worker`: runs the fulfillments' workflows and activities."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from contracts import fulfillment as contract
from contracts.chassis import temporal
from contracts.chassis.external_calls import ExternalCalls
from contracts.chassis.lifecycle import Health, Role
from contracts.chassis.postgres import Database
from fulfillment_service.activities import FulfillmentActivities
from fulfillment_service.bootstrap import Settings, housekeeping, intake_of, journal_of
from fulfillment_service.carrier import REFUSALS, Carrier, carrier_http
from fulfillment_service.order_bridge import OrderBridge
from fulfillment_service.workflow import FulfillmentWorkflow


@asynccontextmanager
async def open_role(settings: Settings, _: Health) -> AsyncGenerator[Role]:
    """The workers poll their queues until the role ends; running activities get their grace."""
    async with opened_worker(settings) as opened:
        yield Role(
            {"worker": opened.run, "housekeeping": housekeeping.loop(settings)}, port=settings.health.port
        )


@asynccontextmanager
async def opened_worker(settings: Settings) -> AsyncGenerator[temporal.Crew]:
    """The worker, and the one of the provider's calls, with all they need; not running yet."""
    async with (
        Database(settings.postgres, "fulfillment-worker") as database,
        carrier_http(settings.carrier) as http,
    ):
        own = await temporal.connect("fulfillments", settings.temporal)
        other = await temporal.connect("orders", settings.temporal, lazy=True)
        journal = journal_of(database)
        calls = ExternalCalls(database, "carrier", http, refusals=REFUSALS)
        activities = FulfillmentActivities(
            journal,
            intake_of(journal, settings),
            Carrier(calls),
            OrderBridge(other),
            provider_attempts=settings.temporal.provider_attempts,
        )
        yield temporal.Crew(
            temporal.worker(
                own,
                task_queue=contract.TASK_QUEUE,
                workflows=[FulfillmentWorkflow],
                activities=activities.all(),
                settings=settings.temporal,
            ),
            temporal.worker(
                own,
                task_queue=contract.CARRIER_QUEUE,
                activities=activities.of_provider(),
                settings=settings.temporal,
                slots=settings.carrier.carrier_slots,
            ),
        )
