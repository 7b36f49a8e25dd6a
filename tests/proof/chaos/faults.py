"""The faults, each with what shows that it did strike."""

import asyncio
import os
import signal
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, LiteralString

import psutil

from tests.proof.chaos.clocks import MISSING, Clock, libfaketime, sweep
from tests.proof.chaos.house import PROVIDERS, House, began_at, names
from tests.proof.chaos.plan import Fault
from tests.proof.chaos.stores import DATABASES, Stores, eventually
from tests.proof.record import Service, Struck

Evidence = Mapping[str, Any]
READY_SECONDS = 180

_DOUBLE_RECORDS: LiteralString = """
    update outbox
    set published_at = null
    where id in (select id from outbox where published_at is not null order by id desc limit 30)
    returning id
    """
_DOUBLE_KNOCKS: Mapping[Service, LiteralString] = {
    "orders": """
        insert into knocks (workflow_id, signal, traceparent)
        select 'order-workflow-' || order_id, 'knock', meta ->> 'traceparent'
        from order_view
        join events on stream = 'order-' || order_id and events.version = 1
        order by placed_at desc
        limit 30
        returning id
        """,
    "fulfillments": """
        insert into knocks (workflow_id, signal, traceparent)
        select 'fulfillment-' || fulfillment_id, 'knock', meta ->> 'traceparent'
        from fulfillment_view
        join events on stream = 'fulfillment-' || fulfillment_id and events.version = 1
        order by accepted_at desc
        limit 30
        returning id
        """,
}
# A trigger, because a knock is gone sooner than anybody could set it back.
_DELAY: tuple[LiteralString, ...] = (
    "create table if not exists chaos_delayed (at timestamptz not null default now())",
    """
    create or replace function chaos_delay() returns trigger language plpgsql as $$
    begin
        insert into chaos_delayed default values;
        new.due_at := new.due_at + interval '3 seconds';
        return new;
    end
    $$
    """,
    """
    create or replace trigger chaos_delay before insert on knocks
        for each row execute function chaos_delay()
    """,
)


