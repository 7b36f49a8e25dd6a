"""The order: what its facts make of it, what may be wished of it, and what each step adds. Pure."""

from order_service.order.evolution import evolve
from order_service.order.state import RENEW, STEPS_TOTAL, Order, Step

__all__ = ["RENEW", "STEPS_TOTAL", "Order", "Step", "evolve"]
