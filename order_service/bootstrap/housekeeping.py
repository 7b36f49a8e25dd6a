"""The orders' housekeeping; it lives in the worker's process."""

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
from temporalio.client import Client

from contracts import order as contract
from contracts.chassis import temporal
from contracts.chassis.external_calls import ExternalCalls
from contracts.chassis.housekeeping import CleanUp, Housekeeping, leftovers
from contracts.chassis.housekeeping.queues import queue_rule
from contracts.chassis.postgres import Database
from contracts.chassis.reconciler import PAUSE, Reconciler
from contracts.chassis.roles.housekeeping import housekeeping, own_pool
from contracts.chassis.temporal.presence import Attendance
from order_service.activities import OrderActivities
from order_service.bootstrap import Settings, intake_of, journal_of
from order_service.fulfillment_bridge import FulfillmentBridge
from order_service.payments import REFUSALS, Payments, payments_http
from order_service.reconciliation import (
    OPEN_STREAMS,
    heard_parcel_rule,
    money_rule,
    open_order_rule,
    stock_rule,
    wish_rule,
)


def loop(settings: Settings) -> Callable[[], Coroutine[Any, Any, None]]:
    """Keeps the schedule and works on it until cancelled."""

    @asynccontextmanager
    async def opened(client: Client) -> AsyncGenerator[Housekeeping]:
        async with (
            Database(own_pool(settings.postgres), "order-housekeeping") as database,
            payments_http(settings.payments) as http,
        ):
            other = await temporal.connect("fulfillments", settings.temporal, lazy=True)
            yield housekeeping_of(settings, database, client, FulfillmentBridge(other), http)

    return housekeeping("orders", contract.HOUSEKEEPING_QUEUE, opened, settings)


def housekeeping_of(
    settings: Settings,
    database: Database,
    client: Client,
    bridge: FulfillmentBridge,
    http: httpx.AsyncClient,
    *,
    pause: timedelta = PAUSE,
) -> Housekeeping:
    """Every rule of the order service, and what it deletes by age."""
    journal, own = journal_of(database), settings.housekeeping
    payments = Payments(ExternalCalls(database, "payments", http, refusals=REFUSALS))
    orders = OrderActivities(journal, intake_of(journal, settings.deadlines), payments, bridge)
    rules = [
        open_order_rule(database, Attendance(client), orders.query_fulfillment_status, own),
        heard_parcel_rule(database, own),
        wish_rule(database, orders.signal_fulfillment_workflow, own),
        stock_rule(database, journal, own),
        money_rule(journal, payments, own),
        queue_rule(database, "orders", own),
    ]
    clean_up = CleanUp(database, OPEN_STREAMS, leftovers(own, settings.relay))
    return Housekeeping(Reconciler(database, rules, pause=pause), clean_up)
