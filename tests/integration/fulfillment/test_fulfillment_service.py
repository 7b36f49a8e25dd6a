"""The fulfillment service alone on real engines."""

from collections import Counter

import pytest
from temporalio.api.enums.v1 import EventType

from contracts.fulfillment import FulfillmentApi
from tests.integration.fulfillment.house import House

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_parcel_ships_within_the_history_budget(house: House):
    """Automatic, pace 0, three lines: from the order's request to the signal back in 26 history events."""
    parcel = await house.parcel()
    assert await parcel.ended() == "SHIPPED"
    history = await parcel.history()
    kinds = Counter(EventType.Name(event.event_type) for event in history.events)
    print(len(history.events), kinds, sum(event.ByteSize() for event in history.events))
    assert len(history.events) <= 26
    assert await parcel.ledger() == [("label", "applied"), ("hand-over", "applied")]
    told = await parcel.told()
    assert [(news.n, news.outcome) for news in told.completed] == [(1, "SHIPPED")]
    status = await parcel.handle.query(FulfillmentApi.status)
    assert (status.status, status.outcome) == ("SHIPPED", "SHIPPED")
