"""Who is let in at a REST door: so much of one client, so many at a time; the others are told when to come.

A door that takes on more than it can do answers everybody late. So a request waits for a place, first come
first served, in a room that is small enough to be empty again within a second; the next one is turned away
before anything is read of it. Measured: see `python -m tests.bench.overload`.
"""

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from prometheus_client import Counter, Gauge
from starlette.types import Scope
from throttled import RateLimiterType, Throttled, rate_limiter, store

from contracts.chassis.errors import Overloaded, TooOften
from contracts.chassis.settings import ApiSettings

TURNED_AWAY = Counter(
    "tandem_requests_turned_away", "Requests that were told to come again, by why", ["reason"]
)
IN_HAND = Gauge("tandem_requests_in_hand", "Requests that are being worked on")
WAITING = Gauge("tandem_requests_waiting", "Requests that wait for a place")

Network = IPv4Network | IPv6Network
_CLIENT_PREFIX = 64
"""Of an IPv6 address: whoever has one has all that begin like it."""


class _Place:
    """A place that has been taken."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places = places
        self._is_taken = True
        IN_HAND.inc()

    def leave(self) -> None:
        if self._is_taken:
            self._is_taken = False
            IN_HAND.dec()
            self._places.release()

    async def take_again(self) -> None:
        await self._places.acquire()
        self._is_taken = True
        IN_HAND.inc()


_here: ContextVar[_Place | None] = ContextVar("place", default=None)


class Admission:
    """One door's places, its waiting room and what each client has left."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self._places = asyncio.Semaphore(settings.in_flight)
        self._waiting = self._open = 0
        # GCRA is the token bucket that keeps one moment for each client instead of a level and a moment.
        self._clients = Throttled(
            using=RateLimiterType.GCRA.value,
            quota=rate_limiter.per_sec(settings.client_per_second, burst=settings.client_burst),
            store=store.MemoryStore(options={"MAX_SIZE": settings.clients_remembered}),
        )
        self._proxies = networks(settings.trusted_proxies)

    @contextmanager
    def knock(self, scope: Scope) -> Generator[None]:
        """Inside, the request is open. Raises TooOften or Overloaded when it is clear already that it is not
        taken."""
        left = self._clients.limit(client_of(scope, self._proxies))
        if left.limited:
            TURNED_AWAY.labels("client").inc()
            raise TooOften(retry_after=timedelta(seconds=left.state.retry_after))
        if self._is_full() or self._open >= self._settings.open_requests:
            raise self._turned_away()
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[None]:
        """Inside, the request is one of those worked on. Raises Overloaded when no place is free in time."""
        if self._is_full():
            raise self._turned_away()
        self._waiting += 1
        WAITING.set(self._waiting)
        try:
            async with asyncio.timeout(self._settings.longest_wait_seconds):
                await self._places.acquire()
        except TimeoutError:
            raise self._turned_away() from None
        finally:
            self._waiting -= 1
            WAITING.set(self._waiting)
        here = _Place(self._places)
        token = _here.set(here)
        try:
            yield
        finally:
            _here.reset(token)
            here.leave()

    def _is_full(self) -> bool:
        return self._places.locked() and self._waiting >= self._settings.waiting_room

    def _turned_away(self) -> Overloaded:
        TURNED_AWAY.labels("overload").inc()
        return Overloaded(retry_after=timedelta(seconds=self._settings.overload_retry_seconds))


@asynccontextmanager
async def resting() -> AsyncGenerator[None]:
    """Inside, a request only waits for others and takes nobody's place; away from a door nothing changes."""
    here = _here.get()
    if here is None:
        yield
        return
    here.leave()
    yield
    # Not after an error: then the request is over, and needs no place to say so.
    await here.take_again()


def networks(named: str) -> Sequence[Network]:
    """The networks of a list such as `10.0.0.0/8, 127.0.0.1`. Raises ValueError for anything else."""
    return [ip_network(each) for each in named.replace(",", " ").split()]


def client_of(scope: Scope, proxies: Sequence[Network]) -> str:
    """Whose request it is: the nearest address that is no proxy of ours, whatever else a client says."""
    peer = str((scope.get("client") or ("unknown",))[0])
    if not _is_in(peer, proxies):
        return _network_of(peer)
    headers = (value for name, value in scope["headers"] if name == b"x-forwarded-for")
    passed = [each.strip() for each in b",".join(headers).decode("latin-1").split(",")]
    nearest = next((each for each in reversed(passed) if not _is_in(each, proxies)), "")
    return _network_of(nearest if _is_address(nearest) else peer)


def _network_of(address: str) -> str:
    known = ip_address(address) if _is_address(address) else None
    if isinstance(known, IPv6Address) and known.ipv4_mapped is None:
        return str(IPv6Network((known, _CLIENT_PREFIX), strict=False))
    return address


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    return _is_address(address) and any(ip_address(address) in network for network in networks)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
