"""Who uses the pair while it breaks: shops that insist, operators who work, somebody who helps at the end."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, LiteralString, get_args

import httpx

from contracts.envelope import ReceiptStatus
from deploy.local.processes import Service
from tests.proof.chaos.house import House
from tests.proof.chaos.plan import Command, Create
from tests.proof.chaos.stores import Stores
from tests.proof.chaos.watch import Watch
from tests.proof.record import Answer, Asked, Message, Placed, Sent
from tests.proof.record import Service as StoreName

NAME, EMAIL, STREET = "Quirina Tumultsdottir", "quirina@tumult.example", "99 Upheaval Alley"
SECOND_STREET = "1 Quieter Crescent"
PERSONAL = {NAME, EMAIL, STREET, SECOND_STREET, "Adalia Demonstrata", "adalia.demonstrata@example.com",
            "17 Sample Orchard Lane"}  # fmt: skip
"""Ours, and the demo order's."""

Json = dict[str, Any]
_TIMEOUT_SECONDS = 6.0
_AGAIN_SECONDS = 0.2
_STORES: Mapping[Service, StoreName] = {"order_service": "orders", "fulfillment_service": "fulfillments"}
_UNDO: Mapping[str, Message] = {"pause": "resume", "hold": "release"}

_OPEN_PARCELS: LiteralString = """
    select fulfillment_id, status, document
    from fulfillment_view
    where stage not in ('SHIPPED', 'CANCELLED', 'FAILED')
    """
_OPEN_EXCEPTIONS: LiteralString = "select id from exceptions where resolved_at is null"
_HELD_ORDERS: LiteralString = """
    select order_id
    from order_view
    where step <> 'end' and document -> 'holds' <> '[]'::jsonb
    """


@dataclass
class Journal:
    """What was asked and heard."""

    asked: list[Asked] = field(default_factory=list[Asked])
    placed: list[Placed] = field(default_factory=list[Placed])
    sent: list[Sent] = field(default_factory=list[Sent])


class Doors:
    """Both doors of both services; who gets no answer at one asks at the other."""

    def __init__(self, house: House, journal: Journal) -> None:
        self._journal = journal
        self._doors: dict[Service, list[httpx.AsyncClient]] = {
            service: [
                httpx.AsyncClient(base_url=url, timeout=_TIMEOUT_SECONDS) for url in house.stack.urls(service)
            ]
            for service in ("order_service", "fulfillment_service")
        }

    async def close(self) -> None:
        for doors in self._doors.values():
            for door in doors:
                await door.aclose()

    async def insist(
        self,
        service: Service,
        method: str,
        path: str,
        *,
        key: str,
        first: int = 0,
        is_there: bool = True,
        **more: Any,
    ) -> httpx.Response:
        """The answer, asked for under the same key until somebody gives one that counts."""
        invoked_at, tries, answers = time.time(), 0, list[httpx.Response]()
        try:
            while not answers or _is_for_later(answers[-1]):
                if tries:
                    await asyncio.sleep(_AGAIN_SECONDS)
                doors = self._doors[service]
                door = doors[(first + tries) % len(doors)]
                tries += 1
                with suppress(httpx.TransportError):
                    headers = {"Idempotency-Key": key, "X-Actor": "chaos"}
                    answers.append(await door.request(method, path, headers=headers, **more))
            return answers[-1]
        finally:
            self._journal.asked.append(
                Asked(
                    _STORES[service], method, path, key, invoked_at, _returned_at(answers), tries,
                    [Answer(each.status_code, each.headers.get("Retry-After")) for each in answers],
                    **_told(answers), is_there=is_there,
                )
            )  # fmt: skip


def _is_for_later(answer: httpx.Response) -> bool:
    """Asked again, it may be granted."""
    return answer.status_code >= 500 or bool(answer.status_code >= 400 and answer.json().get("retryable"))


def _returned_at(answers: Sequence[httpx.Response]) -> float | None:
    return time.time() if answers and not _is_for_later(answers[-1]) else None


def _told(answers: Sequence[httpx.Response]) -> Json:
    """The receipt in the answer that counts; an exception that no stream knows of has none."""
    if not answers or "/exceptions/" in str(answers[-1].url):
        return {}
    said: Json = answers[-1].json()
    is_refused, is_receipt = answers[-1].status_code == 409, said.get("status") in get_args(ReceiptStatus)
    if "commandId" not in said or not (is_refused or is_receipt):
        return {}
    told = "REJECTED" if is_refused else said["status"]
    return {"command_id": said["commandId"], "told": told, "code": said.get("code")}


