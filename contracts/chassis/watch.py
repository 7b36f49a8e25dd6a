"""Waiting for what becomes of a wish, without asking again and again.

Whoever moves a receipt rings a bell; one look then finds out for everybody who waits. A bell may be lost, so
there is a look now and then without one.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, LiteralString

import structlog

from contracts.chassis import admission, receipts
from contracts.chassis.errors import TandemError
from contracts.chassis.outbox import wait
from contracts.chassis.postgres import Database, Listener, Row
from contracts.chassis.receipts import Granted
from contracts.envelope import ReceiptStatus

log = structlog.get_logger()

ANSWERED: frozenset[ReceiptStatus] = frozenset(("ACCEPTED", "REJECTED", "EFFECTIVE", "SUPERSEDED"))
LOOK_SECONDS = 2.0
"""Between two looks when no bell is heard."""
MOST_WAITERS = 1_000
"""Whoever would wait beside so many is answered at once; a client that wants to know asks again."""

_LOOK: LiteralString = "select command_id, status from receipts where command_id = any(%(ids)s)"


@dataclass(eq=False)
class _Waiter:
    command_id: str
    enough: Collection[ReceiptStatus]
    woken: asyncio.Event = field(default_factory=asyncio.Event)


class Watch:
    """Knows who waits for which receipt, in one process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listener = Listener(database.conninfo, receipts.CHANNEL)
        self._bell = self._listener.heard[receipts.CHANNEL]
        self._waiters: set[_Waiter] = set()
        self._anyone = asyncio.Event()
        self._is_over = False

    def loops(self) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        """What must run for the bell to be heard."""
        return {"receipts bell": self._listener.run, "receipts": self.run}

    async def until(self, command_id: str, enough: Collection[ReceiptStatus], seconds: float) -> Row | None:
        """The receipt as soon as it has one of these statuses, or as it is after so many seconds."""
        waiter = _Waiter(command_id, enough)
        if not self._is_over and len(self._waiters) < MOST_WAITERS:
            self._waiters.add(waiter)
            self._anyone.set()
            # It may have moved already: then nobody rings for it any more.
            self._bell.set()
            try:
                async with admission.resting():
                    await wait(waiter.woken, seconds)
            finally:
                self._waiters.discard(waiter)
        return await self._database.fetch_one(receipts.FIND, command_id=command_id)

    async def answer(self, granted: Granted[Any], seconds: float | None) -> Granted[Any]:
        """The same with the other service's answer, if that comes in time."""
        if seconds is None or granted.receipt.status != "RECEIVED":
            return granted
        row = await self.until(granted.receipt.command_id, ANSWERED, seconds)
        # The stream has moved on since, and nobody has read at which version.
        return replace(granted, receipt=receipts.receipt_of(row), version=0) if row else granted

    async def run(self) -> None:
        """Looks at each bell while anybody waits; at the end nobody is kept waiting."""
        try:
            while True:
                await self._anyone.wait()
                await wait(self._bell, LOOK_SECONDS)
                self._bell.clear()
                await self._look()
                if not self._waiters:
                    self._anyone.clear()
        finally:
            self._is_over = True
            for waiter in self._waiters:
                waiter.woken.set()

    async def _look(self) -> None:
        ids = {waiter.command_id for waiter in self._waiters}
        try:
            rows = await self._database.fetch(_LOOK, ids=list(ids))
        except TandemError as error:
            log.warning("receipts not looked at", reason=type(error).__name__)
            return
        found = {row["command_id"]: row["status"] for row in rows}
        for waiter in self._waiters:
            if found.get(waiter.command_id) in waiter.enough:
                waiter.woken.set()
