"""Both REST doors over real databases, with nobody behind them: what a caller is told at once."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, LiteralString, cast

import httpx
from fastapi import FastAPI

import fulfillment_service.bootstrap as fulfillments
import order_service.bootstrap as orders
from contracts.chassis import telemetry
from contracts.chassis.inbox import Inbox
from contracts.chassis.kafka.records import IncomingRecord
from contracts.chassis.lifecycle import Health, Role
from contracts.chassis.postgres import Database, Row
from contracts.chassis.settings import HealthSettings
from contracts.fulfillment import StartFulfillment, fulfillment_id
from contracts.order import workflow_id
from contracts.values import Address, Hold, Line
from fulfillment_service import consumer as fulfillments_consumer
from fulfillment_service.bootstrap import api as fulfillments_api
from fulfillment_service.intake import Intake
from fulfillment_service.settings import FulfillmentPostgresSettings
from order_service import consumer as orders_consumer
from order_service.bootstrap import api as orders_api
from order_service.settings import OrderPostgresSettings

Service = Literal["orders", "fulfillments"]

_COUNTS: LiteralString = """
    select 'events' as name, count(*) as rows from events
    union all select 'receipts', count(*) from receipts
    union all select 'outbox', count(*) from outbox
    union all select 'knocks', count(*) from knocks
    union all select 'pii', count(*) from pii
    """


@dataclass
class Doors:
    """Both doors, the databases behind them, and what the warehouse uses to take parcels in."""

    http: Mapping[Service, httpx.AsyncClient]
    databases: Mapping[Service, Database]
    warehouse: Intake

    async def stored(self) -> dict[str, int]:
        """The number of rows of each table that a request may write to."""
        counts: dict[str, int] = {}
        for service, database in self.databases.items():
            for row in await database.fetch(_COUNTS):
                counts[f"{service}.{row['name']}"] = row["rows"]
        return counts

    async def carry(self) -> None:
        """Each service has heard what the other one has told so far, without a broker between them."""
        effects: dict[Service, Inbox] = {
            "orders": Inbox(self.databases["orders"], orders_consumer.CONSUMER, orders_consumer.effect),
            "fulfillments": Inbox(
                self.databases["fulfillments"], fulfillments_consumer.CONSUMER, fulfillments_consumer.effect
            ),
        }
        ways: tuple[tuple[Service, Service], ...] = (("orders", "fulfillments"), ("fulfillments", "orders"))
        for teller, listener in ways:
            told = await self.databases[teller].fetch(
                "select * from outbox where right(topic, 4) <> '.dlq' order by id"
            )
            await effects[listener].apply([self.record(row) for row in told])

    @staticmethod
    def record(row: Row) -> IncomingRecord:
        """What a reader gets of an outbox row."""
        headers = {name: str(value).encode() for name, value in row["headers"].items()}
        return IncomingRecord(row["topic"], 0, row["id"], row["key"].encode(), headers, bytes(row["body"]))

    async def order(self, body: Mapping[str, Any], key: str | None = None) -> str:
        """The id of an accepted order."""
        headers = {"Idempotency-Key": key} if key else {}
        placed = await self.http["orders"].post("/orders", json=body, headers=headers)
        assert placed.status_code == 201, placed.text
        return placed.json()["orderId"]

    async def parcel(self, order_id: str, address: Mapping[str, Any], holds: Sequence[Hold] = ()) -> str:
        """The id of the order's parcel, which a person works on; no step of it has begun."""
        await self.warehouse.accept(
            StartFulfillment(
                order_id=order_id,
                n=1,
                lines=(Line(sku="TEAPOT", quantity=1),),
                address=Address.model_validate(address),
                address_version=1,
                country=address["country"],
                customer_ref="customer-1",
                holds=tuple(holds),
                mode="manual",
                reply_to=workflow_id(order_id),
            )
        )
        return fulfillment_id(order_id, 1)


@asynccontextmanager
async def open_doors(orders_url: str, fulfillments_url: str) -> AsyncGenerator[Doors]:
    """Both doors answer until the end."""
    telemetry.ensure_provider()
    health = Health(HealthSettings())
    order_settings = orders.Settings(postgres=OrderPostgresSettings(url=orders_url))
    parcel_settings = fulfillments.Settings(postgres=FulfillmentPostgresSettings(url=fulfillments_url))
    async with AsyncExitStack() as stack:
        roles: dict[Service, Role] = {
            "orders": await stack.enter_async_context(orders_api.open_role(order_settings, health)),
            "fulfillments": await stack.enter_async_context(
                fulfillments_api.open_role(parcel_settings, health)
            ),
        }
        apps: dict[Service, FastAPI] = {name: cast("FastAPI", role.door) for name, role in roles.items()}
        http: dict[Service, httpx.AsyncClient] = {
            name: await stack.enter_async_context(
                httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://door")
            )
            for name, app in apps.items()
        }
        databases: dict[Service, Database] = {name: app.state.door.database for name, app in apps.items()}
        loops = [asyncio.create_task(loop()) for role in roles.values() for loop in role.loops.values()]
        try:
            yield Doors(http, databases, apps["fulfillments"].state.door.intake)
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
