"""The role `consumer`: the fulfillments' events into the orders' view."""

from contextlib import AbstractAsyncContextManager

from contracts.chassis.lifecycle import Health, Role
from contracts.chassis.roles.consumer import consume
from order_service.bootstrap import Settings
from order_service.consumer import CONSUMER, TOPICS, effect


def open_role(settings: Settings, health: Health) -> AbstractAsyncContextManager[Role]:
    """Each event has its effect once."""
    return consume(CONSUMER, TOPICS, effect, settings, health)
