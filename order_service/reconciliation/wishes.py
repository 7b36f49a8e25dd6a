"""Wishes of orders that have no final receipt when they should."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from contracts.chassis.housekeeping.wishes import unkept_wish_rule
from contracts.chassis.postgres import Database, Row
from contracts.chassis.reconciler import Repair, Rule
from contracts.chassis.settings import HousekeepingSettings
from order_service.reconciliation.open_orders import ORDERS, is_explained

Send = Callable[[str, str], Awaitable[Any]]
"""Sends a wish of an order to its fulfillment; one that is known there has no second effect."""


def wish_rule(database: Database, send: Send, settings: HousekeepingSettings) -> Rule:
    return unkept_wish_rule(ORDERS, _is_explained, partial(_sending, send), database, settings)


def _is_explained(row: Row) -> bool:
    """A person or its own deadline sees to it."""
    cancels: list[dict[str, Any]] = row["document"]["unansweredCancels"]
    return is_explained(row) or any(cancel["commandId"] == row["command_id"] for cancel in cancels)


def _sending(send: Send, row: Row) -> Repair:
    return Repair("SENT_AGAIN", outside=partial(send, row["id"], row["command_id"]), tries=2)
