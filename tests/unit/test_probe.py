"""The health check of a container: what it asks, and with which exit code it answers."""

import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from contracts.chassis import probe


class _Health(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(type(self).status if self.path == "/health/ready" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name it has there
        """Says nothing."""


@pytest.fixture
def port(request: pytest.FixtureRequest) -> Iterator[str]:
    handler = type("Health", (_Health,), {"status": getattr(request, "param", 200)})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield str(server.server_port)
        server.shutdown()


@pytest.mark.parametrize(("port", "code"), [(200, 0), (503, 1)], indirect=["port"])
def test_only_ready_is_healthy(port: str, code: int):
    """A process that answers but is not ready, or whose loops stand still, is not healthy."""
    assert probe.main([port]) == code


@pytest.mark.parametrize("variable", ["TANDEM_HEALTH_PORT", "TANDEM_API_PORT"])
def test_the_port_is_the_one_of_the_role(port: str, variable: str, monkeypatch: pytest.MonkeyPatch):
    """An API is asked at its own door, any other role at its health port."""
    monkeypatch.setenv(variable, port)
    assert probe.main([]) == 0


def test_nobody_there_is_not_healthy(port: str):
    """A closed door is an answer."""
    assert probe.main(["1"]) == 1


def test_without_a_port_it_says_what_to_set(capsys: pytest.CaptureFixture[str]):
    """The fix is in the message."""
    assert probe.main([]) == 2
    assert "TANDEM_HEALTH_PORT" in capsys.readouterr().err


def test_it_loads_next_to_nothing():
    """It starts every few seconds in every container."""
    program = "import sys, contracts.chassis.probe; print({'pydantic', 'ssl', 'http'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
