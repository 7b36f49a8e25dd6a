"""Both services, real from the doors to the decisions, on twins of everything that is not ours."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any, cast

from temporalio.client import Client as TemporalClient

import fulfillment_service.bootstrap as fulfillment_bootstrap
import fulfillment_service.bootstrap.relay as fulfillment_relay
import order_service.bootstrap as order_bootstrap
import order_service.bootstrap.relay as order_relay
from contracts import fulfillment, order
from contracts.chassis import knocks
from contracts.chassis import postgres as real
from contracts.chassis.errors import Unavailable
from contracts.chassis.knocks import DueKnock
from contracts.chassis.temporal import Delivery, Target
from fulfillment_service import carrier as carrier_module
from fulfillment_service.activities import FulfillmentActivities
from fulfillment_service.order_bridge import OrderBridge
from fulfillment_service.settings import WarehouseSettings
from fulfillment_service.workflow import FulfillmentWorkflow
from order_service import payments as payments_module
from order_service.activities import OrderActivities
from order_service.fulfillment_bridge import FulfillmentBridge
from order_service.intake import Intake as OrderIntake
from order_service.settings import DeadlineSettings
from order_service.workflow import OrderWorkflow
from tests.proof.simulation import runner, statements
from tests.proof.simulation.client import Client
from tests.proof.simulation.database import Database, Row
from tests.proof.simulation.providers import Carrier, Payments
from tests.proof.simulation.scheduler import Scheduler, sleep
from tests.proof.simulation.temporal import Room, Server, Worker

ARTICLES = {"TEAPOT": 100, "TEA-ASSAM": 100, "SPOON": 100}
DEADLINES = DeadlineSettings(cancel_answer_seconds=900)
KNOCK_PAUSE_SECONDS = 1.0

assert statements


class Side:
    """One service: its database, its relay for knocks, and the pieces that its bootstrap puts together."""

    def __init__(self, name: str, house: "House", namespace: str, target: Target) -> None:
        self.name = name
        self._house = house
        self._claimed: set[int] = set()
        self.database = Database(
            lambda: house.scheduler.now,
            place=lambda: next(house.places),
            stage=house.scheduler.stage,
            ring=self._rung,
        )
        self.client = cast("TemporalClient", Client(house.server, house.scheduler, namespace))
        self._delivery = Delivery(self.client, target)
        self.knocks_tried = 0

    @property
    def real_database(self) -> real.Database:
        """What our code takes it for."""
        return cast("real.Database", self.database)

    @property
    def undelivered(self) -> int:
        return sum(1 for _ in self.database.tables.all("knocks"))

    def _rung(self, channel: str) -> None:
        if channel != knocks.CHANNEL:
            return
        for row in self.database.tables.all("knocks"):
            if row["id"] not in self._claimed:
                self._claimed.add(row["id"])
                if row["due_at"] <= self._house.scheduler.now:
                    self._go(row)
                else:
                    self._house.scheduler.at(row["due_at"], partial(self._go, row))

    def _go(self, row: Row) -> None:
        self.knocks_tried += 1
        name = f"{self.name}.knock#{self.knocks_tried}"
        self._house.scheduler.spawn(self._deliver(row), name, f"{self.name}-relay")

    async def _deliver(self, row: Row) -> None:
        """The workflow has the knock; then, and not before, its row is gone."""
        due = DueKnock(row["workflow_id"], row["signal"], row["command_id"], id=row["id"])
        while True:
            try:
                await self._delivery.deliver(due)
            except Unavailable:
                await sleep(KNOCK_PAUSE_SECONDS)
            else:
                break
        self.database.tables.remove("knocks", (row["id"],))


class House:
    """The pair, ready to take an order."""

    def __init__(
        self, *, seed: int = 0, warehouse: WarehouseSettings | None = None, room: Room | None = None
    ) -> None:
        self.scheduler = Scheduler(seed)
        self.places = count(1)
        self.server = Server(self.scheduler, room)
        self.payments = Payments(self.scheduler)
        self.carrier = Carrier(self.scheduler)
        self.orders = Side("order", self, order.NAMESPACE, order_relay.HOME.target)
        self.parcels = Side("parcel", self, fulfillment.NAMESPACE, fulfillment_relay.HOME.target)
        self.order_journal = order_bootstrap.journal_of(self.orders.real_database)
        self.order_intake = OrderIntake(
            self.order_journal, DEADLINES, random_bits=lambda _: 20260302, now=lambda: self.scheduler.now
        )
        self.parcel_journal = fulfillment_bootstrap.journal_of(self.parcels.real_database)
        settings = fulfillment_bootstrap.Settings(warehouse=warehouse or WarehouseSettings())
        self.parcel_intake = fulfillment_bootstrap.intake_of(
            self.parcel_journal, settings, now=lambda: self.scheduler.now
        )
        self.standing = self.parcel_intake.standing
        self._open()

    def _open(self) -> None:
        """The shelves are full, and both workers poll."""
        for sku, pieces in ARTICLES.items():
            row = {"sku": sku, "name": sku, "initial": pieces, "available": pieces, "held": 0, "shipped": 0}
            self.orders.database.tables.put("stock", (sku,), row)
        order_activities = OrderActivities(
            self.order_journal,
            self.order_intake,
            cast("payments_module.Payments", self.payments),
            FulfillmentBridge(self.parcels.client),
        )
        parcel_activities = FulfillmentActivities(
            self.parcel_journal,
            self.parcel_intake,
            cast("carrier_module.Carrier", self.carrier),
            OrderBridge(self.orders.client),
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

    async def signal(self, side: str, workflow_id: str, name: str, content: Sequence[Any]) -> bool:
        """False when no such workflow runs."""
        namespace = order.NAMESPACE if side == "order" else fulfillment.NAMESPACE
        return self.server.signal(namespace, workflow_id, runner.signalled(name, runner.packed(*content)))

    def close(self) -> None:
        self.scheduler.close()
        self.server.close()


def _named(activities: list[Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    return {runner.activity_name(each): each for each in activities}
