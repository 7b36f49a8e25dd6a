"""An engine is away for minutes while orders come: all are accepted, and what waited leaves in order."""

import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, LiteralString

from tests.proof.chaos.ending import recorded, settled
from tests.proof.chaos.house import House, open_house
from tests.proof.chaos.people import Doors, Journal
from tests.proof.chaos.run import judged
from tests.proof.chaos.stores import DATABASES, Stores, eventually
from tests.proof.checks import Violation
from tests.proof.record import Placed, Record
from tests.proof.report import Report

ACCEPTED = "every create is accepted while an engine is away"
DRAINED = "what waited leaves in a tenth of the outage"

SUSTAINABLE = 6.0
"""Orders a second that two cores carry for long, by `python -m tests.bench.overload`."""
SHARE = 0.1
"""Twice the 5 % that is promised."""
_RESTART_SECONDS = 15.0
"""What the start of an engine takes for itself, however short it was away."""
_DRAIN_PATIENCE_SECONDS = 900
_WAITING: LiteralString = """
    select (select count(*) from knocks)
        + (select count(*) from outbox where published_at is null and parked_at is null) as waiting
    """

Engine = Literal["kafka", "temporal"]


@dataclass
class Outage:
    """What happened while the engine was away, and after."""

    refused: list[str]
    waited: int = 0
    drain_seconds: float = 0.0


def outage(engine: Engine, minutes: float, *, rate: float = SHARE * SUSTAINABLE, kafka: str) -> Report:
    """What was found; the figures are in `exercised`."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tandem-outage-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        record, found = asyncio.run(_run(folder / "state", engine, minutes, rate, kafka))
    limit = max(6 * minutes, _RESTART_SECONDS)
    violations = [*judged(record), *(Violation(ACCEPTED, each) for each in found.refused)]
    if found.drain_seconds > limit:
        violations.append(
            Violation(DRAINED, f"{found.waited} took {found.drain_seconds:.0f} of {limit:.0f} s")
        )
    exercised: dict[str, Any] = {
        "orders": len(record.placed),
        "minutes": minutes,
        "orders_a_second": rate,
        "waiting_at_the_end": found.waited,
        "drained_in_seconds": round(found.drain_seconds, 1),
        "allowed_seconds": limit,
    }
    return Report(0, violations, exercised, time.monotonic() - began)


async def _run(
    folder: Path, engine: Engine, minutes: float, rate: float, kafka: str
) -> tuple[Record, Outage]:
    async with open_house(folder, kafka=kafka) as house:
        journal, stores = Journal(), Stores(house.stack)
        doors = Doors(house, journal)
        try:
            found = await _away(house, stores, doors, journal, engine, minutes, rate)
        finally:
            await doors.close()
        await settled(house, stores, _say)
        return await recorded(house, stores, journal, []), found


async def _away(
    house: House,
    stores: Stores,
    doors: Doors,
    journal: Journal,
    engine: Engine,
    minutes: float,
    rate: float,
) -> Outage:
    """The engine was away for so long, and what waited for it has left."""
    found = Outage([])
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(house.stack[engine].stop)
    began = loop.time()
    _say(f"{engine} is away")
    number = 0
    while loop.time() < began + 60 * minutes:
        await asyncio.sleep(max(0.0, began + number / rate - loop.time()))
        await _place(doors, journal, found, f"{engine}-{number}")
        number += 1
    found.waited = await _waiting(stores)
    await asyncio.to_thread(house.stack[engine].start)
    back = loop.time()
    _say(f"{engine} is back; {found.waited} rows wait")

    async def is_drained() -> bool:
        return await _waiting(stores) == 0

    await eventually(is_drained, seconds=_DRAIN_PATIENCE_SECONDS)
    found.drain_seconds = loop.time() - back
    _say(f"drained in {found.drain_seconds:.1f} s")
    return found


async def _place(doors: Doors, journal: Journal, found: Outage, key: str) -> None:
    """Asked for once: who has to ask again was not accepted."""
    answer = await doors.insist(
        "order_service", "POST", "/orders/demo", key=key, params={"scenario": "happy", "speed": "instant"}
    )
    tries = journal.asked[-1].tries
    if answer.status_code != 201 or tries > 1:
        found.refused.append(f"{key}: {answer.status_code} at try {tries}")
    told = answer.json()
    journal.placed.append(Placed(key, told["commandId"], [told["orderId"]]))


async def _waiting(stores: Stores) -> int:
    return sum([(await stores.rows(database, _WAITING))[0]["waiting"] for database in DATABASES])


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
