"""What cannot be as it is with parcels, and what is safe to do about it."""

from fulfillment_service.reconciliation.labels import LabelRules
from fulfillment_service.reconciliation.open_parcels import OpenParcelRules
from fulfillment_service.reconciliation.wishes import WishRules

OPEN_STREAMS = """
    select 'fulfillment-' || fulfillment_id as stream, order_id
    from fulfillment_view
    where step <> 'end'
    """

__all__ = ["OPEN_STREAMS", "LabelRules", "OpenParcelRules", "WishRules"]
