"""Why an order or a fulfillment does not move: what is known, the reasons in it, and how they are said."""

from contracts.chassis.explanation.evidence import Evidence, gather
from contracts.chassis.explanation.machinery import Inspect, Inspection, Machine, PendingActivity, machinery
from contracts.chassis.explanation.words import (
    Call,
    Explanation,
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
    "Machine",
    "Next",
    "PendingActivity",
    "Reason",
    "Unblock",
    "clock",
    "explained",
    "gather",
    "lasted",
    "machinery",
]
