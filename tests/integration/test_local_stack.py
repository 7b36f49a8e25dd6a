"""The embedded stack: what it promises when processes are killed, ports are taken and it starts again."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from deploy.local.child import Child, Plan, StartError
from deploy.local.migrations import Memory
from deploy.local.ports import Ports
from deploy.local.stack import Stack
from deploy.local.state import ROOT, State
from deploy.local.supervisor import tidy


def _write(stack: Stack, number: int) -> None:
    with psycopg.connect(stack.postgres_url("orders"), autocommit=True) as connection:
        connection.execute("create table if not exists kept (number int)")
        connection.execute("insert into kept values (%s)", (number,))


def _read(stack: Stack) -> list[int]:
    with psycopg.connect(stack.postgres_url("orders")) as connection:
        return [row[0] for row in connection.execute("select number from kept order by number").fetchall()]


def _gone(pid: int, seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_postgres_keeps_its_data_over_a_restart_and_a_kill(state_folder: Path):
    """What was committed is there after a stop, a kill -9 of the server, and a start on another port."""
    with Stack(state_folder, engines={"postgres"}, services=False) as stack:
        _write(stack, 1)
        before = stack["postgres"].pid
        stack["postgres"].kill()
        stack["postgres"].wait_ready()
        assert stack["postgres"].pid != before
        assert stack["postgres"].restarts == 1
        _write(stack, 2)
    with Stack(state_folder, engines={"postgres"}, services=False) as stack:
        assert _read(stack) == [1, 2]


def test_postgres_is_never_root_and_stands_on_loopback(engines: Stack):
    """Also when we are root ourselves."""
    server = psutil.Process(engines["postgres"].pid)
    assert server.uids().effective != 0
    assert {c.laddr.ip for c in server.net_connections() if c.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


def test_a_commit_waits_for_the_disk(engines: Stack):
    """Small settings, but full durability."""
    with psycopg.connect(engines.postgres_url()) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert connection.execute(f"show {setting}").fetchone() == ("on",)


def test_a_lock_file_of_a_dead_server_does_not_stop_the_next(state_folder: Path):
    """Pids repeat soon in a container: a lock that names some other living process is stale."""
    with Stack(state_folder, engines={"postgres"}, services=False) as stack:
        _write(stack, 1)
    lock = state_folder / "postgres" / "postmaster.pid"
    lock.write_text(f"{os.getppid()}\n{state_folder / 'postgres'}\n")
    with Stack(state_folder, engines={"postgres"}, services=False) as stack:
        assert _read(stack) == [1]


def test_a_taken_port_moves_the_server_aside(state_folder: Path):
    """Two stacks live side by side on one machine."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        ports = Ports.near({**Ports.anywhere().taken, "postgres": taken})
        assert ports.moved["postgres"] == (taken, ports["postgres"])
        with Stack(state_folder, engines={"postgres"}, services=False, ports=ports) as stack:
            _write(stack, 1)
            assert f":{ports['postgres']}/" in stack.postgres_url()


def test_temporal_has_both_namespaces_for_thirty_days(temporal_engine: Stack):
    """Still so after a kill -9."""
    for _ in range(2):
        for namespace in ("orders", "fulfillments"):
            said = subprocess.run(
                [str(Path(sys.executable).with_name("temporal")), "operator", "namespace", "describe",
                 "-n", namespace, "--address", temporal_engine.temporal_address, "-o", "json"],
                capture_output=True, text=True, check=True,
            ).stdout  # fmt: skip
            assert "2592000s" in said
        temporal_engine["temporal"].kill()
        temporal_engine["temporal"].wait_ready()


def test_the_embedded_broker_comes_back_and_says_where(state_folder: Path):
    """It may stand on another port then; whoever asks the stack learns it."""
    with Stack(state_folder, engines={"kafka"}, services=False) as stack:
        stack["kafka"].kill()
        stack["kafka"].wait_ready()
        host, port = stack.kafka_servers.split(":")
        socket.create_connection((host, int(port)), timeout=2).close()


def test_a_child_that_never_gets_ready_is_told_with_its_log_and_a_fix(tmp_path: Path):
    """A failed start leaves nothing behind and says what to do."""
    plan = Plan(
        name="broken",
        command=lambda: [sys.executable, "-c", "print('the reason'); raise SystemExit(3)"],
        ready=lambda: False,
        log=tmp_path / "broken.log",
        fix="do this",
    )
    with pytest.raises(StartError, match="the reason") as failed:
        Child(plan, restart=True, notice=print).start()
    assert failed.value.fix == "do this"


