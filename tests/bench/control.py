"""How long a wish takes, while hundreds of orders are open and others arrive at half of what is sustainable.

Half of the wishes go to the door of the fulfillment service, which answers for its own parcel; the other half
to the order service, which answers when the fulfillment has.
"""

import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psycopg

from contracts.fulfillment import fulfillment_id
from deploy.local.stack import Stack
from order_service.demo import demo_order
from tests.bench import database
from tests.bench.door import Customer, place
from tests.bench.engines import Engine, fresh
from tests.bench.figures import percentile
from tests.bench.ours import SETTINGS

OPEN_ORDERS = 200
_ASKED_ORDERS = 30
_BURST = 60
_CLIENTS = 8
_WISHES_PER_SECOND = 2.4
_LONGEST_SECONDS = 20
_ADDRESS = {
    "street": "9 Control Street",
    "city": "Durham",
    "state": "NC",
    "zipCode": "27701",
    "country": "USA",
}
_HOLD = {"reason": "QUALITY", "handle": "bench"}

Door = Literal["fulfillment", "order"]


@dataclass(frozen=True)
class Asked:
    """One wish, as who asked it saw it; milliseconds."""

    door: Door
    what: str
    command_id: str
    asked_at: float
    """Seconds since 1970."""
    answered: float


@dataclass(frozen=True)
class Control:
    """What a run found; milliseconds."""

    sustainable: float
    """Orders a second, in a burst."""
    arrivals: float
    """Orders a second that were really placed meanwhile."""
    asked: Sequence[Asked]
    effects: dict[Door, list[float]]

    def figures(self) -> dict[str, Any]:
        """The figures by name, ready for JSON."""
        effects = [value for values in self.effects.values() for value in values]
        return {
            # Who answers for itself answers at once; what the other service decides is told apart.
            **_both("wish_to_answer", self._answers("fulfillment")),
            **_both("wish_across_to_answer", self._answers("order")),
            **_both("wish_to_effect", effects),
            **_both("wish_across_to_effect", self.effects["order"]),
            "control_wishes": len(self.asked),
            "control_open_orders": OPEN_ORDERS,
            "control_arrivals_per_second": round(self.arrivals, 2),
            "control_sustainable_per_second": round(self.sustainable, 2),
        }

    def _answers(self, door: Door) -> list[float]:
        return [each.answered for each in self.asked if each.door == door]


def _both(name: str, values: Sequence[float]) -> dict[str, float]:
    return {f"{name}_p{percent}_ms": round(percentile(values, percent), 2) for percent in (50, 99)}


def measure(engine: Engine, *, open_orders: int = OPEN_ORDERS) -> Control:
    """Each parcel that waits gets a hold, its release, another address and then its cancel or its release."""
    others = {"postgres", "kafka", "sandbox"}
    with fresh(engine, others=others, services=True, settings=SETTINGS) as stack:
        sustainable = _sustainable(stack)
        waiting = _open(stack, open_orders)
        with _Arrivals(stack.url("order_service"), sustainable / 2) as arrivals:
            asked = _ask(stack, waiting[:_ASKED_ORDERS])
            placed = arrivals.placed
            seconds = time.monotonic() - arrivals.began
        return Control(sustainable, placed / seconds, asked, _effects(stack, asked))


def _sustainable(stack: Stack) -> float:
    began = time.monotonic()
    place(stack.url("order_service"), _BURST, _CLIENTS)
    database.wait_until_closed(stack, _BURST, within_seconds=120)
    return _BURST / (time.monotonic() - began)


def _open(stack: Stack, orders: int) -> list[str]:
    """So many orders whose parcels wait, held from their first moment on; their ids."""
    body = demo_order("happy").model_dump(mode="json", by_alias=True, exclude_none=True)

    def held(_: int) -> str:
        with httpx.Client(base_url=stack.url("order_service"), timeout=30) as client:
            order_id: str = client.post("/orders", json=body).raise_for_status().json()["orderId"]
            client.post(f"/orders/{order_id}/fulfillment/pause").raise_for_status()
            return order_id

    with ThreadPoolExecutor(_CLIENTS) as pool:
        order_ids = list(pool.map(held, range(orders)))
    database.wait_until_published(stack)
    with psycopg.connect(stack.postgres_url("fulfillments"), autocommit=True) as connection:
        return _held(connection, order_ids)


def _held(connection: psycopg.Connection, order_ids: Sequence[str]) -> list[str]:
    """Those of the orders whose parcels are held; a few had shipped before their pause came."""
    enough = len(order_ids) * 9 // 10
    deadline = time.monotonic() + 120
    while True:
        rows: list[tuple[str]] = connection.execute(
            "select order_id from fulfillment_view where status = 'PAUSED' and order_id = any(%s)",
            (list(order_ids),),
        ).fetchall()
        if len(rows) >= enough:
            return [order_id for (order_id,) in rows]
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(rows)} of {len(order_ids)} parcels were held")
        time.sleep(0.2)


