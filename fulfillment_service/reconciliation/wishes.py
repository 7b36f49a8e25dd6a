"""Wishes for parcels that have no final receipt when they should."""

from typing import Any

from contracts import fulfillment as contract
from contracts.chassis.housekeeping.wishes import unkept_wish_rule
from contracts.chassis.postgres import Database, Row
from contracts.chassis.reconciler import Repair, Rule, knocking
from contracts.chassis.settings import HousekeepingSettings
from fulfillment_service.reconciliation.open_parcels import PARCELS


def wish_rule(database: Database, settings: HousekeepingSettings) -> Rule:
    return unkept_wish_rule(PARCELS, _is_explained, _knocking, database, settings)


def _is_explained(row: Row) -> bool:
    """A person decides it, or knows of the parcel."""
    document: dict[str, Any] = row["document"]
    return bool(document["cancellationRequests"] or document["exception"] or row["has_exception"])


def _knocking(row: Row) -> Repair:
    return knocking(contract.workflow_id(row["id"]))
