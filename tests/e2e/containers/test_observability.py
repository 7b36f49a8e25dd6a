"""The collector's configuration is one that a collector takes."""

import uuid
from collections.abc import Iterator

import httpx
import pytest

from deploy.local.state import ROOT
from tests.e2e.containers.composed import image, log_of
from tests.e2e.containers.engine import docker, needs_docker
from tests.e2e.people import eventually

pytestmark = needs_docker

HEALTH = "13133/tcp"


@pytest.fixture(scope="module")
def collector() -> Iterator[str]:
    """The name of a running collector, whose Jaeger is an address where nobody answers."""
    name = f"tandem-test-collector-{uuid.uuid4().hex[:8]}"
    docker(
        "run", "--detach", "--name", name, "--add-host=jaeger:127.0.0.1",
        f"--publish=127.0.0.1::{HEALTH}", "--publish=127.0.0.1::4318/tcp",
        f"--volume={ROOT}/deploy/observability/collector.yaml:/etc/tandem/collector.yaml:ro",
        image("collector"), "--config=/etc/tandem/collector.yaml",
    )  # fmt: skip
    try:
        yield name
    finally:
        docker("rm", "--force", name)


def url(name: str, port: str) -> str:
    return f"http://{docker('port', name, port)}"


def answers(address: str) -> int:
    try:
        return httpx.get(address, timeout=2).status_code
    except httpx.TransportError:
        return 0


def test_a_collector_takes_our_configuration(collector: str):
    """It is well, takes spans, and warns of nothing that is deprecated."""
    eventually(lambda: answers(url(collector, HEALTH)), lambda status: status == 200)
    spans = httpx.post(f"{url(collector, '4318/tcp')}/v1/traces", json={"resourceSpans": []}, timeout=5)
    assert spans.status_code == 200
    assert "Everything is ready" in log_of(collector)
    assert "deprecated" not in log_of(collector)
