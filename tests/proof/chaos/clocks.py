"""A wrong clock for one process, by libfaketime: only of the wall, so that it waits as long as it should."""

import ctypes.util
import http.client
import time
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path

import psutil

MISSING = "no clock offsets: libfaketime is not installed (apt-get install faketime)"

_SHARED = Path("/dev/shm")
_NEAR_SECONDS = 5
"""A door tells whole seconds, and those of a second ago."""


def libfaketime() -> str | None:
    """Where Debian's libfaketime is; None where it is not installed."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    return str(found[0]) if found else ctypes.util.find_library("faketime")


class Clock:
    """The clock of the processes that are started with its environment; it can jump while they run."""

    def __init__(self, file: Path, port: int) -> None:
        self._file = file
        self._port = port
        """Where the process tells its health, and the time."""

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "LD_PRELOAD": str(libfaketime()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, offset_seconds: int) -> None:
        """The clock is wrong by so much within a second."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset_seconds:+d}s\n")
        new.replace(self._file)

    def told(self, offset_seconds: int) -> int | None:
        """How wrong the process's own clock is by what its door says; None while it is not about so much."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            connection.request("GET", "/health/live")
            said = connection.getresponse().getheader("Date", "")
            wrong = round(parsedate_to_datetime(said).timestamp() - time.time())
        except (OSError, ValueError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return wrong if abs(wrong - offset_seconds) < _NEAR_SECONDS else None


def sweep() -> None:
    """What libfaketime leaves behind in shared memory of a process that was killed is gone."""
    for left in _SHARED.glob("*faketime_s*_*"):
        if not psutil.pid_exists(int(left.name.rpartition("_")[2])):
            with suppress(OSError):
                left.unlink()
