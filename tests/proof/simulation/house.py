"""Both services, real from the doors to the decisions, on twins of everything that is not ours."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from itertools import count
from random import Random
from typing import Any, cast

import httpx
from temporalio.client import Client as TemporalClient

import fulfillment_service.bootstrap as fulfillment_bootstrap
import fulfillment_service.bootstrap.relay as fulfillment_relay
import order_service.bootstrap as order_bootstrap
import order_service.bootstrap.relay as order_relay
from contracts import fulfillment, order
from contracts.chassis import postgres as real
from contracts.chassis.external_calls import ExternalCalls
from contracts.chassis.settings import PROVIDER_ATTEMPTS
from contracts.chassis.temporal import Delivery, Target
from fulfillment_service import consumer as fulfillment_consumer
from fulfillment_service.activities import FulfillmentActivities
from fulfillment_service.carrier import REFUSALS as CARRIER_REFUSALS
from fulfillment_service.carrier import Carrier
from fulfillment_service.order_bridge import OrderBridge
from fulfillment_service.settings import WarehouseSettings
from fulfillment_service.workflow import FulfillmentWorkflow
from order_service import consumer as order_consumer
from order_service.activities import OrderActivities
from order_service.fulfillment_bridge import FulfillmentBridge
from order_service.intake import Intake as OrderIntake
from order_service.payments import REFUSALS as PAYMENT_REFUSALS
from order_service.payments import Payments
from order_service.settings import DeadlineSettings
from order_service.workflow import OrderWorkflow
from tests.proof.simulation import moving, providers, runner, statements
from tests.proof.simulation.client import Client
from tests.proof.simulation.database import Database
from tests.proof.simulation.folding import remembering
from tests.proof.simulation.kafka import Broker, Group
from tests.proof.simulation.relays import SETTINGS, Machinery
from tests.proof.simulation.scheduler import Scheduler
from tests.proof.simulation.temporal import Room, Server, Worker

ARTICLES = ("TEAPOT", "TEA-ASSAM", "SPOON")
DEADLINES = DeadlineSettings(cancel_answer_seconds=900)
PARCEL_SETTINGS = fulfillment_bootstrap.Settings()

assert statements
assert moving


def traceparent(number: int) -> str:
    """The trace of the request of that number."""
    return f"00-{number:032x}-{number:016x}-01"


class Side:
    """One service: its database, its client of Temporal, its relays and consumers."""

    def __init__(self, name: str, house: "House", namespace: str, target: Target) -> None:
        self.name = name
        self._scheduler = house.scheduler
        self.database = Database(
            lambda: house.scheduler.now,
            place=lambda: next(house.places),
            stage=house.scheduler.stage,
            ring=self._rung,
            miss=self._missed,
        )
        self.twin_client = Client(house.server, house.scheduler, namespace)
        self.client = cast("TemporalClient", self.twin_client)
        self.machinery = Machinery(name, house.scheduler, self.database, Delivery(self.client, target))

    def _rung(self, channel: str) -> None:
        self.machinery.rung(channel)

    def _missed(self, channel: str) -> None:
        """Nobody heard the bell; the relays look by themselves, later."""
        self._scheduler.after(SETTINGS.poll_seconds, lambda: self._rung(channel))

    @property
    def real_database(self) -> real.Database:
        """What our code takes it for."""
        return cast("real.Database", self.database)


class House:
    """The pair, ready to take an order."""

    def __init__(
        self,
        *,
        seed: int = 0,
        warehouse: WarehouseSettings | None = None,
        room: Room | None = None,
        stock: int = 100,
        threshold: int = 10,
        attempts: int = PROVIDER_ATTEMPTS,
    ) -> None:
        self.scheduler = Scheduler(seed)
        self.chance = Random(seed)
        self.places = count(1)
        self.server = Server(self.scheduler, room)
        self.payments = providers.Payments(self.scheduler)
        self.carrier = providers.Carrier(self.scheduler)
        self.orders = Side("order", self, order.NAMESPACE, order_relay.HOME.target)
        self.parcels = Side("parcel", self, fulfillment.NAMESPACE, fulfillment_relay.HOME.target)
        self.order_journal = remembering(order_bootstrap.journal_of(self.orders.real_database))
        self.order_intake = OrderIntake(
            self.order_journal, DEADLINES, random_bits=self.chance.getrandbits, now=lambda: self.scheduler.now
        )
        self.parcel_journal = remembering(fulfillment_bootstrap.journal_of(self.parcels.real_database))
        settings = replace(PARCEL_SETTINGS, warehouse=warehouse) if warehouse else PARCEL_SETTINGS
        self.parcel_intake = fulfillment_bootstrap.intake_of(self.parcel_journal, settings)
        self.standing = self.parcel_intake.standing
        self._open(stock, threshold, attempts)

    def _open(self, pieces: int, threshold: int, attempts: int) -> None:
        """The shelves are full, and both workers poll."""
        for sku in ARTICLES:
            row = {"sku": sku, "name": sku, "initial": pieces, "available": pieces, "held": 0, "shipped": 0}
            self.orders.database.tables.put("stock", (sku,), row)
        for side, name in ((self.orders, "payments"), (self.parcels, "carrier")):
            closed = {"name": name, "state": "CLOSED", "failures": 0, "threshold": threshold}
            times = {"open_until": None, "probe_until": None, "changed_at": self.scheduler.now}
            row = closed | times | {"cool_down_seconds": 10.0}
            side.database.tables.put("circuit_breakers", (name,), row)
        order_activities = OrderActivities(
            self.order_journal,
            self.order_intake,
            Payments(_calls(self.orders, "payments", self.payments, PAYMENT_REFUSALS)),
            FulfillmentBridge(self.parcels.client),
            provider_attempts=attempts,
        )
        parcel_activities = FulfillmentActivities(
            self.parcel_journal,
            self.parcel_intake,
            Carrier(_calls(self.parcels, "carrier", self.carrier, CARRIER_REFUSALS)),
            OrderBridge(self.orders.client),
            provider_attempts=attempts,
        )
        self.server.poll(
            Worker("order", order.NAMESPACE, order.TASK_QUEUE, OrderWorkflow, _named(order_activities.all()))
        )
        self.server.poll(
            Worker(
                "parcel",
                fulfillment.NAMESPACE,
                fulfillment.TASK_QUEUE,
                FulfillmentWorkflow,
                _named(parcel_activities.all()),
            )
        )

    def connect_kafka(self, *, relays: int, members: int) -> None:
        """So many relays publish each outbox, and so many consumers read what the other service tells."""
        self.broker = Broker(self.scheduler)
        self.readers = Group(self.broker, order_consumer.TOPICS, members)
        self.parcel_readers = Group(self.broker, fulfillment_consumer.TOPICS, members)
        for side, group, consumer in (
            (self.orders, self.readers, order_consumer),
            (self.parcels, self.parcel_readers, fulfillment_consumer),
        ):
            side.machinery.publish_to(self.broker, relays)
            side.machinery.consume(group, consumer.CONSUMER, consumer.effect, self.chance)

    async def signal(self, side: str, workflow_id: str, name: str, content: Sequence[Any]) -> bool:
        """False when no such workflow runs."""
        namespace = order.NAMESPACE if side == "order" else fulfillment.NAMESPACE
        return self.server.signal(namespace, workflow_id, runner.signalled(name, runner.packed(*content)))

    def close(self) -> None:
        self.scheduler.close()
        self.server.close()


def _calls(side: Side, name: str, provider: providers.Provider, refusals: Collection[int]) -> ExternalCalls:
    http = cast("httpx.AsyncClient", provider)
    return ExternalCalls(side.real_database, name, http, refusals=refusals)


def _named(activities: list[Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    return {runner.activity_name(each): each for each in activities}