class Faults:
    """What can break, broken on purpose and healed again."""

    def __init__(self, house: House, stores: Stores) -> None:
        self._house = house
        self._stores = stores
        self._clocks: Mapping[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def strike(self, fault: Fault) -> Struck:
        """The fault has struck and is healed; what shows it."""
        verb, _, what = fault.kind.partition("-")
        database: Service = DATABASES[fault.pick % len(DATABASES)]
        match verb:
            case "kill" | "restart":
                victim = self._victim(what, fault.pick)
                fired, evidence = await self.kill(victim)
            case "freeze":
                victim = self._victim(what, fault.pick)
                fired, evidence = await self.freeze(victim, fault.seconds)
            case "cut":
                victim = what
                fired, evidence = await self.cut(what, fault.seconds)
            case "slow":
                victim = what
                fired, evidence = await self.slow(what, fault.seconds, (0.02, 0.05, 0.1)[fault.pick % 3])
            case "double":
                victim = database
                fired, evidence = await self._double(what, database)
            case "delay":
                victim = database
                fired, evidence = await self._delay(database, fault.seconds)
            case _:
                victim = self._victim(what, fault.pick)
                if libfaketime() is None:
                    return Struck(fault.number, fault.kind, victim, fired=False, evidence={}, skipped=MISSING)
                async with self._clocks[victim]:
                    fired, evidence = await self._wrong_clock(victim, fault)
        return Struck(fault.number, fault.kind, victim, fired, evidence)

    def _victim(self, what: str, pick: int) -> str:
        several = names("sandbox" if what == PROVIDERS else what)
        return several[pick % len(several)]

    async def kill(self, victim: str) -> tuple[bool, Evidence]:
        """It was killed and another process of that name is ready."""
        pid, before = await self._running(victim)
        struck_at = time.time()
        await asyncio.to_thread(self._house.stack[victim].kill)
        if victim == "kafka" and self._house.stack.forgets_records:
            # The embedded broker comes back somewhere else, so that nobody takes the new one for the old one.
            await self._house.proxies["kafka"].move()
        _, after = await self._running(victim, unless=pid)
        evidence = {"began": before, "struck": struck_at, "beganAgain": after, "ready": time.time()}
        return after != before, evidence

    async def freeze(self, victim: str, seconds: float) -> tuple[bool, Evidence]:
        """It stood still for so long, unless something else ended it before."""
        pid, began = await self._running(victim)
        os.kill(pid, signal.SIGSTOP)
        try:
            state = await eventually(lambda: _stopped(pid), seconds=10)
            await asyncio.sleep(seconds)
        finally:
            if began_at(pid) == began:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        return state is not None, {"pid": pid, "state": state, "seconds": seconds}

    async def cut(self, name: str, seconds: float) -> tuple[bool, Evidence]:
        """Every connection was reset, and nobody got through for so long."""
        proxy = self._house.proxies[name]
        refused = proxy.refused
        proxy.is_closed = True
        try:
            cut = proxy.cut()
            await asyncio.sleep(seconds)

            async def felt() -> bool:
                return cut + proxy.refused - refused > 0

            await eventually(felt, seconds=60)
        finally:
            proxy.is_closed = False
        evidence = {"cut": cut, "refused": proxy.refused - refused}
        return sum(evidence.values()) > 0, evidence

    async def slow(self, name: str, seconds: float, delay_seconds: float) -> tuple[bool, Evidence]:
        """Everything that went through took so much longer."""
        proxy = self._house.proxies[name]
        before = proxy.slowed
        proxy.delay_seconds += delay_seconds
        try:
            await asyncio.sleep(seconds)

            async def felt() -> bool:
                return proxy.slowed > before

            await eventually(felt, seconds=60)
        finally:
            proxy.delay_seconds = max(0.0, proxy.delay_seconds - delay_seconds)
        return proxy.slowed > before, {"delayed": proxy.slowed - before, "by": delay_seconds}

    async def _double(self, what: str, database: Service) -> tuple[bool, Evidence]:
        """Records or knocks that were delivered are delivered again."""
        statement = _DOUBLE_RECORDS if what == "records" else _DOUBLE_KNOCKS[database]

        async def doubled() -> int:
            return await self._stores.count(database, statement)

        count = await eventually(doubled)
        await self._stores.rows(database, "notify outbox" if what == "records" else "notify knocks")
        return bool(count), {"doubled": count}

    async def _delay(self, database: Service, seconds: float) -> tuple[bool, Evidence]:
        """Knocks that were written meanwhile were due later."""

        async def delayed() -> int:
            return await self._stores.count(database, "select at from chaos_delayed")

        for statement in _DELAY:
            await self._stores.rows(database, statement)
        try:
            await asyncio.sleep(seconds)
            count = await eventually(delayed, seconds=60)
        finally:
            await self._stores.rows(database, "drop trigger if exists chaos_delay on knocks")
        return bool(count), {"delayed": count}

    async def _wrong_clock(self, victim: str, fault: Fault) -> tuple[bool, Evidence]:
        """The process lived with a clock that was minutes ahead and then minutes behind, or the reverse."""
        offset = (-1) ** (fault.pick // 4) * 60 * (2 + fault.pick // 8 % 9)
        stack, told = self._house.stack, list[int | None]()
        clock = Clock(stack.state.folder / f"{victim}.clock", stack.health_port(victim))
        stack.added[victim] = clock.environment
        try:
            for wrong in (offset, -offset):
                clock.set(wrong)
                if not told:
                    await self.kill(victim)
                told.append(await eventually(lambda: asyncio.to_thread(clock.told, wrong)))  # noqa: B023
                await asyncio.sleep(fault.seconds / 2)
        finally:
            stack.added.pop(victim)
        await self.kill(victim)
        sweep()
        return None not in told, {"offset": offset, "told": told}

    async def _running(self, victim: str, unless: int | None = None) -> tuple[int, float]:
        """The pid of a ready process of that name, and another one than that, and when it began."""

        async def running() -> tuple[int, float] | None:
            child = self._house.stack[victim]
            pid = child.pid
            began = began_at(pid)
            if pid is None or began is None or pid == unless or not child.is_ready:
                return None
            return pid, began

        found = await eventually(running, seconds=READY_SECONDS)
        if found is None:
            raise TimeoutError(f"{victim} is not ready again")
        return found


async def _stopped(pid: int) -> str | None:
    """The state in /proc once it is `T`."""
    with suppress(psutil.Error):
        if psutil.Process(pid).status() == psutil.STATUS_STOPPED:
            return "T"
    return None
