"""The role `api`: the REST door. PostgreSQL is all it needs."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from contracts import fulfillment as contract
from contracts.chassis.inbox import Inbox
from contracts.chassis.lifecycle import Health, Role
from contracts.chassis.parked import Parked
from contracts.chassis.postgres import Database
from contracts.chassis.roles.door import application_of
from contracts.chassis.roles.inspection import inspector
from contracts.chassis.watch import Watch
from fulfillment_service.bootstrap import VERSION, Settings, intake_of, journal_of
from fulfillment_service.consumer import CONSUMER, effect
from fulfillment_service.rest import Door, router
from fulfillment_service.settings import FulfillmentApiSettings


def application(settings: FulfillmentApiSettings) -> FastAPI:
    """The REST door without anything behind it: what its OpenAPI document describes."""
    return application_of(
        router,
        settings,
        title="Tandem fulfillment service",
        description="Follow parcels, hold and move them; their warehouse and carrier are simulated.",
        version=VERSION,
    )


@asynccontextmanager
async def open_role(settings: Settings, health: Health) -> AsyncGenerator[Role]:
    """Wishes for parcels are taken, and answered from PostgreSQL."""
    async with Database(settings.postgres, "fulfillment-api") as database:
        app = application(settings.api)
        watch = Watch(database)
        inspect = inspector("fulfillments", contract.TASK_QUEUE)
        app.state.door = Door(database, intake_of(journal_of(database), settings), watch, inspect)
        app.state.parked = Parked(database, Inbox(database, CONSUMER, effect))
        app.router.routes.extend(health.routes())
        api = settings.api
        yield Role(watch.loops(), door=app, host=api.host, port=api.port)
