"""The door of the order service: parse, ask, answer. Needs PostgreSQL and nothing else."""

from fastapi import APIRouter

from order_service.rest import actions, exceptions, placing, reading, telling, wishes
from order_service.rest.door import Door

router = APIRouter()
router.include_router(placing.router)
router.include_router(reading.router)
router.include_router(wishes.router)
router.include_router(actions.router)
router.include_router(exceptions.router)
router.include_router(telling.router)

__all__ = ["Door", "router"]
