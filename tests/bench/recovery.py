"""`python -m tests.bench.recovery`: how long until the pair goes on after something was killed.

One process of each kind, so that nobody else can take over: the worst case. Orders come all the time; what
counts is the first thing that only the killed process can have done."""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import httpx
import psycopg

from deploy.local.stack import Stack
from tests.proof.record import Service

_PLACE_SECONDS = 0.4
_LOOK_SECONDS = 0.05
_CALM_SECONDS = 3.0
"""Between two kills, with everything ready."""
_PATIENCE_SECONDS = 300

_OWN_FACT: LiteralString = """
    select min(recorded_at) as at
    from events
    where recorded_at > to_timestamp(%(since)s) and meta ->> 'actor' like any(%(actors)s)
    """
_PUBLISHED: LiteralString = """
    select min(published_at) as at
    from outbox
    where created_at > to_timestamp(%(since)s) and published_at is not null
    """
_TAKEN_IN: LiteralString = (
    "select min(applied_at) as at from inbox where applied_at > to_timestamp(%(since)s)"
)
_PLACED: LiteralString = """
    select min(recorded_at) as at
    from events
    where recorded_at > to_timestamp(%(since)s) and type = 'OrderPlaced'
    """
_ACTORS = ["%-workflow"]


@dataclass(frozen=True)
class Victim:
    """What is killed, and where the first progress after that is seen."""

    name: str
    kind: str
    limit_seconds: float
    database: Service
    progress: LiteralString


VICTIMS = (
    Victim("order-api", "own", 12, "orders", _PLACED),
    Victim("fulfillment-api", "own", 12, "fulfillments", _PLACED),
    Victim("order-worker", "own", 12, "orders", _OWN_FACT),
    Victim("fulfillment-worker", "own", 12, "fulfillments", _OWN_FACT),
    Victim("order-relay", "own", 12, "orders", _PUBLISHED),
    Victim("fulfillment-relay", "own", 12, "fulfillments", _PUBLISHED),
    Victim("order-consumer", "own", 12, "orders", _TAKEN_IN),
    Victim("fulfillment-consumer", "own", 12, "fulfillments", _TAKEN_IN),
    Victim("postgres", "postgres", 15, "orders", _OWN_FACT),
    Victim("temporal", "temporal", 12, "orders", _OWN_FACT),
    Victim("kafka", "kafka", 20, "orders", _TAKEN_IN),
)


def measure(rounds: int, *, kafka: str = "embedded") -> dict[str, list[float]]:
    """Seconds from each kill to the first progress, by victim."""
    with tempfile.TemporaryDirectory(prefix="tandem-recovery-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        return asyncio.run(_measure(rounds, folder / "state", kafka))


async def _measure(rounds: int, folder: Path, kafka: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {victim.name: [] for victim in VICTIMS}
    async with Stack(folder, kafka=kafka) as stack:
        shop = asyncio.create_task(_place(stack))
        try:
            await asyncio.sleep(2 * _CALM_SECONDS)
            for number in range(rounds):
                for victim in VICTIMS:
                    seconds = await _kill(stack, victim)
                    found[victim.name].append(seconds)
                    print(f"{number + 1}: {victim.name}: {seconds:.1f} s", file=sys.stderr, flush=True)
        finally:
            shop.cancel()
            await asyncio.gather(shop, return_exceptions=True)
    return found


async def _place(stack: Stack) -> None:
    """Orders come until cancelled, whoever answers."""
    async with httpx.AsyncClient(base_url=stack.url("order_service"), timeout=5) as http:
        while True:
            with suppress(httpx.TransportError):
                await http.post("/orders/demo", params={"speed": "instant"})
            await asyncio.sleep(_PLACE_SECONDS)


async def _kill(stack: Stack, victim: Victim) -> float:
    """Seconds until what only the victim does was done again."""
    child = stack[victim.name]
    struck_at = time.time()
    await asyncio.to_thread(child.kill)
    # What was under way when it died is none of its progress.
    since = time.time() + 0.05
    moment = await _progress(stack, victim, since)
    if moment - struck_at > victim.limit_seconds:
        kept = Path(tempfile.gettempdir()) / f"tandem-recovery-{victim.name}-{struck_at:.0f}"
        shutil.copytree(stack.state.logs, kept)
        print(f"{victim.name} was late; the logs are in {kept}", file=sys.stderr, flush=True)
    for each in stack.children.values():
        await asyncio.to_thread(each.wait_ready, _PATIENCE_SECONDS)
    await asyncio.sleep(_CALM_SECONDS)
    return moment - struck_at


async def _progress(stack: Stack, victim: Victim, since: float) -> float:
    """When it was seen. Raises TimeoutError."""
    if victim.name == "fulfillment-api":
        return await _answers(stack)
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while True:
            with suppress(psycopg.OperationalError):
                async with await psycopg.AsyncConnection.connect(
                    stack.postgres_url(victim.database), autocommit=True, connect_timeout=2
                ) as connection:
                    while True:
                        values = {"since": since, "actors": _ACTORS}
                        row = await (await connection.execute(victim.progress, values)).fetchone()
                        if row and row[0]:
                            return row[0].timestamp()
                        await asyncio.sleep(_LOOK_SECONDS)
            await asyncio.sleep(_LOOK_SECONDS)


async def _answers(stack: Stack) -> float:
    """Nobody wishes anything of the parcels here, so that their door's answer is its progress."""
    async with httpx.AsyncClient(base_url=stack.url("fulfillment_service"), timeout=2) as http:
        while True:
            with suppress(httpx.TransportError):
                if (await http.get("/fulfillments")).status_code == 200:
                    return time.time()
            await asyncio.sleep(_LOOK_SECONDS)


def figures(found: Mapping[str, list[float]]) -> dict[str, Any]:
    """By kind of victim: p95, the longest, the limit, and whether it is kept."""
    told: dict[str, Any] = {}
    for kind in dict.fromkeys(victim.kind for victim in VICTIMS):
        of_kind = [victim for victim in VICTIMS if victim.kind == kind]
        seconds = sorted(each for victim in of_kind for each in found[victim.name])
        p95 = seconds[max(0, -(-95 * len(seconds) // 100) - 1)]
        told[kind] = {
            "kills": len(seconds),
            "p50": round(seconds[len(seconds) // 2], 1),
            "p95": round(p95, 1),
            "longest": round(seconds[-1], 1),
            "limit": of_kind[0].limit_seconds,
            "meets": p95 <= of_kind[0].limit_seconds,
        }
    return told


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.recovery", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="kills of each process")
    parser.add_argument("--kafka", default="embedded", choices=("embedded", "apache"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.rounds, kafka=options.kafka)
    told = figures(found)
    if options.json:
        seconds = {name: [round(each, 2) for each in several] for name, several in found.items()}
        print(json.dumps({"recovery": told, "seconds": seconds}))
    else:
        for kind, each in told.items():
            print(f"{kind}: p95 {each['p95']} s of {each['limit']} s, {each['kills']} kills")
    return 0 if all(each["meets"] for each in told.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
