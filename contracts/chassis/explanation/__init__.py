"""Why an order or a fulfillment does not move: what is known, the reasons in it, and how they are said."""

from contracts.chassis.explanation.evidence import Evidence, Told, gather
from contracts.chassis.explanation.machinery import Inspect, Inspection, Machine, PendingActivity, machinery
from contracts.chassis.explanation.words import (
    Call,
    Explanation,
    Kind,
    Next,
    Reason,
    Unblock,
    clock,
    explained,
    lasted,
)

__all__ = [
    "Call",
    "Evidence",
    "Explanation",
    "Inspect",
    "Inspection",
    "Kind",
    "Machine",
    "Next",
    "PendingActivity",
    "Reason",
    "Told",
    "Unblock",
    "clock",
    "explained",
    "gather",
    "lasted",
    "machinery",
]
