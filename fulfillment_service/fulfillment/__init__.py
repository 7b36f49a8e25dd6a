"""The fulfillment: what its facts make of it, what may be wished of it, and what each step adds. Pure."""

from fulfillment_service.fulfillment.state import Fulfillment, Step, evolve, evolved

__all__ = ["Fulfillment", "Step", "evolve", "evolved"]
