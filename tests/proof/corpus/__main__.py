"""`python -m tests.proof.corpus record`: every story is lived through on real engines."""

import argparse
import asyncio
import logging
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from temporalio.client import Client

from contracts import fulfillment
from contracts import order as contract
from contracts.chassis import temporal
from contracts.chassis.settings import Profile
from deploy.local.stack import Stack
from fulfillment_service.settings import WarehouseSettings
from order_service.bootstrap import VERSION
from tests.integration.pair import Pair, open_pair
from tests.proof.corpus import histories
from tests.proof.corpus.histories import Recorded, commands
from tests.proof.corpus.stories import ALONE, ASKING, STORIES, Scene

AT_ONCE = 6
LONG = 120
"""Events after which a run is left behind; more than any other story has when it is idle."""
MADE_UP = "ORD-1703123456789-STORY{:04d}"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proof.corpus", description=__doc__)
    parser.add_argument("what", choices=["record"])
    parser.add_argument("--only", help="stories whose name contains this; nothing is kept")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)  # half of the stories are about activities that fail
    before = histories.read(histories.FOLDER / f"{VERSION}.jsonl.gz")
    recorded, failed = asyncio.run(_record(options.only or ""))
    for name, error in failed.items():
        print(f"FAILED: {name}\n{error}", file=sys.stderr)
    for each in _changed(before, recorded):
        print(f"other commands than before: {each}")
    if failed or options.only:
        return len(failed)
    path = histories.write(VERSION, recorded)
    print(f"{path.name}: {len(recorded)} histories, {path.stat().st_size // 1024} KB")
    print(f"endings: {dict(histories.endings(recorded))}")
    return 0


def _changed(before: Sequence[Recorded], now: Sequence[Recorded]) -> list[str]:
    """Stories that told the server something else this time; where there is a race, maybe by chance."""
    known = {str(each): commands(each.history) for each in before}
    told = {str(each): commands(each.history) for each in now}
    return [name for name, these in told.items() if name in known and known[name] != these]


async def _record(only: str) -> tuple[list[Recorded], dict[str, str]]:
    options = (f"limit.historyCount.suggestContinueAsNew={LONG}", 'history.timerProcessorMaxTimeShift="10ms"')
    with (
        tempfile.TemporaryDirectory() as folder,
        patch("deploy.local.temporal._DYNAMIC", options),
        Stack(Path(folder), engines={"postgres", "temporal", "sandbox"}, services=False) as stack,
    ):
        stack.migrate()
        urls = stack.postgres_url("orders"), stack.postgres_url("fulfillments")
        async with open_pair(stack, stack.sandbox_url, *urls) as pair:
            wanted = [name for name in STORIES if only in name]
            beside = [name for name in wanted if name not in (*ASKING, *ALONE)]
            found: list[Recorded] = []
            failed: dict[str, str] = {}
            async with _soon_a_person(pair).working():
                for names in (beside, *([name] for name in ALONE if name in wanted)):
                    await _all(pair, names, found, failed)
            async with _asking(pair).working():
                await _all(pair, [name for name in ASKING if name in wanted], found, failed)
            return found, failed


def _asking(pair: Pair) -> Pair:
    """The same pair, in which a person of the warehouse answers a cancel."""
    warehouse = WarehouseSettings(cancel_policy="ask")
    return replace(pair, fulfillments=replace(pair.fulfillments, warehouse=warehouse))


def _soon_a_person(pair: Pair) -> Pair:
    """The same pair, in which three tries of a provider are enough."""
    settings = pair.orders.temporal.model_copy(update={"provider_attempts": 3})
    return replace(
        pair,
        orders=replace(pair.orders, temporal=settings),
        fulfillments=replace(pair.fulfillments, temporal=settings),
    )


async def _all(pair: Pair, names: Sequence[str], recorded: list[Recorded], failed: dict[str, str]) -> None:
    """Each of these stories is lived through, beside the others."""
    places, numbers = asyncio.Semaphore(AT_ONCE), list(STORIES)

    async def told(number: int, name: str) -> list[Recorded]:
        scene = Scene(pair, f"story-{number}")
        async with places:
            try:
                async with asyncio.timeout(240):
                    await STORIES[name](scene)
                    return await _histories(pair, name, scene.order_id, MADE_UP.format(number))
            except (Exception, TimeoutError) as error:
                failed[name] = "".join(traceback.format_exception(error)[-3:])
                return []

    found = await asyncio.gather(*[told(numbers.index(name) + 1, name) for name in names])
    recorded += [each for story in found for each in story]


async def _histories(pair: Pair, story: str, order_id: str, as_id: str) -> list[Recorded]:
    """Every run of the order's workflow and of its parcel's."""
    workflows: list[tuple[str, Profile, Client, str]] = [
        ("order", "orders", pair.client, contract.workflow_id(order_id)),
        (
            "parcel",
            "fulfillments",
            pair.parcels,
            fulfillment.workflow_id(fulfillment.fulfillment_id(order_id, 1)),
        ),
    ]
    found: list[Recorded] = []
    for name, profile, client, workflow_id in workflows:
        codec = temporal.PayloadCodec(temporal.key_ring(profile, pair.orders.temporal), client.namespace)
        runs = [run async for run in client.list_workflows(f"WorkflowId = '{workflow_id}'")]
        for number, run in enumerate(sorted(runs, key=lambda run: run.start_time), start=1):
            history = await client.get_workflow_handle(workflow_id, run_id=run.run_id).fetch_history()
            plain = await histories.scrubbed(history, codec, order_id, as_id)
            found.append(Recorded(story, f"{name} run {number}", plain))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
