"""The operators' door of the fulfillment service: parse, ask, answer. Needs PostgreSQL and nothing else."""

from fastapi import APIRouter, Depends

from fulfillment_service.rest import actions, exceptions, reading, standing_holds, telling, wishes
from fulfillment_service.rest.door import Door, simulated

__all__ = ["Door", "router"]

router = APIRouter(dependencies=[Depends(simulated)])
router.include_router(reading.router)
router.include_router(actions.router)
router.include_router(exceptions.router)
router.include_router(wishes.router)
router.include_router(telling.router)
router.include_router(standing_holds.router)
