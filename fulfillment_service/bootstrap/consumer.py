"""The role `consumer`: the orders' events into the operators' view."""

from contextlib import AbstractAsyncContextManager

from contracts.chassis.lifecycle import Health, Role
from contracts.chassis.roles.consumer import consume
from fulfillment_service.bootstrap import Settings
from fulfillment_service.consumer import CONSUMER, TOPICS, effect


def open_role(settings: Settings, health: Health) -> AbstractAsyncContextManager[Role]:
    """Each event has its effect once."""
    return consume(CONSUMER, TOPICS, effect, settings, health)
