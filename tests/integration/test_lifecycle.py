"""How a process lives: the truth about readiness, liveness and stopping, in a real process."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress

import httpx
import pytest

PROCESS = """
import asyncio, sys
from contextlib import asynccontextmanager
from contracts.chassis import lifecycle, telemetry
from contracts.chassis.lifecycle import Role
from contracts.chassis.settings import HealthSettings, LogSettings, TelemetrySettings

port, behaviour = int(sys.argv[1]), sys.argv[2]

@asynccontextmanager
async def resource(name):
    print("opened", name, flush=True)
    try:
        yield
    finally:
        if behaviour == "hangs":
            await asyncio.sleep(60)
        print("closed", name, flush=True)

@asynccontextmanager
async def role(health):
    async with resource("database"), resource("broker"):
        progress = health.watch("relay")

        async def relay():
            if behaviour == "fails":
                await asyncio.sleep(0.2)
                raise ValueError("Anna Secret")
            try:
                while behaviour != "stalls":
                    progress()
                    await asyncio.sleep(0.05)
                await asyncio.sleep(60)
            finally:
                print("drained", flush=True)

        yield Role({"relay": relay})

flush = telemetry.configure("service", "relay", TelemetrySettings(), LogSettings(format="json"))
settings = HealthSettings(port=port, stalled_after_seconds=0.5, drain_seconds=0.3, stop_seconds=1.5)
sys.exit(lifecycle.run(role, settings, flush))
"""


class Running:
    """A process of one role, and its health as seen from outside."""

    def __init__(self, behaviour: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(self.port), behaviour],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def status_of(self, path: str) -> int:
        """0 when nobody answers."""
        with suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=2).status_code
        return 0

    def wait_for(self, path: str, status: int, seconds: float = 15) -> None:
        deadline = time.monotonic() + seconds
        while self.status_of(path) != status:
            assert time.monotonic() < deadline, f"{path} is not {status}"
            time.sleep(0.02)

    def finish(self, seconds: float = 10) -> tuple[int, list[str], list[str]]:
        out, err = self.process.communicate(timeout=seconds)
        return self.process.returncode, out.splitlines(), err.splitlines()


@contextmanager
def running(behaviour: str = "works") -> Generator[Running]:
    started = Running(behaviour)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.wait()


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_stopping_goes_in_reverse(name: signal.Signals):
    """Not ready first, then what is in hand, then what was opened, the last thing first; then exit code 0."""
    with running() as process:
        process.wait_for("/health/ready", 200)
        os.kill(process.process.pid, name)
        process.wait_for("/health/ready", 503, seconds=2)
        code, lines, _ = process.finish()
    assert code == 0
    assert lines == [*opened("database", "broker"), "drained", "closed broker", "closed database"]


def opened(*names: str) -> Sequence[str]:
    return [f"opened {name}" for name in names]


def test_a_loop_without_progress_is_not_live():
    """Health is progress: a loop that hangs makes the process neither live nor ready."""
    with running("stalls") as process:
        process.wait_for("/health/live", 200)
        process.wait_for("/health/live", 503)
        assert process.status_of("/health/ready") == 503


def test_a_loop_that_ends_ends_the_process():
    """Whoever supervises us starts it again; the log names the fault without quoting it."""
    with running("fails") as process:
        code, lines, errors = process.finish()
    assert code == 1
    assert lines[-1] == "closed database"
    told = [json.loads(line) for line in errors]
    assert any(line.get("error") == "ValueError" for line in told)
    assert not any("Anna" in line for line in errors)


def test_stopping_is_bounded():
    """Something that does not close is cut off."""
    with running("hangs") as process:
        process.wait_for("/health/ready", 200)
        began = time.monotonic()
        os.kill(process.process.pid, signal.SIGTERM)
        code, _, errors = process.finish(seconds=8)
    assert time.monotonic() - began < 4
    assert code == 1
    assert "cut off" in errors[-1]


def ready_gauge(process: Running) -> str:
    told = httpx.get(f"http://127.0.0.1:{process.port}/metrics", timeout=2).text
    return next(line for line in told.splitlines() if line.startswith("tandem_ready "))


@pytest.mark.parametrize(("behaviour", "status", "told"), [("works", 200, "1.0"), ("stalls", 503, "0.0")])
def test_readiness_is_a_metric(behaviour: str, status: int, told: str):
    """Prometheus reads what a load balancer asks."""
    with running(behaviour) as process:
        process.wait_for("/health/live", status)
        process.wait_for("/health/ready", status)
        assert ready_gauge(process) == f"tandem_ready {told}"


def test_metrics_are_told_and_idleness_is_cheap():
    """A process that waits uses next to nothing for its own health."""
    with running() as process:
        process.wait_for("/metrics", 200)
        before = cpu_seconds(process.process.pid)
        time.sleep(2)
        assert cpu_seconds(process.process.pid) - before <= 0.06


def cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
