"""`python -m deploy.verify.workflows [ORDER]`: how every workflow stands, as one JSON object.

A process of its own: one that opened a Temporal client sometimes aborts at its end, after all was said."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from temporalio.service import RPCError

from contracts import fulfillment, order
from contracts.chassis.errors import Unavailable
from contracts.chassis.settings import Profile
from contracts.chassis.temporal.wiring import onlooker

_SECONDS = 120
_RPC = timedelta(seconds=20)


def standing(environment: Mapping[str, str], order_id: str | None = None) -> dict[str, str]:
    """The status of the newest run of each workflow, of one order or of all. Raises Unavailable."""
    command = [sys.executable, "-m", "deploy.verify.workflows", *([order_id] if order_id else [])]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        return json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise Unavailable("Temporal does not answer") from error


async def _standing(order_id: str | None) -> dict[str, str]:
    found: dict[str, str] = {}
    kinds: tuple[tuple[Profile, str, str], ...] = (
        ("orders", "processOrderWorkflow", order.workflow_id(order_id or "")),
        ("fulfillments", "fulfillmentWorkflow", fulfillment.workflow_id(order_id or "")),
    )
    for profile, kind, prefix in kinds:
        client = await onlooker(profile)
        query = f'WorkflowType = "{kind}"' + (f' AND WorkflowId STARTS_WITH "{prefix}"' if order_id else "")
        runs: list[Any] = [each async for each in client.list_workflows(query, rpc_timeout=_RPC)]
        for run in sorted(runs, key=lambda run: run.start_time):
            found[run.id] = run.status.name if run.status else "RUNNING"
    return found


def main() -> int:
    try:
        found = asyncio.run(_standing(sys.argv[1] if len(sys.argv) > 1 else None))
    except (RPCError, RuntimeError) as error:
        print(type(error).__name__, file=sys.stderr)
        return 1
    print(json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
