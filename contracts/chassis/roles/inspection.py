"""How a door asks Temporal, which it otherwise never does."""

from functools import cache

from contracts.chassis.explanation import Inspect, Inspection
from contracts.chassis.settings import Profile


def inspector(profile: Profile, task_queue: str) -> Inspect:
    """What Temporal says of a workflow. Its client is loaded and opened for the first who asks.

    A door that nobody asks for an explanation is twelve megabytes smaller and starts half a second sooner."""

    @cache
    def loaded() -> Inspect:
        from contracts.chassis.temporal.inspection import Inspector  # noqa: PLC0415  only for who asks

        return Inspector(profile, task_queue).inspect

    async def inspect(workflow_id: str) -> Inspection:
        return await loaded()(workflow_id)

    return inspect
