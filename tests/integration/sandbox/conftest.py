"""One sandbox for all tests that only talk to it."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.sandbox.driver import Sandbox, start


@pytest.fixture(scope="package")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    state = tmp_path_factory.mktemp("sandbox") / "state"
    running = start(state)
    yield running
    assert running.end(signal.SIGTERM) == 0
    assert Path(f"{state}.stderr").read_text() == ""
