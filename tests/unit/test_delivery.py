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

    async def list_workflows(self, query: str, limit: int) -> AsyncIterator[Any]:
        self.asked.append(datetime.fromisoformat(query.rpartition(" ")[2].strip("'")))
        for each in self.ended:
            if each.close_time > self.asked[-1]:
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
