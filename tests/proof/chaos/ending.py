"""The end of a run: everything is healed, all of it settles, and what is left is recorded."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, LiteralString, Protocol

import httpx

from contracts.chassis.postgres import Database
from contracts.chassis.settings import PostgresSettings
from deploy.local.stack import Stack
from deploy.verify import stores as verified
from deploy.verify import topics
from tests.proof import recording
from tests.proof.chaos.people import PERSONAL, Journal
from tests.proof.chaos.stores import DATABASES, Stores
from tests.proof.record import Ended, LogLine, Record, Struck, View

STILL_SECONDS = 240
"""So long nothing may change before what is left counts as stuck."""
_TELL_SECONDS = 10
_AT_ONCE = 200
"""Orders whose streams are folded together."""

_LEFT: dict[str, LiteralString] = {
    "orders": "select count(*) from order_view where step <> 'end'",
    "parcels": "select count(*) from fulfillment_view where stage not in ('SHIPPED', 'CANCELLED', 'FAILED')",
    "knocks": "select count(*) from knocks",
    "receipts": "select count(*) from receipts where status not in ('REJECTED', 'EFFECTIVE', 'SUPERSEDED')",
    "exceptions": "select count(*) from exceptions where resolved_at is null",
    "outbox": "select count(*) from outbox where published_at is null and parked_at is null",
}
_HEARD: LiteralString = "select count(*) from inbox"
_FACTS: LiteralString = "select count(*) from events"
_STUCK: LiteralString = """
    select 'a row of the outbox is parked: ' || coalesce(last_error, '') as what
    from outbox
    where parked_at is not null
    union all
    select 'a record is parked: ' || reason
    from parked
    union all
    select 'an exception is open: ' || code || coalesce(' of ' || step, '')
    from exceptions
    where resolved_at is null
    """
_STOCK: LiteralString = "select * from stock"
_NON_DETERMINISM = ("TMPRL1100", "ondeterminis")

Say = Callable[[str], None]


class Housed(Protocol):
    """Whatever has a stack."""

    @property
    def stack(self) -> Stack: ...


async def settled(house: Housed, stores: Stores, say: Say) -> bool:
    """True once nothing moves any more; False when something is left and nothing changes."""
    loop = asyncio.get_running_loop()
    last, since, told = {}, loop.time(), 0.0
    while True:
        left = await _left(house, stores)
        if not any(value for name, value in left.items() if name != "facts"):
            return True
        now = loop.time()
        if left != last:
            last, since = left, now
        if now - since > STILL_SECONDS:
            say(f"stuck: {_told(left)}")
            return False
        if now - told > _TELL_SECONDS:
            say(f"settling: {_told(left)}")
            told = now
        await asyncio.sleep(0.5)


def _told(left: dict[str, int]) -> str:
    return ", ".join(f"{value} {name}" for name, value in left.items() if value)


async def _left(house: Housed, stores: Stores) -> dict[str, int]:
    async def count(database: Any, statement: LiteralString) -> int:
        return (await stores.rows(database, statement))[0]["count"]

    left = {
        "orders": await count("orders", _LEFT["orders"]),
        "parcels": await count("fulfillments", _LEFT["parcels"]),
    }
    for name in ("knocks", "receipts", "exceptions", "outbox"):
        left[name] = sum([await count(database, _LEFT[name]) for database in DATABASES])
    facts = [await count(database, _FACTS) for database in DATABASES]
    heard = [await count(database, _HEARD) for database in DATABASES]
    left["unheard"] = max(0, sum(facts) - sum(heard))
    left["workflows"] = sum(ended.status == "running" for ended in await workflows(house))
    left["facts"] = sum(facts)
    return left


async def workflows(house: Housed) -> list[Ended]:
    """Every run of every workflow, as Temporal's own HTTP door tells; waits until it answers."""
    base = f"http://127.0.0.1:{house.stack.ports['temporal-http']}/api/v1/namespaces"
    found: list[Ended] = []
    async with httpx.AsyncClient(timeout=30) as http:
        for namespace in DATABASES:
            token = ""
            while True:
                query = {"pageSize": "1000", "nextPageToken": token}
                try:
                    answer = await http.get(f"{base}/{namespace}/workflows", params=query)
                    page: dict[str, Any] = answer.raise_for_status().json()
                except httpx.HTTPError:
                    await asyncio.sleep(0.5)
                    continue
                found += [_ended(each) for each in page.get("executions", [])]
                token = page.get("nextPageToken", "")
                if not token:
                    break
    return found