def test_a_stubborn_child_is_killed_in_the_end(tmp_path: Path):
    """Stopping takes no longer than it may, and not until the child would have ended by itself."""
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('up', flush=True); time.sleep(60)"
    )
    log = tmp_path / "stubborn.log"
    plan = Plan("stubborn", lambda: [sys.executable, "-c", stubborn], lambda: b"up" in log.read_bytes(), log)
    child = Child(plan, restart=True, notice=print)
    child.start()
    pid = child.pid
    assert pid is not None
    began = time.monotonic()
    child.stop(0.5)
    assert time.monotonic() - began < 30
    assert _gone(pid)
    assert child.pid is None


def test_a_child_that_is_stopped_and_started_at_once_runs_once(tmp_path: Path):
    """Whoever kept the stopped one does not start a second one beside it."""
    told = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    log = tmp_path / "twice.log"
    plan = Plan(
        "twice",
        lambda: [sys.executable, "-c", told],
        lambda: str(child.pid) in log.read_text().split(),
        log,
    )
    child = Child(plan, restart=True, notice=print)
    child.start()
    for _ in range(5):
        child.stop()
        child.start()
    time.sleep(0.5)
    assert (len(log.read_text().split()), child.restarts) == (6, 0)
    child.stop()


def test_children_die_with_their_stack(tmp_path: Path):
    """A kill -9 of the supervisor leaves no process behind."""
    script = (
        "import sys, time; from pathlib import Path; from deploy.local.stack import Stack\n"
        "stack = Stack(Path(sys.argv[1]), engines={'postgres', 'kafka'}, services=False); stack.start()\n"
        "print(*(child.pid for child in stack.children.values()), flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "state")], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        parent.kill()
    assert len(pids) == 2
    assert all(_gone(pid) for pid in pids)


def test_a_folder_belongs_to_one_stack_at_a_time(tmp_path: Path):
    """The second asks who holds it and gets a pid."""
    first, second = State(tmp_path / "state"), State(tmp_path / "state")
    first.make()
    lock = first.lock()
    assert lock is not None
    assert second.lock() is None
    assert second.owner() == os.getpid()
    lock.close()
    assert second.owner() is None


def test_key_rings_are_made_once_and_private(tmp_path: Path):
    """Another start reads what the first one wrote: without these keys no history can be opened."""
    state = State(tmp_path / "state")
    state.make()
    rings = state.key_rings()
    assert State(tmp_path / "state").key_rings() == rings
    assert len(set(rings.values())) == 2
    assert (tmp_path / "state" / "secrets" / "codec.json").stat().st_mode & 0o777 == 0o600


def test_migrations_run_again_only_for_other_files_or_other_data(tmp_path: Path):
    """A second start does not load alembic to learn that nothing is to be done."""
    data = tmp_path / "postgres" / "PG_VERSION"
    data.parent.mkdir()
    data.write_text("18")
    memory = Memory(tmp_path)
    assert not memory.knows("order_service")
    memory.remember("order_service")
    assert Memory(tmp_path).knows("order_service")
    assert not memory.knows("fulfillment_service")
    os.utime(data, ns=(1, 1))
    assert not memory.knows("order_service")


def test_reset_refuses_a_folder_that_is_not_ours(tmp_path: Path):
    """A wrong --state never deletes anything."""
    (tmp_path / "postgres").mkdir()
    with pytest.raises(ValueError, match="not a state folder"):
        State(tmp_path).remove()
    assert (tmp_path / "postgres").exists()


def test_a_long_log_is_cut_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its writer goes on at the beginning; the older part is kept beside it."""
    monkeypatch.setattr("deploy.local.supervisor.LOG_LIMIT_BYTES", 10)
    state = State(tmp_path / "state")
    state.make()
    log = state.logs / "a.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"more than ten bytes\n")
        tidy(state)
        writer.write(b"new\n")
    assert log.read_bytes() == b"new\n"
    assert log.with_suffix(".log.1").read_bytes() == b"more than ten bytes\n"


def test_up_down_and_up_again(tmp_path: Path):
    """The command returns when everything is ready, says where it is, and stops within five seconds."""
    state = tmp_path / "state"

    def tandem(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "deploy.cli", *arguments, "--state", str(state)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)

    first = tandem("up", "--detach", "--no-services", "--ports-from", "31000")
    try:
        assert first.returncode == 0, first.stdout + first.stderr
        assert "Tandem is ready" in first.stdout
        assert "runs already" in tandem("up", "--detach", "--no-services").stdout
        assert tandem("status").returncode == 0
        assert "TEMPORAL_ADDRESS=127.0.0.1:310" in tandem("status", "-o", "env").stdout
        described = State(state).described()
        os.kill(described["processes"]["sandbox"]["pid"], signal.SIGKILL)
    finally:
        began = time.monotonic()
        assert tandem("down").returncode == 0
        assert time.monotonic() - began < 6
    assert all(_gone(p["pid"]) for p in described["processes"].values())
    assert tandem("status").returncode == 3
    assert tandem("reset", "--yes").returncode == 0
    assert not state.exists()