class _Arrivals:
    """Orders that keep coming at a steady rate, whether or not the earlier ones have been answered."""

    def __init__(self, url: str, per_second: float) -> None:
        self._url = url
        self._pause = 1 / per_second
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._come, daemon=True)
        self.began = time.monotonic()
        self.placed = 0

    def _come(self) -> None:
        with Customer(self._url) as customer:
            while not self._over.wait(max(0, self.began + self.placed * self._pause - time.monotonic())):
                customer.place()
                self.placed += 1

    def __enter__(self) -> "_Arrivals":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(timeout=30)


def _ask(stack: Stack, order_ids: Sequence[str]) -> list[Asked]:
    """The wishes, at a steady rate; each parcel's come one after the other."""
    began = time.monotonic()
    with ThreadPoolExecutor(_CLIENTS) as pool:
        running: list[Future[list[Asked]]] = []
        for number, order_id in enumerate(order_ids):
            door: Door = "order" if number % 2 else "fulfillment"
            time.sleep(max(0.0, began + 4 * number / _WISHES_PER_SECOND - time.monotonic()))
            running.append(pool.submit(_four_wishes, stack, order_id, door, number))
        return [asked for each in running for asked in each.result()]


def _four_wishes(stack: Stack, order_id: str, door: Door, number: int) -> list[Asked]:
    url = stack.url("fulfillment_service" if door == "fulfillment" else "order_service")
    last = "cancel" if number % 4 < 2 else "resume"
    with httpx.Client(base_url=url, timeout=_LONGEST_SECONDS + 10) as client:
        return [_wish(client, door, order_id, what) for what in ("hold", "release", "address", last)]


def _wish(client: httpx.Client, door: Door, order_id: str, what: str) -> Asked:
    method, template, body = _REQUESTS[door, what]
    path = template.format(order=order_id, parcel=fulfillment_id(order_id, 1))
    headers = {"Prefer": f"wait={_LONGEST_SECONDS}", "X-Actor": "bench", "Idempotency-Key": str(uuid4())}
    asked_at, began = time.time(), time.perf_counter()
    answer = client.request(method, path, json=body, headers=headers)
    taken = 1000 * (time.perf_counter() - began)
    if answer.status_code != 200:
        raise RuntimeError(
            f"{method} {urlsplit(path).path} answered {answer.status_code}: {answer.text[:500]}"
        )
    return Asked(door, what, json.loads(answer.text)["commandId"], asked_at, taken)


_REQUESTS: dict[tuple[Door, str], tuple[str, str, dict[str, Any] | None]] = {
    ("fulfillment", "hold"): ("POST", "/fulfillments/{parcel}/holds", _HOLD),
    ("fulfillment", "release"): ("DELETE", "/fulfillments/{parcel}/holds?handle=bench", None),
    ("fulfillment", "address"): ("PATCH", "/fulfillments/{parcel}/shipping-address", _ADDRESS),
    ("fulfillment", "cancel"): ("POST", "/fulfillments/{parcel}/cancel", {"reason": "bench"}),
    ("fulfillment", "resume"): ("POST", "/fulfillments/{parcel}/resume", None),
    ("order", "hold"): ("POST", "/orders/{order}/holds", _HOLD),
    ("order", "release"): ("DELETE", "/orders/{order}/holds?handle=bench", None),
    ("order", "address"): ("PATCH", "/orders/{order}", {"shippingAddress": _ADDRESS}),
    ("order", "cancel"): ("DELETE", "/orders/{order}", {"reason": "bench"}),
    ("order", "resume"): ("POST", "/orders/{order}/fulfillment/resume", None),
}


def _effects(stack: Stack, asked: Sequence[Asked]) -> dict[Door, list[float]]:
    """Milliseconds from each request to the moment its receipt was settled, in the store it asked."""
    databases: dict[Door, str] = {"fulfillment": "fulfillments", "order": "orders"}
    return {
        door: _effective_after(stack.postgres_url(name), [each for each in asked if each.door == door])
        for door, name in databases.items()
    }


def _effective_after(url: str, asked: Sequence[Asked]) -> list[float]:
    """Raises TimeoutError when a wish has no effect in time."""
    names = [each.command_id for each in asked]
    deadline = time.monotonic() + _LONGEST_SECONDS
    with psycopg.connect(url, autocommit=True) as connection:
        while True:
            rows: list[tuple[str, datetime]] = connection.execute(
                "select command_id, settled_at from receipts"
                " where command_id = any(%s) and settled_at is not null",
                (names,),
            ).fetchall()
            if len(rows) == len(names):
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(names) - len(rows)} wishes had no effect")
            time.sleep(0.2)
    moments = {command_id: at.timestamp() for command_id, at in rows}
    # A wish that took effect in its own transaction did so at its beginning: it counts as its answer.
    return [max(each.answered if _at_once(each) else 0.0, 1000 * (moments[each.command_id] - each.asked_at))
            for each in asked]  # fmt: skip


def _at_once(asked: Asked) -> bool:
    return asked.door == "fulfillment" and asked.what not in ("cancel", "resume")