def is_a_look(ended: Ended) -> bool:
    """The reconciler is looking right now, as it does every minute: it is no order's and needs no end."""
    return ended.workflow_id.startswith("reconcile-") and ended.status == "running"


def _ended(told: dict[str, Any]) -> Ended:
    return Ended(
        told["execution"]["workflowId"],
        told["status"].removeprefix("WORKFLOW_EXECUTION_STATUS_").lower(),
        None,
        int(told.get("historyLength", 0)),
        int(told.get("historySizeBytes", 0)),
    )


async def recorded(house: Housed, stores: Stores, journal: Journal, struck: list[Struck]) -> Record:
    """Everything there is to judge of the run."""
    record = Record(
        sent=journal.sent,
        placed=journal.placed,
        asked=journal.asked,
        struck=struck,
        personal=set(PERSONAL),
    )
    every = [""]
    for service in DATABASES:
        recording.add_facts(record, service, await stores.rows(service, recording.EVENTS), every)
        recording.add_receipts(record, service, await stores.rows(service, recording.RECEIPTS), every)
        recording.add_addresses(record, await stores.rows(service, recording.ADDRESSES))
        recording.add_applied(record, service, await stores.rows(service, recording.APPLIED), every)
        recording.add_exceptions(record, service, await stores.rows(service, recording.EXCEPTIONS), every)
        recording.add_reconciled(record, service, await stores.rows(service, recording.RECONCILED))
        record.undelivered += len(await stores.rows(service, recording.KNOCKS))
        record.waiting += [f"{service}: {row['what']}" for row in await stores.rows(service, _STUCK)]
    recording.add_stock(record, await stores.rows("orders", _STOCK))
    orders = sorted({order for placed in journal.placed for order in placed.told})
    async with httpx.AsyncClient(base_url=house.stack.sandbox_url, timeout=60) as ledgers:
        for provider in ("payments", "carrier"):
            recording.add_effects(record, (await ledgers.get(f"/ledgers/{provider}")).json(), every)
    for topic, records in (await topics.read(house.stack.kafka_servers)).items():
        recording.add_published(record, topic, records, orders)
    record.workflows = [each for each in await workflows(house) if not is_a_look(each)]
    record.views = await _views(house, orders)
    record.lines = list(_lines(house.stack.state.logs, tuple(PERSONAL)))
    record.troubles += [
        f"a replay differs: {line.file}: {line.text[:300]}"
        for line in _lines(house.stack.state.logs, _NON_DETERMINISM)
    ]
    return record


async def _views(house: Housed, orders: list[str]) -> list[View]:
    """Every row of both services' views beside what it should be."""
    found: list[View] = []
    urls = [house.stack.postgres_url(database) for database in DATABASES]
    async with (
        Database(PostgresSettings(url=urls[0]), "proof") as ours,
        Database(PostgresSettings(url=urls[1]), "proof") as theirs,
    ):
        both = verified.Stores(ours, theirs)
        for start in range(0, len(orders), _AT_ONCE):
            for stream in (await both.streams(orders[start : start + _AT_ONCE])).values():
                is_order = stream.name.startswith("order-")
                own, other = DATABASES if is_order else reversed(DATABASES)
                folded = stream.folded or {"trouble": stream.trouble}
                found.append(View(own, stream.name, stream.shown, folded))
                if stream.meant is not None:
                    found.append(View(other, stream.name, stream.heard, stream.meant))
    return found


def _lines(logs: Path, wanted: tuple[str, ...]) -> Iterator[LogLine]:
    for file in sorted(logs.iterdir()):
        with file.open(errors="replace") as lines:
            for line in lines:
                if any(word in line for word in wanted):
                    yield LogLine(file.name, line.rstrip())
