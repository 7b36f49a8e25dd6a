"""What cannot be as it is with parcels, and what is safe to do about it."""

from fulfillment_service.reconciliation.labels import label_rule
from fulfillment_service.reconciliation.open_parcels import open_parcel_rule
from fulfillment_service.reconciliation.wishes import wish_rule

OPEN_STREAMS = """
    select 'fulfillment-' || fulfillment_id as stream, order_id
    from fulfillment_view
    where step <> 'end'
    """

__all__ = ["OPEN_STREAMS", "label_rule", "open_parcel_rule", "wish_rule"]
