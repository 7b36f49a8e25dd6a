"""How other processes find and end a running stack."""

import os
import signal
import time
from contextlib import suppress
from typing import Any

from deploy.local.containers import Containers
from deploy.local.state import State

NOT_RUNNING = 3
"""Exit code of a command that needs a running stack."""
_STOP_SECONDS = 8.0
_STOP_CONTAINERS_SECONDS = 30.0


def running(state: State) -> dict[str, Any] | None:
    """The description of the stack that holds the folder, None when nobody does."""
    owner = state.owner()
    described = state.described()
    return described if owner is not None and described.get("pid") == owner else None


def running_now(state: State) -> dict[str, Any] | None:
    """The same, with its containers as they are at this moment."""
    described = running(state)
    if described and described["containers"]:
        containers = Containers(state)
        containers.look()
        described["processes"] |= containers.processes()
    return described


def stop(state: State) -> bool:
    """Whatever held the folder is gone, and so are the containers it left; False when there was nothing."""
    pid = state.owner()
    if pid is not None:
        seconds = _STOP_CONTAINERS_SECONDS if state.described().get("containers") else _STOP_SECONDS
        _end(state, pid, seconds)
    containers = Containers(state)
    left = containers.still_run()
    if left:
        containers.stop()
    return left or pid is not None


def _end(state: State, pid: int, seconds: float) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while state.owner() == pid:
            if time.monotonic() > deadline:
                # Its children die with it.
                os.kill(pid, signal.SIGKILL)
                deadline += _STOP_SECONDS
            time.sleep(0.05)
