"""The fulfillment: what its facts make of it, what may be wished of it, and what each step adds. Pure."""

from fulfillment_service.fulfillment.evolution import evolve, evolved
from fulfillment_service.fulfillment.state import Fulfillment, Step

__all__ = ["Fulfillment", "Step", "evolve", "evolved"]
