"""What a member of a group forgets when the group changes."""

# pyright: reportMissingTypeStubs=false

import asyncio

from aiokafka import TopicPartition

from contracts.chassis.kafka.consumer import HandOver


async def test_a_partition_that_comes_back_has_no_place():
    """What another member handled meanwhile is not our lag."""
    partition = TopicPartition("orders.events.v1", 3)
    places = {partition: 17}
    await HandOver(asyncio.Lock(), places).on_partitions_assigned([partition])
    assert places == {}


async def test_partitions_are_let_go_between_two_batches():
    """Never while one is being handled, whose next owner would handle it beside us."""
    handling, places = asyncio.Lock(), dict[TopicPartition, int]()
    async with handling:
        letting_go = asyncio.create_task(HandOver(handling, places).on_partitions_revoked([]))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not letting_go.done()
    await letting_go
