"""Memory and processor time of the processes of a stack, with all their children."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

OURS = ("order-", "fulfillment-")
"""How the names of the services' own processes begin; the others are engines."""


@dataclass(frozen=True)
class Memory:
    """Megabytes by name of the process, its children included."""

    megabytes: dict[str, float]
    measure: str
    """`pss` divides shared pages among those who share them; `rss` counts them for each."""

    def or_more(self, other: "Memory") -> "Memory":
        """For each process that either knows, the larger figure."""
        names = {**self.megabytes, **other.megabytes}
        larger = {name: max(self.megabytes.get(name, 0), other.megabytes.get(name, 0)) for name in names}
        return Memory(larger, "+".join(sorted({self.measure, other.measure})))

    @property
    def total(self) -> float:
        return round(sum(self.megabytes.values()), 1)


def memory(pids: Mapping[str, int], alone: Mapping[str, int] | None = None) -> Memory:
    """What the processes hold now; those in `alone` without their children."""
    kinds: set[str] = set()
    megabytes: dict[str, float] = {}
    families = {name: _family(pid) for name, pid in pids.items()}
    families |= {name: [psutil.Process(pid)] for name, pid in (alone or {}).items()}
    for name, family in families.items():
        total = 0
        for process in family:
            kind, held = _held(process)
            kinds.add(kind)
            total += held
        megabytes[name] = round(total / 1024 / 1024, 1)
    return Memory(megabytes, "+".join(sorted(kinds)))


def _held(process: psutil.Process) -> tuple[str, int]:
    try:
        found = re.search(
            r"^Pss:\s+(\d+) kB", Path(f"/proc/{process.pid}/smaps_rollup").read_text(), re.MULTILINE
        )
        if found:
            return "pss", int(found[1]) * 1024
    except OSError:
        pass
    try:
        return "rss", process.memory_info().rss
    except psutil.Error:
        return "pss", 0


def processor_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """Processor time so far by name, ended children included."""
    return {name: sum(map(_spent, _family(pid))) for name, pid in pids.items()}


def _spent(process: psutil.Process) -> float:
    try:
        spent = process.cpu_times()
    except psutil.Error:
        return 0.0
    return spent.user + spent.system + spent.children_user + spent.children_system


def _family(pid: int) -> Iterable[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


@dataclass(frozen=True)
class Spent:
    """Processor time between two looks."""

    seconds: dict[str, float]

    @classmethod
    def between(cls, before: Mapping[str, float], after: Mapping[str, float]) -> "Spent":
        return cls({name: after[name] - before.get(name, 0.0) for name in after})

    def milliseconds_per(self, orders: int) -> dict[str, float]:
        return {name: round(1000 * spent / orders, 2) for name, spent in self.seconds.items()}

    @property
    def ours(self) -> float:
        return sum(spent for name, spent in self.seconds.items() if name.startswith(OURS))

    @property
    def engines(self) -> float:
        return sum(spent for name, spent in self.seconds.items() if not name.startswith(OURS))
