"""Virtual time and one thread: who may go on next, and the named points at which something may come between.

Real coroutines of ours run here without an event loop. Nothing they call on the twins ever waits for anything
real, so they stop only where a twin says `await point(...)` or `await sleep(...)`.
"""

import random
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from typing import Any, TypeVar

T = TypeVar("T")

BEGINNING = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class _Stop:
    """What a coroutine stops at."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, None]:
        yield self


@dataclass(eq=False, slots=True)
class Point(_Stop):
    """A place where a coroutine can be interrupted; "" is one nobody can name."""

    name: str


@dataclass(eq=False, slots=True)
class Sleep(_Stop):
    seconds: float


@dataclass(eq=False, slots=True)
class Gate(_Stop):
    """Closed until somebody opens it; who waits before it goes on then."""

    is_open: bool = False
    _waiting: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])

    def open(self) -> None:
        self.is_open = True
        waiting, self._waiting = self._waiting, []
        for go_on in waiting:
            go_on()

    def close(self) -> None:
        self.is_open = False

    def when_open(self, go_on: Callable[[], None]) -> None:
        """Calls it once: now, or as soon as the gate opens."""
        if self.is_open:
            go_on()
        else:
            self._waiting.append(go_on)


def point(name: str) -> Awaitable[None]:
    """Others may go on first."""
    return Point(name)


def sleep(seconds: float) -> Awaitable[None]:
    """So much virtual time has passed."""
    return Sleep(seconds)


def opened(gate: Gate) -> Awaitable[None]:
    """The gate is open."""
    return gate


@dataclass(eq=False, slots=True)
class Attempted:
    """What an activity may ask about its own try; the twin of temporalio's activity.Info."""

    attempt: int
    heartbeat_details: Sequence[Any] = ()
    is_local: bool = False
    heartbeat_timeout: None = None
    """No attempt has to be heard of: the virtual server knows which worker died."""


@dataclass(eq=False, slots=True)
class Task:
    """A coroutine and where it stands."""

    coroutine: Coroutine[Any, Any, Any]
    worker: str | None
    """Whose process it runs in; it dies with it."""
    at: str
    place: str = ""
    """What it is busy with; points inside are named after it."""
    stages: int = 0
    is_dead: bool = False
    attempt: "Attempted | None" = None
    """The try of a normal activity that it is."""
    context: Context = field(default_factory=copy_context)
    """Its own, as a task of an event loop has one: in it stands the trace that it is in."""

    def close(self) -> None:
        self.context.run(self.coroutine.close)


