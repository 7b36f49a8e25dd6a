"""What cannot be as it is with orders, and what is safe to do about it."""

from order_service.reconciliation.money import MoneyRules
from order_service.reconciliation.open_orders import OpenOrderRules
from order_service.reconciliation.parcels import ParcelRules
from order_service.reconciliation.stock import StockRules
from order_service.reconciliation.wishes import WishRules

OPEN_STREAMS = "select 'order-' || order_id as stream, order_id from order_view where step <> 'end'"

__all__ = ["OPEN_STREAMS", "MoneyRules", "OpenOrderRules", "ParcelRules", "StockRules", "WishRules"]
