"""What of the parcels waits for a person, and what a person may do about it."""

from contextlib import suppress

from contracts import fulfillment as contract
from contracts import order
from contracts.chassis.documents import GRANTED
from contracts.chassis.triage import Subjects, routes
from fulfillment_service.rest.wishes import submit


def _named(subject: str) -> dict[str, str]:
    """A record that was set aside names an order, or nothing that is known here."""
    with suppress(ValueError):
        return {
            "fulfillmentId": contract.fulfillment_id_of(subject),
            "workflowId": contract.workflow_id(contract.fulfillment_id_of(subject)),
            "orderId": contract.order_id_of(subject),
        }
    with suppress(ValueError):
        return {"orderId": order.order_id_of(subject)}
    return {}


router = routes(Subjects(named=_named, submit=submit, cancel="cancelFulfillment"), GRANTED)
