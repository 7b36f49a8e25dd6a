"""Orders through the REST door, by clients that are quick enough not to be what is measured."""

import http.client
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import Self
from urllib.parse import urlsplit
from uuid import uuid4

from order_service.demo import demo_order

_BODY = json.dumps(
    demo_order("happy").model_dump(mode="json", by_alias=True, exclude_none=True), separators=(",", ":")
).encode()
"""Three lines, automatic warehouse at pace 0."""


@dataclass(frozen=True)
class Placed:
    """One accepted order."""

    order_id: str
    began_at: float
    """Seconds since 1970, just before the request was sent."""
    milliseconds: float


class Customer:
    """One connection that is kept open."""

    def __init__(self, url: str) -> None:
        split = urlsplit(url)
        self._connection = http.client.HTTPConnection(split.hostname or "", split.port, timeout=30)

    def place(self) -> Placed:
        """Raises RuntimeError with the answer when the order was not accepted."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid4()), "X-Actor": "bench"}
        began_at, began = time.time(), time.perf_counter()
        self._connection.request("POST", "/orders", _BODY, headers)
        answer = self._connection.getresponse()
        text = answer.read()
        taken = time.perf_counter() - began
        if answer.status != 201:
            raise RuntimeError(f"POST /orders answered {answer.status}: {text[:500]!r}")
        return Placed(json.loads(text)["orderId"], began_at, taken * 1000)

    def __enter__(self) -> Self:
        self._connection.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def place(url: str, orders: int, clients: int) -> list[Placed]:
    """So many orders from so many clients at once, each waiting for its answer before the next."""
    numbers = count()

    def buy(_: int) -> Sequence[Placed]:
        with Customer(url) as customer:
            placed: list[Placed] = []
            while next(numbers) < orders:
                placed.append(customer.place())
            return placed

    with ThreadPoolExecutor(clients) as pool:
        return [placed for bought in pool.map(buy, range(clients)) for placed in bought]
