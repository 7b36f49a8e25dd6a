"""The circuit breakers over both doors."""

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from tests.integration.doors import Doors, Service, open_doors

pytestmark = pytest.mark.asyncio(loop_scope="module")
NAMES: dict[Service, str] = {"orders": "payments", "fulfillments": "carrier"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(orders_url: str, fulfillments_url: str) -> AsyncGenerator[Doors]:
    async with open_doors(orders_url, fulfillments_url) as doors:
        yield doors


@pytest.mark.parametrize("service", ["orders", "fulfillments"])
async def test_a_breaker_is_tripped_and_reset_with_who_and_why(doors: Doors, service: Service):
    """Each service has its own; what an operator did is told, newest first."""
    http, name = doors.http[service], NAMES[service]
    listed = (await http.get("/circuit-breakers")).json()["circuitBreakers"]
    assert [(each["name"], each["state"]) for each in listed] == [(name, "CLOSED")]
    path, by = f"/circuit-breakers/{name}", {"X-Actor": "ada"}
    tripped = await http.post(f"{path}/trip", json={"reason": "their maintenance", "seconds": 60}, headers=by)
    assert tripped.status_code == 200
    assert (tripped.json()["state"], tripped.json()["openUntil"] is None) == ("OPEN", False)
    assert (await http.post(f"{path}/trip", json={"reason": "longer"})).json()["openUntil"] is None
    closed = (await http.post(f"{path}/reset", json={"reason": "they are back"}, headers=by)).json()
    assert closed["state"] == "CLOSED"
    turns = (await http.get(path)).json()["transitions"]
    assert [(turn["from"], turn["to"], turn["actor"], turn["reason"]) for turn in turns] == [
        ("OPEN", "CLOSED", "ada", "they are back"),
        ("OPEN", "OPEN", "anonymous", "longer"),
        ("CLOSED", "OPEN", "ada", "their maintenance"),
    ]


async def test_a_breaker_is_configured(doors: Doors):
    changed = await doors.http["orders"].patch(
        "/circuit-breakers/payments", json={"threshold": 4, "coolDownSeconds": 2.5, "reason": "they are slow"}
    )
    assert (changed.json()["threshold"], changed.json()["coolDownSeconds"]) == (4, 2.5)
    assert changed.json()["transitions"][0]["reason"] == "threshold 4, cool-down 2.5 s: they are slow"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/circuit-breakers/weather", None, 404),
        ("POST", "/circuit-breakers/weather/trip", {"reason": "r"}, 404),
        ("POST", "/circuit-breakers/payments/trip", {}, 422),
        ("POST", "/circuit-breakers/payments/trip?dryRun=true", {"reason": "r"}, 422),
        ("PATCH", "/circuit-breakers/payments", {"reason": "r"}, 422),
        ("PATCH", "/circuit-breakers/payments", {"reason": "r", "threshold": 0}, 422),
    ],
)
async def test_what_makes_no_sense_changes_nothing(
    doors: Doors, method: str, path: str, body: object, status: int
):
    before = (await doors.http["orders"].get("/circuit-breakers/payments")).json()
    answer = await doors.http["orders"].request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert status != 404 or "GET /circuit-breakers" in answer.json()["detail"]
    assert (await doors.http["orders"].get("/circuit-breakers/payments")).json() == before
