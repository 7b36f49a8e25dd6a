"""The REST door as both services build it: their own routes, and those for whoever looks after a service."""

from fastapi import APIRouter, FastAPI

from contracts.chassis import breaker_routes, documents, operations, parked, problems
from contracts.chassis.settings import ApiSettings
from contracts.chassis.telemetry import rest_telemetry


def application_of(
    router: APIRouter, settings: ApiSettings, *, title: str, description: str, version: str
) -> FastAPI:
    """A door that refuses by the same rules as any other, and describes that."""
    app = FastAPI(title=title, description=description, version=version, telemetry=rest_telemetry())
    for routes in (router, operations.router, parked.router, breaker_routes.router):
        app.include_router(routes)
    problems.install(app, settings)
    documents.describe_problems(app)
    return app
