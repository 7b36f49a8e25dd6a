"""How other processes find and end a running stack."""

import os
import signal
import time
from contextlib import suppress
from typing import Any

from deploy.local.state import State

NOT_RUNNING = 3
"""Exit code of a command that needs a running stack."""
_STOP_SECONDS = 8.0


def running(state: State) -> dict[str, Any] | None:
    """The description of the stack that holds the folder, None when nobody does."""
    owner = state.owner()
    described = state.described()
    return described if owner is not None and described.get("pid") == owner else None


def stop(state: State) -> int | None:
    """Whatever held the folder is gone; its pid, or None when nobody did."""
    pid = state.owner()
    if pid is None:
        return None
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        while state.owner() == pid:
            if time.monotonic() > deadline:
                # Its children die with it.
                os.kill(pid, signal.SIGKILL)
                deadline += _STOP_SECONDS
            time.sleep(0.05)
    return pid
