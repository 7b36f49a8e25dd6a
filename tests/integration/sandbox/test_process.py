"""The sandbox killed, stopped and started again over the same folder."""

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.integration.sandbox.driver import ADDRESS, NO_ANSWER, start


def test_a_killed_sandbox_has_forgotten_nothing(tmp_path: Path):
    """Rows, stored answers, states and failure counts are there after kill -9, also of unheard calls."""
    state = tmp_path / "state"
    first = start(state)
    reference = first.authorize(ref="ORD-A", key="a:1").json()["reference"]
    with pytest.raises(NO_ANSWER):
        first.authorize("tok_timeout_done", ref="ORD-B", key="b:1")
    assert first.authorize("tok_500_2", ref="ORD-C", key="c:1").status_code == 500
    tracking = first.label(ref="ORD-A-1").json()["trackingReference"]
    assert first.hand_over(tracking, key="h:1").status_code == 201
    before = [first.ledger(provider) for provider in ("payments", "carrier")]
    assert first.end(signal.SIGKILL) == -signal.SIGKILL

    second = start(state)
    try:
        assert [second.ledger(provider) for provider in ("payments", "carrier")] == before
        assert second.authorize(ref="ORD-A", key="a:1").json()["reference"] == reference
        assert second.operation("payments", "b:1").json()["status"] == "authorized"
        assert second.capture(reference).status_code == 200
        codes = [second.authorize("tok_500_2", ref="ORD-C", key="c:1").status_code for _ in range(2)]
        assert codes == [500, 201]
        assert second.hand_over(tracking, key="h:2").json()["code"] == "already_handed_over"
        assert second.hand_over(tracking, key="h:1").headers["idempotent-replayed"] == "true"
    finally:
        assert second.end(signal.SIGTERM) == 0


def test_killed_under_load_the_ledger_has_every_answer_given(tmp_path: Path):
    """Whoever heard `authorized` before the kill is in the ledger, once."""
    state = tmp_path / "state"
    first = start(state)
    heard: list[str] = []

    def shop(number: int) -> None:
        for n in range(10_000):
            try:
                answer = first.authorize(ref=f"ORD-{number}-{n}", key=f"{number}:{n}")
            except (httpx.TransportError, RuntimeError):
                return
            heard.append(answer.json()["reference"])

    with ThreadPoolExecutor(4) as pool:
        shops = [pool.submit(shop, number) for number in range(4)]
        while len(heard) < 100:
            time.sleep(0.01)
        first.process.kill()
        first.process.wait(10)
        for running in shops:
            running.result(10)
    second = start(state)
    try:
        applied = [row["reference"] for row in second.ledger("payments") if row["effect"] == "applied"]
        assert len(applied) == len(set(applied))
        assert set(heard) <= set(applied)
    finally:
        second.end(signal.SIGTERM)


def test_it_stops_while_calls_wait(tmp_path: Path):
    """SIGTERM ends within moments: what waits to be done is not done, what is done stays done."""
    state = tmp_path / "state"
    first = start(state)
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(first.authorize, "tok_slow_60000", ref="ORD-A", key="a:1")
        silent = pool.submit(first.authorize, "tok_timeout_done_60000", ref="ORD-B", key="b:1")
        while not first.ledger("payments"):
            time.sleep(0.01)
        time.sleep(0.2)
        first.process.send_signal(signal.SIGTERM)
        assert first.process.wait(5) == 0
        for waiting in (slow, silent):
            assert isinstance(waiting.exception(5), NO_ANSWER)
    assert Path(f"{state}.stderr").read_text() == ""
    second = start(state)
    try:
        assert [row["key"] for row in second.ledger("payments")] == ["b:1"]
    finally:
        second.end(signal.SIGTERM)


def test_one_folder_has_one_sandbox(tmp_path: Path):
    """A second process on the same ledgers ends with a sentence, not with a second truth."""
    first = start(tmp_path / "state")
    try:
        command = [sys.executable, "-m", "deploy.sandbox", "--port", "0", "--state", str(tmp_path / "state")]
        second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert second.returncode == 1
        assert "Another sandbox may hold this folder" in second.stderr
        assert "Traceback" not in second.stderr
    finally:
        first.end(signal.SIGTERM)


def test_no_street_is_kept(tmp_path: Path):
    """Neither ledgers nor files hold the address; only the postal code."""
    state = tmp_path / "state"
    running = start(state)
    running.label("10115", key="l:1")
    running.label("00001", key="l:2")
    ledger = str(running.ledger("carrier"))
    running.end(signal.SIGKILL)
    files = b"".join(file.read_bytes() for file in state.iterdir())
    assert b"10115" in files
    for person in (ADDRESS["street"], ADDRESS["city"]):
        assert person not in ledger
        assert person.encode() not in files
