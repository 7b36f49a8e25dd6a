"""Which port every process stands on: fixed ones that move aside with a notice, or free ones for tests."""

import random
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

FIXED = {
    "order-api": 3232,
    "fulfillment-api": 3233,
    "sandbox": 3234,
    "codec": 3235,
    "order-worker": 3236,
    "order-relay": 3237,
    "order-consumer": 3238,
    "fulfillment-worker": 3239,
    "fulfillment-relay": 3240,
    "fulfillment-consumer": 3241,
    "postgres": 5432,
    "temporal": 7233,
    "temporal-http": 7243,
    "temporal-ui": 8233,
    "kafka": 9092,
    "kafka-controller": 9093,
}
"""What each process stands on when nothing else does."""

# Below the range the kernel gives to outgoing connections, so that a port is still free after a restart.
_TESTS = range(12000, 28000)
_HIGHEST = 65535


def is_free(port: int) -> bool:
    """True when nobody listens there on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    # On macOS one may bind loopback beside a listener on all interfaces.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) != 0


@dataclass(frozen=True)
class Ports:
    """A port for every process by name."""

    taken: dict[str, int]
    moved: dict[str, tuple[int, int]]
    """Where it should have been and where it is."""

    def __getitem__(self, name: str) -> int:
        return self.taken[name]

    @classmethod
    def near(cls, wanted: dict[str, int] = FIXED, free: Callable[[int], bool] = is_free) -> Self:
        """The wanted ports; one that is in use moves up to the next that is free and wanted by no other."""
        taken: dict[str, int] = {}
        for name, first in wanted.items():
            others = (set(wanted.values()) - {first}) | set(taken.values())
            taken[name] = next(port for port in range(first, _HIGHEST) if port not in others and free(port))
        moved = {name: (wanted[name], port) for name, port in taken.items() if port != wanted[name]}
        return cls(taken, moved)

    @classmethod
    def counted_from(cls, first: int, free: Callable[[int], bool] = is_free) -> Self:
        """Consecutive ports in the order of `FIXED`, stepping over those in use."""
        return cls.near({name: first + place for place, name in enumerate(FIXED)}, free)

    @classmethod
    def anywhere(cls, free: Callable[[int], bool] = is_free) -> Self:
        """Free ports that no other stack is likely to choose."""
        return cls(cls.counted_from(random.choice(_TESTS), free).taken, {})
