"""Orders to try the system with: a customer who does not exist, in scenarios the sandbox plays."""

from collections.abc import Mapping
from typing import Any, Literal

from contracts.order import PlaceOrder
from contracts.values import WarehouseMode

Scenario = Literal[
    "happy",
    "manual",
    "declined",
    "out-of-stock",
    "payment-timeout",
    "payment-flaky",
    "capture-refused",
    "label-refused",
    "label-timeout",
]
Speed = Literal["instant", "fast", "normal", "slow"]

PACE_SECONDS: Mapping[Speed, float] = {"instant": 0, "fast": 0.2, "normal": 1, "slow": 10}
"""How long the simulated warehouse takes for a step."""

_TOKENS: Mapping[str, str] = {
    "declined": "tok_declined",
    "payment-timeout": "tok_timeout_done",
    "payment-flaky": "tok_500_2",
    "capture-refused": "tok_capture_refused",
}
_ZIP_CODES: Mapping[str, str] = {"label-refused": "00001", "label-timeout": "50400"}


def demo_order(scenario: Scenario) -> PlaceOrder:
    """Three lines for a customer who does not exist; the scenario picks what the sandbox makes of it."""
    third = "TEA-LEMON" if scenario == "out-of-stock" else "SPOON"
    body: dict[str, Any] = {
        "customerId": "demo-customer",
        "items": [
            {"sku": "TEAPOT", "quantity": 1, "unitPriceMinor": 4900},
            {"sku": "TEA-ASSAM", "quantity": 2, "unitPriceMinor": 790},
            {"sku": third, "quantity": 4, "unitPriceMinor": 350},
        ],
        "currency": "USD",
        "shippingAddress": {
            "street": "17 Sample Orchard Lane",
            "city": "Demoville",
            "state": "NC",
            "zipCode": _ZIP_CODES.get(scenario, "12345"),
            "country": "USA",
        },
        "contact": {
            "name": "Adalia Demonstrata",
            "email": "adalia.demonstrata@example.com",
            "phone": "+1 555 0100",
        },
        "payment": {"token": _TOKENS.get(scenario, "tok_ok")},
    }
    return PlaceOrder.model_validate(body)


def mode_of(scenario: Scenario) -> WarehouseMode:
    return "manual" if scenario == "manual" else "automatic"
