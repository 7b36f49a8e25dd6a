"""How workflows are found that were ended from outside."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from contracts.chassis.temporal import delivery
from contracts.chassis.temporal.delivery import Delivery, Target

LOOKS = 3


@dataclass
class Visibility:
    """What Temporal lists: the runs that ended after the asked moment, by its own clock."""

    ended: list[Any]
    asked: list[datetime] = field(default_factory=list[datetime])

    async def list_workflows(self, query: str, limit: int | None = None) -> AsyncIterator[Any]:
        self.asked.append(datetime.fromisoformat(query.rpartition(" ")[2].strip("'")))
        found = [each for each in self.ended if each.close_time > self.asked[-1]]
        for each in sorted(found, key=lambda each: each.close_time, reverse=True)[:limit]:
            yield each


@pytest.mark.parametrize("minutes", [-10, 0, 10])
def test_a_wrong_clock_overlooks_no_workflow(monkeypatch: pytest.MonkeyPatch, minutes: int):
    """Each run that ended from outside is knocked for once, however wrong the relay's own clock is."""
    beginning = datetime.now(UTC)
    visibility = Visibility([SimpleNamespace(run_id="r0", id="w0", close_time=beginning)])
    knocked: list[Mapping[str, str]] = []

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(minutes=minutes)

    async def knock(ended: Mapping[str, str]) -> int:
        knocked.append(ended)
        return len(ended)

    async def next_look(_: float) -> None:
        count = len(visibility.asked)
        if count == LOOKS:
            raise asyncio.CancelledError
        at = beginning + timedelta(seconds=15 * count)
        visibility.ended.append(SimpleNamespace(run_id=f"r{count}", id=f"w{count}", close_time=at))

    monkeypatch.setattr(delivery, "datetime", Wrong)
    monkeypatch.setattr(delivery, "asyncio", SimpleNamespace(sleep=next_look))
    relay = Delivery(cast("Any", visibility), Target("type", "queue", str))
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(relay.revive(knock))
    assert knocked == [{"w0": "r0"}, {"w1": "r1"}, {"w2": "r2"}]
    assert visibility.asked == sorted(visibility.asked)


async def test_every_workflow_of_a_mass_termination_is_revived():
    """Who is left out of a look is never found again: the next one begins at the last that ended."""
    began = datetime.now(UTC)
    everyone = [
        SimpleNamespace(run_id=f"r{n}", id=f"w{n}", close_time=began + timedelta(milliseconds=n))
        for n in range(2_500)
    ]
    told: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def knock(ended: Mapping[str, str]) -> int:
        told.set_result(len(ended))
        return len(ended)

    relay = Delivery(cast("Any", Visibility(everyone)), Target("type", "queue", str))
    reviving = asyncio.create_task(relay.revive(knock))
    async with asyncio.timeout(60):
        assert await told == len(everyone)
    reviving.cancel()