@dataclass
class Scheduler:
    """Everything that is ready, and everything that waits for a moment."""

    seed: int = 0
    """0 goes first come, first served; any other number picks by chance, the same for the same number."""
    now: datetime = BEGINNING
    steps: int = 0
    at_point: Callable[[str], float] = lambda _: 0.0
    """Called before a coroutine goes on from the named point; first it does nothing for so many seconds."""
    lingers: Callable[[], float] = lambda: 0.0
    """Called before a coroutine goes on: so many seconds it does nothing, as if its process were stopped."""
    on_kill: list[Callable[[str], None]] = field(default_factory=list[Callable[[str], None]])
    current: Task | None = None
    _ready: list[Task] = field(default_factory=list[Task])
    _sleeping: dict[Task, None] = field(default_factory=dict[Task, None])
    """A dictionary for its order: the same run must be the same in every process."""
    _lingering: dict[Task, None] = field(default_factory=dict[Task, None])
    _timers: list[tuple[datetime, int, Callable[[], None]]] = field(
        default_factory=list[tuple[datetime, int, Callable[[], None]]]
    )
    _numbers: "count[int]" = field(default_factory=count)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str, worker: str | None = None) -> None:
        """It runs as soon as it is its turn; `name` is the point before its first line."""
        self._ready.append(Task(coroutine, worker, name))

    def at(self, moment: datetime, action: Callable[[], None]) -> None:
        heappush(self._timers, (moment, next(self._numbers), action))

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self.at(self.now + timedelta(seconds=seconds), action)

    @property
    def is_idle(self) -> bool:
        """Nothing can go on before some time has passed."""
        return not self._ready

    @property
    def is_held_up(self) -> bool:
        """Somebody who could go on does nothing for a while."""
        return any(not task.is_dead for task in self._lingering)

    @property
    def next_moment(self) -> datetime | None:
        return self._timers[0][0] if self._timers else None

    def advance(self) -> None:
        """It is the next moment at which anything happens, and that has happened."""
        moment, _, action = heappop(self._timers)
        self.now = max(self.now, moment)
        action()

    def step(self) -> None:
        """One coroutine has gone on to its next point."""
        self.steps += 1
        place = self._random.randrange(len(self._ready)) if self.seed else 0
        task = self._ready.pop(place)
        if seconds := self.lingers():
            self._linger(task, seconds)
            return
        if task.at:
            # What comes between may kill this very task, so it has to be findable.
            self._sleeping[task] = None
            seconds = self.at_point(task.at)
            self._sleeping.pop(task, None)
            if seconds and not task.is_dead:
                task.at = ""
                self._linger(task, seconds)
                return
        if not task.is_dead:
            self._go_on(task)

    @property
    def attempt(self) -> Attempted | None:
        """Of the normal activity that runs now; None where none does."""
        return self.current.attempt if self.current else None

    def begins(self, place: str) -> None:
        """The coroutine that runs now is busy with this."""
        if self.current is not None:
            self.current.place, self.current.stages = place, 0

    def stage(self, name: str) -> Awaitable[None]:
        """A point inside of what the coroutine that runs now is busy with."""
        if self.current is None or not self.current.place:
            return point("")
        self.current.stages += 1
        return point(f"{self.current.place}/{self.current.stages}-{name}")

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine that nobody may come between."""
        before, self.current = self.current, None
        try:
            while True:
                coroutine.send(None)
        except StopIteration as done:
            return done.value
        finally:
            self.current = before

    def _go_on(self, task: Task) -> None:
        self.current = task
        try:
            reached: Point | Sleep | Gate = task.context.run(task.coroutine.send, None)
        except StopIteration:
            return
        finally:
            self.current = None
        match reached:
            case Sleep(seconds):
                task.at = ""
                self._rest(task, seconds)
            case Gate():
                task.at = ""
                self._sleeping[task] = None
                reached.when_open(lambda: self._wake(task))
            case Point(name):
                task.at = name
                self._ready.append(task)

    def _linger(self, task: Task, seconds: float) -> None:
        self._lingering[task] = None
        self._rest(task, seconds)

    def _rest(self, task: Task, seconds: float) -> None:
        self._sleeping[task] = None
        self.after(seconds, lambda: self._wake(task))

    def _wake(self, task: Task) -> None:
        self._lingering.pop(task, None)
        if task in self._sleeping:
            del self._sleeping[task]
            self._ready.append(task)

    async def gather(self, *work: Awaitable[Any]) -> list[Any]:
        """All of them are done, side by side, in the process of whoever waits for them."""
        results: dict[int, Any] = {}
        gate = Gate()
        worker = self.current.worker if self.current else None

        async def one(place: int, each: Awaitable[Any]) -> None:
            results[place] = await each
            if len(results) == len(work):
                gate.open()

        for place, each in enumerate(work):
            self.spawn(one(place, each), "", worker)
        try:
            await opened(gate)
        except GeneratorExit:
            # The process died: what had not even begun never will.
            for each in work:
                if isinstance(each, Coroutine):
                    each.close()
            raise
        return [results[place] for place in range(len(work))]

    def kill(self, worker: str) -> None:
        """The process is gone, and with it all that ran in it; what it had committed stays."""
        for task in [*self._ready, *self._sleeping]:
            if task.worker == worker:
                task.is_dead = True
                task.close()
        self._ready = [task for task in self._ready if not task.is_dead]
        self._sleeping = {task: None for task in self._sleeping if not task.is_dead}
        for told in self.on_kill:
            told(worker)

    def close(self) -> None:
        """Nothing is left half way."""
        for task in [*self._ready, *self._sleeping]:
            task.close()
        self._ready.clear()
        self._sleeping.clear()
        self._timers.clear()
