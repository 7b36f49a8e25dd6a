"""The role `worker`: runs the orders' workflows and activities."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from contracts import order as contract
from contracts.chassis import temporal
from contracts.chassis.external_calls import ExternalCalls
from contracts.chassis.lifecycle import Health, Role
from contracts.chassis.postgres import Database
from order_service.activities import OrderActivities
from order_service.bootstrap import Settings, housekeeping, intake_of, journal_of
from order_service.fulfillment_bridge import FulfillmentBridge
from order_service.payments import REFUSALS, Payments, payments_http
from order_service.workflow import OrderWorkflow


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
        Database(settings.postgres, "order-worker") as database,
        payments_http(settings.payments) as http,
    ):
        own = await temporal.connect("orders", settings.temporal)
        other = await temporal.connect("fulfillments", settings.temporal, lazy=True)
        journal = journal_of(database)
        intake = intake_of(journal, settings.deadlines)
        calls = ExternalCalls(database, "payments", http, refusals=REFUSALS)
        activities = OrderActivities(
            journal,
            intake,
            Payments(calls),
            FulfillmentBridge(other),
            provider_attempts=settings.temporal.provider_attempts,
        )
        yield temporal.Crew(
            temporal.worker(
                own,
                task_queue=contract.TASK_QUEUE,
                workflows=[OrderWorkflow],
                activities=activities.all(),
                settings=settings.temporal,
            ),
            temporal.worker(
                own,
                task_queue=contract.PAYMENTS_QUEUE,
                activities=activities.of_provider(),
                settings=settings.temporal,
                slots=settings.payments.payments_slots,
            ),
        )
