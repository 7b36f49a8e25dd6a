"""What cannot be as it is with orders, and what is safe to do about it."""

from order_service.reconciliation.money import money_rule
from order_service.reconciliation.open_orders import open_order_rule
from order_service.reconciliation.parcels import heard_parcel_rule
from order_service.reconciliation.stock import stock_rule
from order_service.reconciliation.wishes import wish_rule

OPEN_STREAMS = "select 'order-' || order_id as stream, order_id from order_view where step <> 'end'"

__all__ = ["OPEN_STREAMS", "heard_parcel_rule", "money_rule", "open_order_rule", "stock_rule", "wish_rule"]
