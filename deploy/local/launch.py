"""Becomes another program that dies with its parent and, where asked, runs as an unprivileged user.

It is run as a script, `python -I -S launch.py OPTIONS -- COMMAND`, between fork and exec of every child, as
doing this in `preexec_fn` of a process with threads may deadlock. PostgreSQL refuses to run as root; the one
capability that is kept lets it enter folders such as `/root` without anybody changing their modes.
"""

import argparse
import ctypes
import os
import struct
import sys
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_OVERRIDE = 1
_CAP_DAC_READ_SEARCH = 2
_CAPABILITY_VERSION_3 = 0x20080522


def main() -> None:
    """Replace this process by the command behind `--`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--death-signal", type=int, required=True)
    parser.add_argument("--user", type=int)
    parser.add_argument("--group", type=int)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    command: list[str] = options.command[1:]
    if options.user is not None:
        become(options.user, options.group)
    # After the change of user, which clears it.
    _prctl(_PR_SET_PDEATHSIG, options.death_signal)
    if os.getppid() != options.parent:
        sys.exit("the parent is gone already")
    os.execv(command[0], command)


def become(user: int, group: int) -> None:
    """Give up root for good, keeping at most the right to pass through closed folders."""
    _prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    held = _permitted()
    for capability in (_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE):
        if held & (1 << capability):
            _keep_only(1 << capability)
            _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability)
            return


def _permitted() -> int:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("CapPrm:"):
                return int(line.split()[1], 16)
    return 0


def _keep_only(mask: int) -> None:
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    sets = struct.pack("IIIIII", mask, mask, mask, 0, 0, 0)
    ctypes.CDLL(None).capset(header, sets)


def _prctl(option: int, first: int, second: int = 0) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, first, second, 0, 0)


if __name__ == "__main__":
    main()
