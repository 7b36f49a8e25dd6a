"""What signals bring to a workflow, noted at once and recorded in the order it came."""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Generic, TypeVar

from temporalio import workflow
from temporalio.common import RawValue

from contracts.envelope import Wish

Item = TypeVar("Item")
Result = TypeVar("Result")


class Arrivals(Generic[Item]):
    """The queue between the signal handlers, which only note, and `run`, which alone acts."""

    def __init__(self) -> None:
        self._noted: deque[Item] = deque()
        self._bare_wishes = 0

    def __bool__(self) -> bool:
        return bool(self._noted)

    def note(self, item: Item) -> None:
        self._noted.append(item)

    def next(self) -> Item:
        return self._noted.popleft()

    def forget(self, item: Item) -> None:
        """What is noted like this is not worth a look any more."""
        self._noted = deque(noted for noted in self._noted if noted != item)

    async def come(self, *, within: timedelta) -> bool:
        """True as soon as something has arrived, False when nothing did in that time."""
        try:
            await workflow.wait_condition(lambda: bool(self._noted), timeout=within)
        except TimeoutError:
            return False
        return True

    async def beside(
        self, call: workflow.ActivityHandle[Result], serve: Callable[[], Awaitable[None]]
    ) -> Result:
        """The call's result; what arrives while it runs is served at once."""
        while not call.done():
            await workflow.wait_condition(lambda: call.done() or bool(self._noted))
            await serve()
        return await call

    def command_id(self, wish: Wish) -> str:
        """The wish's own, or for a bare signal one that is the same in every replay."""
        if wish.command_id:
            return wish.command_id
        self._bare_wishes += 1
        return f"{workflow.info().run_id}/{self._bare_wishes}"


def decoded(args: Sequence[RawValue]) -> Any:
    """What came with a signal without a handler of its own; what cannot be read is bytes, never an error."""
    if not args:
        return None
    try:
        return workflow.payload_converter().from_payload(args[0].payload)
    except Exception:  # whatever the sender made of it, the workflow goes on
        return b""
