"""The doors of both services, replaced."""

import httpx
import pytest

from deploy.commands import rest, watching
from tests.unit.cli.doors import Doors


@pytest.fixture
def doors(monkeypatch: pytest.MonkeyPatch) -> Doors:
    doors = Doors()

    def client(url: str) -> httpx.Client:
        return httpx.Client(base_url=url, transport=httpx.MockTransport(doors.handle))

    monkeypatch.setattr(rest, "open_client", client)
    monkeypatch.setattr(watching, "_QUICK_SECONDS", 0.001)
    return doors
