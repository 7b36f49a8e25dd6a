"""How a door asks Temporal, which it otherwise never does."""

from asyncio import Semaphore
from functools import cache

from contracts.chassis import admission
from contracts.chassis.explanation import Inspect, Inspection
from contracts.chassis.settings import Profile

MOST_AT_ONCE = 16
"""Questions to Temporal; the others wait for their turn."""


def inspector(profile: Profile, task_queue: str) -> Inspect:
    """What Temporal says of a workflow. Its client is loaded and opened for the first who asks.

    A door that nobody asks for an explanation is twelve megabytes smaller and starts half a second sooner."""

    @cache
    def loaded() -> Inspect:
        from contracts.chassis.temporal.inspection import Inspector  # noqa: PLC0415  only for who asks

        return Inspector(profile, task_queue).inspect

    asking = Semaphore(MOST_AT_ONCE)

    async def inspect(workflow_id: str) -> Inspection:
        # A Temporal that is slow to answer takes nobody's place at the door.
        async with admission.resting(), asking:
            return await loaded()(workflow_id)

    return inspect
