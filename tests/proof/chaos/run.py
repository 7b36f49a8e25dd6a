"""One run of chaos, from the seed to what was found."""

import asyncio
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx

from tests.proof import checks, saved
from tests.proof.chaos.clocks import MISSING, libfaketime
from tests.proof.chaos.ending import recorded, settled
from tests.proof.chaos.faults import Faults
from tests.proof.chaos.house import House, open_house
from tests.proof.chaos.people import Doors, Journal, Operator, Shop
from tests.proof.chaos.plan import Fault, Plan
from tests.proof.chaos.stores import Stores
from tests.proof.chaos.watch import Watch
from tests.proof.record import Record, Struck
from tests.proof.report import Report


def chaos(plan: Plan, *, kafka: str = "embedded", keep: Path | None = None) -> Report:
    """The plan is carried out on a stack of its own, and judged; the run is kept in that file."""
    began = time.monotonic()
    _say(began, f"seed {plan.seed}: {len(plan.creates)} orders, {len(plan.faults)} faults")
    if not libfaketime():
        _say(began, MISSING)
    with tempfile.TemporaryDirectory(prefix="tandem-chaos-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        record, exercised = asyncio.run(_run(plan, folder / "state", kafka, began))
    keep = keep or Path(tempfile.gettempdir()) / f"tandem-chaos-{plan.seed}.jsonl"
    about = {"seed": plan.seed, "exercised": exercised, "plan": asdict(plan)}
    saved.save(keep, about, record)
    found = judged(record)
    _say(began, f"{len(found)} violations; kept as {keep}")
    return Report(plan.seed, found, exercised, time.monotonic() - began, _advice(keep))


def _advice(kept: Path) -> str:
    return f"tandem proof chaos --judge {kept}"


def judged(record: Record) -> list[checks.Violation]:
    """Everything that is wrong with a recorded run, by the same checks as a simulation's."""
    return checks.violations(record, [*checks.CHECKS, *checks.ON_TOPICS])


def judged_again(path: Path) -> Report:
    """The verdict on a run that was kept."""
    began = time.monotonic()
    run = saved.load(path)
    found, exercised = judged(run.record), dict(run.about["exercised"])
    return Report(run.about["seed"], found, exercised, time.monotonic() - began, _advice(path))


def _say(began: float, line: str) -> None:
    print(f"{time.monotonic() - began:6.1f} s  {line}", file=sys.stderr, flush=True)


async def _run(plan: Plan, folder: Path, kafka: str, began: float) -> tuple[Record, dict[str, Any]]:
    def say(line: str) -> None:
        _say(began, line)

    async with open_house(folder, kafka=kafka) as house:
        say(f"{len(house.stack.children)} processes are ready")
        journal, watch, stores = Journal(), Watch(house.stack), Stores(house.stack)
        doors = Doors(house, journal)
        operator = Operator(doors, stores)
        background = [asyncio.create_task(watch.run()), asyncio.create_task(operator.run())]
        try:
            struck = await _play(plan, Shop(plan.seed, doors, watch, journal), Faults(house, stores), say)
            say("all faults are healed")
            operator.helps = "yes"
            await settled(house, stores, say)
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await doors.close()
        say("recording")
        record = await recorded(house, stores, journal, struck)
        return record, await _exercised(house, record, watch.facts)


async def _play(plan: Plan, shop: Shop, faults: Faults, say: Any) -> list[Struck]:
    """Every order is placed, every wish sent, every fault struck and healed."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    struck: list[Struck] = []

    async def at(seconds: float) -> None:
        await asyncio.sleep(max(0.0, began + seconds - loop.time()))

    async def strike(fault: Fault) -> None:
        await at(fault.at)
        found = await faults.strike(fault)
        struck.append(found)
        say(f"{found.kind} of {found.victim}: {found.skipped or dict(found.evidence)}")

    commands = {command.number: command for command in plan.commands}

    async with asyncio.TaskGroup() as group:
        for fault in plan.faults:
            group.create_task(strike(fault))
        for create in plan.creates:

            async def buy(create: Any = create) -> None:
                await at(create.at)
                order_id = await shop.place(create)
                if command := commands.get(create.number):
                    await shop.wish(command, order_id)

            group.create_task(buy())
    return sorted(struck, key=lambda each: each.number)


async def _exercised(house: House, record: Record, facts: int) -> dict[str, Any]:
    """How much of what happened."""
    misbehaved: Counter[str] = Counter()
    async with httpx.AsyncClient(base_url=house.stack.sandbox_url, timeout=60) as ledgers:
        for provider in ("payments", "carrier"):
            for row in (await ledgers.get(f"/ledgers/{provider}")).json():
                if row["effect"] != "applied":
                    misbehaved[f"{provider}-{row['effect']}"] += 1
    return {
        "orders": len({order for placed in record.placed for order in placed.told}),
        "doubledCreates": sum(len(placed.told) > 1 for placed in record.placed),
        "wishes": dict(Counter(f"{sent.message}@{sent.door}" for sent in record.sent)),
        "operations": len(record.asked),
        "tries": sum(asked.tries for asked in record.asked),
        "answers": dict(Counter(answer.status for asked in record.asked for answer in asked.answers)),
        "exceptions": dict(Counter(each.code for each in record.exceptions)),
        "reconciled": dict(Counter(f"{each.kind} {each.action}" for each in record.reconciled)),
        "facts": facts,
        "faults": dict(Counter(each.kind for each in record.struck if each.fired)),
        "skipped": {each.kind: each.skipped for each in record.struck if each.skipped}
        | ({} if libfaketime() else {"clocks": MISSING}),
        "providers": dict(misbehaved),
    }
