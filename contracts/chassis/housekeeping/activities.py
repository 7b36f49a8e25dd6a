"""What the reconcileWorkflow does; any of it may be cut off and done again."""

from collections.abc import Callable
from typing import Any

from temporalio import activity

from contracts.chassis.housekeeping.clean_up import CleanUp
from contracts.chassis.reconciler import Reconciler
from contracts.chassis.telemetry import quiet


class Housekeeping:
    """The reconciler and the clean-up of one service."""

    def __init__(self, reconciler: Reconciler, clean_up: CleanUp) -> None:
        self._reconciler = reconciler
        self._clean_up = clean_up

    def all(self) -> list[Callable[..., Any]]:
        """Every activity, for the worker."""
        return [self.reconcile, self.clean_up]

    @activity.defn
    async def reconcile(self) -> dict[str, int]:
        """Every rule has looked, and what it found is repaired or a person told; how many cases, by kind."""
        with quiet():
            return await self._reconciler.run()

    @activity.defn(name="cleanUp")
    async def clean_up(self) -> dict[str, int]:
        """What was too old is gone; how many rows, by table."""
        with quiet():
            return await self._clean_up.run()
