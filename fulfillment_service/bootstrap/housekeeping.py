"""The parcels' housekeeping; it lives in the worker's process."""

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
from temporalio.client import Client

from contracts import fulfillment as contract
from contracts.chassis.external_calls import ExternalCalls
from contracts.chassis.housekeeping import CleanUp, Housekeeping, leftovers
from contracts.chassis.housekeeping.queues import queue_rule
from contracts.chassis.postgres import Database
from contracts.chassis.reconciler import PAUSE, Reconciler
from contracts.chassis.roles.housekeeping import housekeeping, own_pool
from contracts.chassis.temporal.presence import Attendance
from fulfillment_service.bootstrap import Settings, journal_of
from fulfillment_service.carrier import REFUSALS, Carrier, carrier_http
from fulfillment_service.reconciliation import OPEN_STREAMS, label_rule, open_parcel_rule, wish_rule


def loop(settings: Settings) -> Callable[[], Coroutine[Any, Any, None]]:
    """Keeps the schedule and works on it until cancelled."""

    @asynccontextmanager
    async def opened(client: Client) -> AsyncGenerator[Housekeeping]:
        async with (
            Database(own_pool(settings.postgres), "fulfillment-housekeeping") as database,
            carrier_http(settings.carrier) as http,
        ):
            yield housekeeping_of(settings, database, client, http)

    return housekeeping("fulfillments", contract.HOUSEKEEPING_QUEUE, opened, settings)


def housekeeping_of(
    settings: Settings,
    database: Database,
    client: Client,
    http: httpx.AsyncClient,
    *,
    pause: timedelta = PAUSE,
) -> Housekeeping:
    """Every rule of the fulfillment service, and what it deletes by age."""
    journal, own = journal_of(database), settings.housekeeping
    carrier = Carrier(ExternalCalls(database, "carrier", http, refusals=REFUSALS))
    rules = [
        open_parcel_rule(database, Attendance(client), own),
        wish_rule(database, own),
        label_rule(journal, carrier, own),
        queue_rule(database, "fulfillments", own),
    ]
    clean_up = CleanUp(database, OPEN_STREAMS, leftovers(own, settings.relay))
    return Housekeeping(Reconciler(database, rules, pause=pause), clean_up)