class Shop:
    """Places orders and wishes."""

    def __init__(self, seed: int, doors: Doors, watch: Watch, journal: Journal) -> None:
        self._seed = seed
        self._doors = doors
        self._watch = watch
        self._journal = journal

    async def place(self, create: Create) -> str:
        """The id of the order, asked for once or twice at the same time."""
        key = f"chaos-{self._seed}-{create.number}"
        path, more = _order(create)
        answers = await asyncio.gather(
            *(
                self._doors.insist("order_service", "POST", path, key=key, first=n, **more)
                for n in range(2 if create.is_doubled else 1)
            )
        )
        accepted = [answer.json() for answer in answers if answer.status_code == 201]
        if len(accepted) < len(answers):
            raise AssertionError(f"{key}: {[answer.text for answer in answers]}")
        command_id = accepted[0]["commandId"]
        self._journal.placed.append(Placed(key, command_id, [each["orderId"] for each in accepted]))
        return accepted[0]["orderId"]

    async def wish(self, command: Command, order_id: str) -> None:
        """Sent when its moment has come; what holds is lifted a little later."""
        await self._watch.appears(order_id, command.moment)
        await asyncio.sleep(command.after)
        is_granted = await self._send(command, command.message, order_id)
        if is_granted and (undo := _UNDO.get(command.message)):
            await asyncio.sleep(command.undo_after)
            await self._send(command, undo, order_id)

    async def _send(self, command: Command, message: Message, order_id: str) -> bool:
        is_order = command.door == "order-rest"
        method, path, more = _at_order(message, order_id) if is_order else _at_parcel(message, order_id)
        service: Service = "order_service" if is_order else "fulfillment_service"
        key = f"chaos-{self._seed}-{command.number}-{message}"
        is_there = is_order or self._watch.has(order_id, "FulfillmentAccepted")
        answer = await self._doors.insist(service, method, path, key=key, is_there=is_there, **more)
        told = "nobody" if answer.status_code == 404 else "receipt"
        self._journal.sent.append(Sent(message, command.door, told, answer.json().get("commandId")))
        return answer.status_code < 400


def _order(create: Create) -> tuple[str, Json]:
    match create.how:
        case "manual":
            return "/orders/demo", {"params": {"scenario": "manual", "speed": "instant"}}
        case "paced":
            return "/orders/demo", {"params": {"scenario": "happy", "speed": "fast"}}
        case "plain":
            return "/orders", {"json": _body(create)}


def _body(create: Create) -> Json:
    return {
        "customerId": f"chaos-{create.number}",
        "items": [
            {"sku": "TEAPOT", "quantity": 1, "unitPriceMinor": 4900},
            {"sku": "SPOON", "quantity": 1 + create.number % 5, "unitPriceMinor": 350},
        ],
        "currency": "USD",
        "shippingAddress": _address(STREET, create.zip_code),
        "contact": {"name": NAME, "email": EMAIL},
        "payment": {"token": create.token},
    }


def _address(street: str, zip_code: str) -> Json:
    return {"street": street, "city": "Durham", "state": "NC", "zipCode": zip_code, "country": "USA"}


def _at_order(message: Message, order_id: str) -> tuple[str, str, Json]:
    path = f"/orders/{order_id}"
    match message:
        case "pause" | "resume":
            return "POST", f"{path}/fulfillment/{message}", {}
        case "hold":
            return "POST", f"{path}/holds", {"json": {"reason": "FRAUD_RISK", "handle": "chaos"}}
        case "release":
            return "DELETE", f"{path}/holds", {"params": {"handle": "chaos"}}
        case "cancel":
            return "DELETE", path, {"json": {"reason": "chaos"}}
        case _:
            return "PATCH", path, {"json": {"shippingAddress": _address(SECOND_STREET, "54321")}}


def _at_parcel(message: Message, order_id: str) -> tuple[str, str, Json]:
    path = f"/fulfillments/{order_id}"
    match message:
        case "pause" | "resume":
            return "POST", f"{path}/{message}", {}
        case "hold":
            return "POST", f"{path}/holds", {"json": {"reason": "QUALITY", "handle": "chaos"}}
        case "release":
            return "DELETE", f"{path}/holds", {"params": {"handle": "chaos"}}
        case "cancel":
            return "POST", f"{path}/cancel", {"json": {"reason": "chaos"}}
        case _:
            return "PATCH", f"{path}/shipping-address", {"json": _address(SECOND_STREET, "54321")}


class Operator:
    """Completes the steps that wait for a person; at the end sets free whoever is held or in trouble."""

    def __init__(self, doors: Doors, stores: Stores) -> None:
        self.helps: Literal["no", "yes"] = "no"
        self._doors = doors
        self._stores = stores
        self._done = 0

    async def run(self) -> None:
        """Works until it is cancelled."""
        while True:
            await self._work()
            if self.helps == "yes":
                await self._free_orders()
                await self._look_after("order_service", "orders")
                await self._look_after("fulfillment_service", "fulfillments")
            await asyncio.sleep(0.5 if self.helps == "no" else 3.0)

    async def _work(self) -> None:
        for row in await self._stores.rows("fulfillments", _OPEN_PARCELS):
            path, document = f"/fulfillments/{row['fulfillment_id']}", row["document"]
            step = document["currentStep"]
            if document["holds"]:
                if self.helps == "yes":
                    await self._ask("fulfillment_service", "DELETE", f"{path}/holds")
            elif document.get("exception"):
                await self._ask("fulfillment_service", "POST", f"{path}/exceptions/resolve")
            elif document["mode"] == "manual" and step and document["stepOpen"] == (step != "hand-over"):
                await self._ask("fulfillment_service", "POST", f"{path}/steps/{step}/complete")

    async def _free_orders(self) -> None:
        for row in await self._stores.rows("orders", _HELD_ORDERS):
            await self._ask("order_service", "DELETE", f"/orders/{row['order_id']}/holds")

    async def _look_after(self, service: Service, database: StoreName) -> None:
        """Whatever waits for a person is tried again."""
        for row in await self._stores.rows(database, _OPEN_EXCEPTIONS):
            await self._ask(service, "POST", f"/exceptions/{row['id']}/retry")

    async def _ask(self, service: Service, method: str, path: str) -> None:
        self._done += 1
        await self._doors.insist(service, method, path, key=f"help-{self._done}", first=self._done)
