"""Who asks for orders and for what becomes of them while releases are exchanged."""

from copy import copy
from typing import Any

from tests.e2e.people import Engineer, Operator, Shop
from tests.proof.record import Placed
from tests.proof.upgrade.house import Crew, House, Temporal

Json = dict[str, Any]

STREET, NAME, EMAIL = "7 Rollback Row", "Ronja Upgradsdottir", "ronja@upgrade.example"


class People:
    """A shop and an operator at the doors of a house, and who looks into Temporal and behind the doors."""

    def __init__(self, house: House) -> None:
        self.temporal = Temporal(house)
        self.engineer = Engineer(house)
        self.placed: list[Placed] = []
        self._goes_to(house)

    def at(self, doors: Crew) -> "People":
        """The same people, at other doors of the house."""
        found = copy(self)
        found._goes_to(doors)
        return found

    def _goes_to(self, doors: House | Crew) -> None:
        self.shop = Shop(doors.url("order_service"))
        self.operator = Operator(doors.url("fulfillment_service"))

    def place(self, key: str, *, scenario: str = "", token: str = "tok_ok", zip_code: str = "27701") -> str:
        """The id of an order that was accepted."""
        headers = {"Idempotency-Key": key}
        if scenario:
            params = {"scenario": scenario, "speed": "instant"}
            answer = self.shop.http.post("/orders/demo", params=params, headers=headers)
        else:
            answer = self.shop.http.post("/orders", json=_order(token, zip_code), headers=headers)
        assert answer.status_code == 201, answer.text
        told: Json = answer.json()
        self.placed.append(Placed(key, told["commandId"], [told["orderId"]]))
        return told["orderId"]

    def turns_breaker(self, word: str) -> None:
        """That of the payment provider: `trip` opens it until somebody resets it, `reset` closes it."""
        is_fine(self.shop.http.post(f"/circuit-breakers/payments/{word}", json={"reason": "upgrade"}))

    def retries(self, http: Any, subject: str) -> None:
        """What waits for a person is tried again."""
        for found in self.troubles(http, subject):
            is_fine(http.post(f"/exceptions/{found['id']}/retry"))

    def troubles(self, http: Any, subject: str) -> list[Json]:
        answer = http.get("/exceptions", params={"subject": subject})
        is_fine(answer)
        return answer.json()["exceptions"]


def _order(token: str, zip_code: str) -> Json:
    address = {"street": STREET, "city": "Durham", "state": "NC", "zipCode": zip_code, "country": "USA"}
    return {
        "customerId": "customer-17",
        "items": [{"sku": "TEAPOT", "quantity": 1, "unitPriceMinor": 4900}],
        "currency": "USD",
        "shippingAddress": address,
        "contact": {"name": NAME, "email": EMAIL},
        "payment": {"token": token},
    }


def is_fine(answer: Any) -> None:
    """It was taken."""
    assert answer.status_code in (200, 202), answer.text
