"""Temporal as both services use it: encrypted, traced, one table of policies, one translation of errors."""

from contracts.chassis.temporal.activities import Policy, start_outside, stored
from contracts.chassis.temporal.arrivals import Arrivals, decoded
from contracts.chassis.temporal.codec import BARE_PAYLOADS, KeyRing, PayloadCodec, codec_server
from contracts.chassis.temporal.delivery import Delivery, Target
from contracts.chassis.temporal.patience import patience, why
from contracts.chassis.temporal.translation import refusal
from contracts.chassis.temporal.wiring import Crew, connect, key_ring, plugin, worker

__all__ = [
    "BARE_PAYLOADS",
    "Arrivals",
    "Crew",
    "Delivery",
    "KeyRing",
    "PayloadCodec",
    "Policy",
    "Target",
    "codec_server",
    "connect",
    "decoded",
    "key_ring",
    "patience",
    "plugin",
    "refusal",
    "start_outside",
    "stored",
    "why",
    "worker",
]
