"""All of it together: the orders of a live system, judged until what is still on its way has arrived."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from contracts import fulfillment, order
from contracts.chassis.postgres import Database
from contracts.chassis.settings import PostgresSettings
from deploy.verify import topics, workflows
from deploy.verify.comparing import Stream, Violation, violations
from deploy.verify.stores import Stores

_AT_ONCE = 500
"""Orders in memory at a time."""
_AGAIN_SECONDS = 1.0


@dataclass(frozen=True)
class Where:
    """A live system."""

    orders_url: str = field(repr=False)
    fulfillments_url: str = field(repr=False)
    kafka: str
    temporal: Mapping[str, str]
    """Temporal's own variables."""


@dataclass
class Report:
    """What was found, and in how much."""

    violations: list[Violation] = field(default_factory=list[Violation])
    seconds: float = 0.0
    exercised: dict[str, int] = field(default_factory=dict[str, int])

    def as_json(self) -> dict[str, Any]:
        return {
            "violations": [asdict(found) for found in self.violations],
            "seed": None,
            "seconds": round(self.seconds, 2),
            "exercised": self.exercised,
        }


def verify(where: Where, order_id: str | None = None, *, patience: float = 10.0) -> Report:
    """What differs for good: an order that moves is looked at again for so many seconds.

    Raises Unavailable when one of the places does not answer, and KeyError for an order nobody knows."""
    return asyncio.run(_verify(where, order_id, patience))


async def _verify(where: Where, order_id: str | None, patience: float) -> Report:
    began = time.monotonic()
    async with AsyncExitStack() as opened:
        stores = Stores(
            *[
                await opened.enter_async_context(Database(PostgresSettings(url=url), "verify"))
                for url in (where.orders_url, where.fulfillments_url)
            ]
        )
        wanted = await stores.order_ids()
        if order_id is not None:
            if order_id not in wanted:
                raise KeyError(order_id)
            wanted = [order_id]
        report, suspects = await _judged(where, stores, wanted, order_id)
        while suspects and time.monotonic() < began + patience:
            await asyncio.sleep(_AGAIN_SECONDS)
            again, suspects = await _judged(where, stores, suspects, order_id)
            report.violations = again.violations
    report.seconds = time.monotonic() - began
    return report


async def _judged(
    where: Where, stores: Stores, order_ids: Sequence[str], only: str | None
) -> tuple[Report, list[str]]:
    """What differs now, and in which orders."""
    report = Report(exercised={"orders": len(order_ids), "parcels": 0, "facts": 0, "records": 0})
    # First what moves on its own; whatever is stored meanwhile is newer than what was told.
    standing = await asyncio.to_thread(workflows.standing, where.temporal, only)
    told = topics.by_stream(await topics.read(where.kafka))
    suspects: list[str] = []
    for start in range(0, len(order_ids), _AT_ONCE):
        some = order_ids[start : start + _AT_ONCE]
        for stream in (await stores.streams(some)).values():
            stream.topic = told.get(stream.name, [])
            stream.workflow = standing.get(_workflow_of(stream))
            found = list(violations(stream))
            report.violations += found
            report.exercised["parcels"] += stream.name.startswith("fulfillment-")
            report.exercised["facts"] += len(stream.facts)
            report.exercised["records"] += len(stream.topic)
            if found:
                suspects.append(_order_of(stream))
    return report, sorted(set(suspects))


def _order_of(stream: Stream) -> str:
    if stream.name.startswith("fulfillment-"):
        return fulfillment.order_id_of(stream.name)
    return order.order_id_of(stream.name)


def _workflow_of(stream: Stream) -> str:
    if stream.name.startswith("fulfillment-"):
        return fulfillment.workflow_id(fulfillment.fulfillment_id_of(stream.name))
    return order.workflow_id(order.order_id_of(stream.name))
