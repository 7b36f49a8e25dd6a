"""Reads the logs of several processes as one."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

_PAUSE_SECONDS = 0.2


def choose(folder: Path, process: str | None) -> list[Path]:
    """The logs of one process, or of all."""
    return sorted(folder.glob("*.log")) if process is None else list(folder.glob(f"{process}.log"))


def read(logs: Sequence[Path], *, lines: int, follow: bool) -> Iterator[str]:
    """The last lines of each, then what is added; with several logs each line names its process."""
    width = max(len(log.stem) for log in logs) if len(logs) > 1 else 0
    ends: dict[Path, int] = {}
    for log in logs:
        text = log.read_bytes()
        ends[log] = len(text)
        last = text.decode(errors="replace").splitlines()
        yield from _named(log, last[max(0, len(last) - lines) :], width)
    while follow:
        time.sleep(_PAUSE_SECONDS)
        for log in logs:
            added, ends[log] = _added(log, ends[log])
            yield from _named(log, added, width)


def _added(log: Path, end: int) -> tuple[list[str], int]:
    """Whole lines after `end`; from the beginning when the log was emptied meanwhile."""
    with log.open("rb") as file:
        if log.stat().st_size < end:
            end = 0
        file.seek(end)
        text = file.read()
    whole = text[: text.rfind(b"\n") + 1]
    return whole.decode(errors="replace").splitlines(), end + len(whole)


def _named(log: Path, lines: Sequence[str], width: int) -> Iterator[str]:
    for line in lines:
        yield f"{log.stem:<{width}}  {line}" if width else line
