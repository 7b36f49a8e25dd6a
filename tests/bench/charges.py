"""python -m tests.bench.charges --orders 1000: is each one charged once, whatever provider and workers do?

The provider sandbox does what it is asked without saying so, answers late, fails first, and charges twice
whoever asks twice without a key. Every try of a worker is made twice at the same time, and some workers are
killed between the provider's answer and its record. The sandbox's own ledger then tells what was charged.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import httpx

from contracts.chassis.errors import Unavailable
from contracts.chassis.external_calls import ExternalCalls
from contracts.chassis.postgres import Database
from contracts.order import FulfillmentCompleted, Payment
from order_service.activities import OrderActivities
from order_service.bootstrap import intake_of, journal_of
from order_service.demo import demo_order
from order_service.payments import REFUSALS, Payments
from order_service.settings import OrderPostgresSettings
from tests.bench.engines import fresh

TOKENS = (
    "tok_timeout_done",
    "tok_timeout_done_900",
    "tok_capture_timeout_done",
    "tok_500_2",
    "tok_capture_500_2",
)
PATIENCE_SECONDS = 0.5
"""Shorter than the late answer takes, so that nobody hears it."""
KILLED_SHARE = 0.1
CUSTOMERS = 16
TRIES = 100
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Killed(BaseException):
    """The worker is gone: what it heard is not recorded, and nothing is cleaned up."""


@dataclass
class Network(httpx.AsyncBaseTransport):
    """The way to the provider: workers may die after the answer came, before they can record it."""

    chance: random.Random
    keeps_keys: bool = True
    """False forgets the Idempotency-Key on the way, to see that this would be noticed."""
    killed: int = 0
    _inner: httpx.AsyncHTTPTransport = field(default_factory=httpx.AsyncHTTPTransport)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not self.keeps_keys:
            request.headers.pop("Idempotency-Key", None)
        answer = await self._inner.handle_async_request(request)
        if self.chance.random() < KILLED_SHARE:
            await answer.aread()
            self.killed += 1
            raise Killed
        return answer


class _Bridge:
    """The fulfillment always begins."""

    async def start(self, _: object) -> None: ...


@dataclass
class Shop:
    """Orders that are paid by workers who do everything twice."""

    database: Database
    payments: Payments
    seed: int
    tokens: Sequence[str]
    tries: int = 0

    @property
    def _activities(self) -> OrderActivities:
        journal = journal_of(self.database)
        return OrderActivities(journal, intake_of(journal), self.payments, cast("Any", _Bridge()))

    async def sells(self, number: int) -> str:
        """An order whose money is authorized, whose parcel leaves, and whose money is then taken."""
        asked = demo_order("happy").model_copy(
            update={"payment": Payment(token=self.tokens[number % len(self.tokens)])}
        )
        granted = await intake_of(journal_of(self.database)).place(
            asked,
            command_id=f"charge-{self.seed}-{number}",
            actor="bench",
            request_hash="",
            mode="automatic",
            pace_seconds=0,
        )
        order_id = str((granted.answer or {})["orderId"])
        do = self._activities
        await do.hold_stock(order_id)
        await self._twice(do.authorize, order_id)
        await do.confirm(order_id)
        await do.start_fulfillment_workflow(order_id)
        await do.record_outcome(order_id, FulfillmentCompleted(n=1, outcome="SHIPPED", version=9))
        await self._twice(do.capture, order_id)
        return order_id

    async def _twice(self, activity: Callable[[str, datetime], Awaitable[Any]], order_id: str) -> None:
        """As two workers that both think it is theirs: each tries until it is done."""

        async def one() -> None:
            for _ in range(TRIES):
                self.tries += 1
                try:
                    await activity(order_id, NOW)
                except (Unavailable, Killed):
                    continue
                return
            raise AssertionError("it is never done")

        await asyncio.gather(one(), one())


async def charged(
    postgres_url: str,
    sandbox_url: str,
    *,
    orders: int,
    seed: int,
    tokens: Sequence[str] = TOKENS,
    keeps_keys: bool = True,
) -> dict[str, Any]:
    """What the provider's ledger says of so many orders; each that is not charged once is a violation."""
    began = time.monotonic()
    network = Network(random.Random(seed), keeps_keys)
    async with (
        Database(OrderPostgresSettings(url=postgres_url, pool_size=CUSTOMERS), "charges") as database,
        httpx.AsyncClient(
            base_url=f"{sandbox_url}/payments", timeout=PATIENCE_SECONDS, transport=network
        ) as http,
        httpx.AsyncClient(base_url=sandbox_url, timeout=60) as ledger,
    ):
        shop = Shop(
            database, Payments(ExternalCalls(database, "payments", http, refusals=REFUSALS)), seed, tokens
        )
        # What is measured is what the workers do, and not how long they are kept from doing it.
        await database.execute("update circuit_breakers set threshold = 10000")
        places = asyncio.Semaphore(CUSTOMERS)

        async def sell(number: int) -> str:
            async with places:
                return await shop.sells(number)

        sold = await asyncio.gather(*map(sell, range(orders)))
        rows: list[dict[str, Any]] = (await ledger.get("/ledgers/payments")).json()
        calls = await database.fetch("select status, attempts from external_calls")
    violations = _violations(sold, rows)
    return {
        "violations": violations,
        "seed": seed,
        "seconds": round(time.monotonic() - began, 1),
        "exercised": {
            "orders": orders,
            "charged_once": orders - len(violations),
            "tries_of_workers": shop.tries,
            "workers_killed_after_the_answer": network.killed,
            "calls": dict(Counter(call["status"] for call in calls)),
            "calls_tried_again": sum(call["attempts"] > 1 for call in calls),
            "effects_at_the_provider": dict(Counter(row["effect"] for row in rows)),
        },
    }


def _violations(sold: Sequence[str], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The orders of which the ledger tells anything but one authorization and its one capture."""
    applied: dict[str, list[dict[str, Any]]] = {order_id: [] for order_id in sold}
    for row in rows:
        if row["effect"] == "applied" and row["orderRef"] in applied:
            applied[row["orderRef"]].append(row)
    return [
        {"invariant": "one-charge", "evidence": {"order": order_id, "applied": done}}
        for order_id, done in applied.items()
        if [row["operation"] for row in done] != ["authorize", "capture"]
        or done[0]["amountMinor"] != done[1]["amountMinor"]
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.charges", description=__doc__)
    parser.add_argument("--orders", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with fresh("devserver", others={"postgres", "sandbox"}) as stack:
        stack.migrate()
        told = asyncio.run(
            charged(stack.postgres_url("orders"), stack.sandbox_url, orders=options.orders, seed=options.seed)
        )
    sys.stdout.write(json.dumps(told, indent=2) + "\n")
    return 1 if told["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
