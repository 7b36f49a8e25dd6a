"""Some orders at a time, and what must be true of each of them when all is over."""

from collections import Counter

from tests.e2e.people import ENDED, Engineer, Json, Shop, applied, eventually


class Crowd:
    """Places orders whatever happens to the system, and looks at all of them at once."""

    def __init__(self, shop: Shop, engineer: Engineer) -> None:
        self.shop = shop
        self.engineer = engineer

    def place(self, name: str, numbers: range) -> list[str]:
        """One order for each number, some of them taking their time; each is asked for until it is there."""
        return [
            self.shop.insists(f"{name}-{number}", speed="instant" if number % 4 else "fast")
            for number in numbers
        ]

    def settle(self, orders: list[str], *, within_seconds: float) -> None:
        """All have ended, and the order's view has heard of every parcel's end."""

        def open_ones() -> list[Json]:
            return self.engineer.rows(
                "orders",
                """
                select order_id, status, step, fulfillment ->> 'status' as parcel
                from order_view
                where order_id = any(%s)
                  and (step = 'end' and fulfillment ->> 'status' = any(%s)) is not true
                """,
                orders,
                list(ENDED),
            )

        eventually(open_ones, lambda found: not found, within_seconds=within_seconds)

    def troubles(self, orders: list[str]) -> dict[str, Json]:
        """Each order that is not shipped, charged once, labelled once and handed over once; and why."""
        payments, carrier = self.engineer.books("payments"), self.engineer.books("carrier")
        rows = self.engineer.rows(
            "orders",
            """
            select order_id, status, payment_status, fulfillment ->> 'status' as parcel
            from order_view
            where order_id = any(%s)
            """,
            orders,
        )
        found = {
            row["order_id"]: {
                **{name: row[name] for name in ("status", "payment_status", "parcel")},
                "payments": applied(payments.get(row["order_id"], [])),
                "carrier": applied(carrier.get(row["order_id"], [])),
                "stock": sorted(self.engineer.stock_states(row["order_id"])),
            }
            for row in rows
        }
        assert found.keys() == set(orders)
        return {order: seen for order, seen in found.items() if seen != _AS_IT_SHOULD_BE}

    def doubles(self) -> dict[str, int]:
        """Idempotency keys under which more than one order was placed."""
        rows = self.engineer.rows(
            "orders", "select meta ->> 'commandId' as key from events where version = 1"
        )
        return {key: times for key, times in Counter(row["key"] for row in rows).items() if times > 1}


_AS_IT_SHOULD_BE = {
    "status": "SHIPPED",
    "payment_status": "CAPTURED",
    "parcel": "SHIPPED",
    "payments": ["authorize", "capture"],
    "carrier": ["label", "hand-over"],
    "stock": ["SHIPPED"],
}
