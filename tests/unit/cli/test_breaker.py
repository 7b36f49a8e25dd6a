"""`tandem breaker`: each provider's breaker behind the door of the service that asks it."""

from typing import Any

import pytest

from tests.unit.cli.doors import Doors, one_object, tandem

TURN = {
    "from": "CLOSED",
    "to": "OPEN",
    "reason": "10 in a row failed",
    "actor": "circuit-breaker",
    "at": "2026-01-01T00:00:00Z",
}


def a_breaker(name: str, state: str = "CLOSED", **more: Any) -> dict[str, Any]:
    return {"name": name, "state": state, "failures": 0, "threshold": 10, "coolDownSeconds": 10, **more}


def test_both_services_are_listed(doors: Doors):
    doors.answer("GET", "/circuit-breakers", {"circuitBreakers": [a_breaker("payments")]})
    found = one_object(tandem("breaker", "list", "--json"))
    assert len(found["circuitBreakers"]) == 2
    assert {each.url.port for each in doors.asked} == {3232, 3233}
    assert "payments" in tandem("breaker", "list").stdout


@pytest.mark.parametrize(("name", "port"), [("payments", 3232), ("carrier", 3233)])
def test_one_is_shown_with_who_turned_it(doors: Doors, name: str, port: int):
    doors.answer("GET", f"/circuit-breakers/{name}", a_breaker(name, "OPEN", transitions=[TURN]))
    said = tandem("breaker", "show", name).stdout
    assert doors.asked[0].url.port == port
    assert "10 in a row failed" in said


def test_what_turns_it_brings_the_reason(doors: Doors):
    """Nothing that was not said is sent."""
    answer = a_breaker("carrier", transitions=[])
    doors.answer("POST", "/circuit-breakers/carrier/trip", answer)
    doors.answer("POST", "/circuit-breakers/carrier/reset", answer)
    doors.answer("PATCH", "/circuit-breakers/carrier", answer)
    assert tandem("breaker", "trip", "carrier", "--reason", "r", "--seconds", "60").exit_code == 0
    assert doors.body == {"reason": "r", "seconds": 60}
    assert tandem("breaker", "reset", "carrier", "--reason", "r").exit_code == 0
    assert doors.body == {"reason": "r"}
    assert tandem("breaker", "configure", "carrier", "--reason", "r", "--cool-down", "5").exit_code == 0
    assert doors.body == {"reason": "r", "coolDownSeconds": 5}
    assert doors.asked[0].headers["X-Actor"] == "tandem-cli"


def test_a_breaker_that_does_not_exist_is_wrong_usage(doors: Doors):
    assert tandem("breaker", "show", "weather").exit_code == 2
    assert tandem("breaker", "trip", "payments").exit_code == 2
    assert doors.asked == []
