"""What of the parcels waits for a person, and what a person may do about it."""

from typing import Any

from contracts import fulfillment as contract
from contracts.chassis.documents import GRANTED
from contracts.chassis.triage import Subjects, routes
from fulfillment_service.rest.wishes import submit


def _named(fulfillment_id: str) -> dict[str, Any]:
    return {
        "fulfillmentId": fulfillment_id,
        "workflowId": contract.workflow_id(fulfillment_id),
        "orderId": contract.order_id_of(fulfillment_id),
    }


router = routes(Subjects(named=_named, submit=submit, cancel="cancelFulfillment"), GRANTED)
