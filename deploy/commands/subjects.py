"""Whom and what a command asks: a service, or one order or parcel behind its door."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from deploy.commands.options import AsJson, FulfillmentUrl, OrderUrl
from deploy.commands.rest import (
    Door,
    Json,
    NoAnswer,
    address,
    in_path,
    print_json,
    problem_of,
    refused,
    say,
    unreachable,
)

OrderId = Annotated[str, typer.Argument(metavar="ID", help="Order id or workflow id.", show_default=False)]
ParcelId = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="Fulfillment, workflow or order id (its newest parcel).", show_default=False
    ),
]


@dataclass(frozen=True, kw_only=True)
class Subject(ABC):
    """Something behind a service's door."""

    as_json: AsJson = False

    @property
    @abstractmethod
    def door(self) -> Door: ...

    @property
    def path(self) -> str:
        return ""

    def show(self, seen: Json, lines: Callable[[Json], list[str]]) -> None:
        """The whole of it for a program, or these lines for a person."""
        if self.as_json:
            print_json(seen)
        else:
            say(*lines(seen))


@dataclass(frozen=True, kw_only=True)
class OrderService(Subject):
    """What shops use."""

    order_url: OrderUrl = None

    @property
    def door(self) -> Door:
        return Door("order service", self.order_url or address("TANDEM_ORDER_URL"), self.as_json)


@dataclass(frozen=True, kw_only=True)
class FulfillmentService(Subject):
    """What operators use."""

    fulfillment_url: FulfillmentUrl = None

    @property
    def door(self) -> Door:
        url = self.fulfillment_url or address("TANDEM_FULFILLMENT_URL")
        return Door("fulfillment service", url, self.as_json)


@dataclass(frozen=True, kw_only=True)
class Services(Subject):
    """Both; whoever knows the answer gives it."""

    order_url: OrderUrl = None
    fulfillment_url: FulfillmentUrl = None

    @property
    def door(self) -> Door:
        return self.doors[0]

    @property
    def doors(self) -> tuple[Door, Door]:
        orders = OrderService(as_json=self.as_json, order_url=self.order_url)
        fulfillments = FulfillmentService(as_json=self.as_json, fulfillment_url=self.fulfillment_url)
        return orders.door, fulfillments.door

    def knowing(self, path: str, *, nobody: str) -> tuple[Door, Json]:
        """Who knows it, and what is there. Ends the process, with these words, when neither service does."""
        silent: list[Door] = []
        problem: Json = {}
        for door in self.doors:
            try:
                answer = door.send("GET", path)
            except NoAnswer:
                silent.append(door)
                continue
            if answer.status_code < 400:
                return door, answer.json()
            problem = problem_of(answer)
            if problem["code"] != "NOT_FOUND":
                refused(problem, self.as_json)
        if silent:
            # The other one does not know it, so the silent one has to be heard before the answer is no.
            unreachable(silent[0].name, silent[0].url, self.as_json)
        return refused({**problem, "detail": nobody}, self.as_json)


@dataclass(frozen=True, kw_only=True)
class Thing(Subject):
    """One order or one parcel."""

    group: ClassVar[str]
    """The commands about it, such as `order`."""
    thing: ClassVar[str]
    parcel: ClassVar[str]
    """The two as help texts call them."""
    to_parcel: ClassVar[str]
    """The path from here to what is about the parcel alone."""

    @property
    @abstractmethod
    def name(self) -> str: ...

    def read(self, path: str = "") -> Json:
        """What is there. Ends the process when it is refused or nobody answers."""
        return self.door.ask("GET", self.path + path)


@dataclass(frozen=True, kw_only=True)
class Order(OrderService, Thing):
    group, thing, parcel, to_parcel = (
        "order",
        "an order",
        "the order's parcel, also before it exists,",
        "/fulfillment",
    )
    order_id: OrderId

    @property
    def name(self) -> str:
        return self.order_id

    @property
    def path(self) -> str:
        return f"/orders/{in_path(self.order_id)}"


@dataclass(frozen=True, kw_only=True)
class Parcel(FulfillmentService, Thing):
    group, thing, parcel, to_parcel = "fulfillment", "a parcel", "a parcel", ""
    fulfillment_id: ParcelId

    @property
    def name(self) -> str:
        return self.fulfillment_id

    @property
    def path(self) -> str:
        return f"/fulfillments/{in_path(self.fulfillment_id)}"
