"""What `tandem up` says when everything is ready: where things are, what is simulated, what to type next."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LONGEST = 25

_KAFKA = {
    "embedded": "in memory: empty after a restart",
    "apache": "Apache Kafka, one node",
    "container": "Apache Kafka, one node, in a container",
}


def banner(description: Mapping[str, Any], folder: Path | None = None) -> str:
    """At most 25 lines over a stack's description, the last of them to copy into a shell in `folder`."""
    env, ui = description["env"], description["ui"]
    tandem = command(folder or Path.cwd())
    kafka = _KAFKA.get(description["kafka"], "yours")
    order = env["TANDEM_ORDER_URL"]
    lines = [
        f"Tandem is ready after {description['ready_seconds']:.1f} s.",
        "",
        f"  orders        {order}   (API: /docs)",
        f"  fulfillments  {env['TANDEM_FULFILLMENT_URL']}   (API: /docs)",
        *([f"  Temporal      {ui}" if ui else f"  Temporal      {env['TEMPORAL_ADDRESS']}   (yours)"]),
        f"  PostgreSQL    {_without_password(env['TANDEM_ORDERS_POSTGRES_URL'])}   (and …/fulfillments)",
        f"  Kafka         {env['TANDEM_KAFKA_SERVERS']}   ({kafka})",
        f"  state, logs   {env['TANDEM_STATE_DIR']}",
        "",
        f"  Simulated: payments and carrier ({env['TANDEM_SANDBOX_URL']}) and the people in the warehouse.",
        "  No money moves, no parcel leaves. Everything listens on this machine only.",
        "",
        "Try:",
        f"  {tandem} order create --demo --wait",
        f"  curl -s {order}/orders",
        f"  {tandem} status",
        f"  {tandem} down",
    ]
    return "\n".join(lines)


def command(folder: Path) -> str:
    """How to type `tandem` in `folder`."""
    program = Path(sys.executable).with_name("tandem")
    if not program.exists():
        return f"{sys.executable} -m deploy.cli"
    if any(Path(entry) == program.parent for entry in os.environ.get("PATH", "").split(os.pathsep)):
        return "tandem"
    return str(program.relative_to(folder)) if program.is_relative_to(folder) else str(program)


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    who, at, where = rest.rpartition("@")
    return f"{scheme}://{who.partition(':')[0]}{at}{where}"
