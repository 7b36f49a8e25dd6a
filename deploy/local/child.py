"""One process of the stack: started, watched, started again when it dies, and stopped."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_LAUNCH = str(Path(__file__).with_name("launch.py"))
_POLL_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 10.0

# A parent-death signal follows the thread that forked, so one thread that lives as long as we do forks all.
_spawner = ThreadPoolExecutor(1, thread_name_prefix="spawn")

Notice = Callable[[str], None]


class StartError(Exception):
    """A process of the stack did not become ready."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what)
        self.fix = fix
        """What the reader can do about it, as one sentence."""


@dataclass(frozen=True)
class Plan:
    """How a process is run."""

    name: str
    command: Callable[[], Sequence[str]]
    """Asked before every start, since an address may have moved."""
    ready: Callable[[], bool]
    log: Path
    environment: Callable[[], Mapping[str, str]] = os.environ.copy
    prepare: Callable[[], None] = lambda: None
    """Runs before every start."""
    folder: Path | None = None
    user: tuple[int, int] | None = None
    """uid and gid to run as; None keeps ours."""
    stop_signal: signal.Signals = signal.SIGTERM
    ready_seconds: float = 30.0
    fix: str = ""


class Child:
    """A process that is kept running from `start` until `stop`; `kill` is what a crash looks like."""

    def __init__(self, plan: Plan, *, restart: bool, notice: Notice) -> None:
        self.plan = plan
        self.restarts = 0
        self.on_change: Callable[[], None] = lambda: None
        """Called when the process has ended unasked, and when it runs, with another pid."""
        self._restart = restart
        self._notice = notice
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = False
        self._ready = threading.Event()
        self._gone = threading.Event()
        self._gone.set()
        self._stopping = threading.Event()
        self._turn = threading.Lock()
        """Held while a process is made or told to stop, so that none is made behind the back of `stop`."""

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and not self._gone.is_set() else None

    @property
    def is_ready(self) -> bool:
        return self._ready.is_set() and not self._gone.is_set()

    def start(self) -> None:
        """The process runs and is ready. Raises StartError with the end of its log."""
        if self._wanted:
            return
        self._wanted = True
        # Another one, so that whoever kept the process before it was stopped does not come to life again.
        stopping = self._stopping = threading.Event()
        try:
            self._spawn()
            self._await_ready()
        except BaseException:
            self.stop(timeout=2)
            raise
        threading.Thread(target=self._keep, args=(stopping,), name=f"keep {self.name}", daemon=True).start()
        self.on_change()

    def stop(self, timeout: float = 5.0) -> None:
        """The process is gone and stays gone; killed when it takes longer than `timeout` seconds."""
        self._wanted = False
        self._stopping.set()
        with self._turn:
            self._ready.clear()
            self._send(self.plan.stop_signal)
        if not self._gone.wait(timeout):
            self._send(signal.SIGKILL)
            self._gone.wait(5)

    def kill(self) -> None:
        """The process is gone without a chance to clean up; it is started again if the stack restarts."""
        self._ready.clear()
        self._send(signal.SIGKILL)
        self._gone.wait(5)

    def begin_again(self, reason: str) -> None:
        """The process is restarted in good order, for example because an address it was given has moved."""
        if self._wanted and self._restart:
            self._notice(f"{self.name} is restarted: {reason}")
            # One that is being made right now was given the old address, too.
            with self._turn:
                self._ready.clear()
                self._send(self.plan.stop_signal)

    def wait_ready(self, timeout: float = 30.0) -> None:
        """The process is ready (again). Raises TimeoutError."""
        if not self._ready.wait(timeout):
            raise TimeoutError(f"{self.name} was not ready within {timeout:g} s")

    def _send(self, number: signal.Signals) -> None:
        process = self._process
        if process is not None and not self._gone.is_set():
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def _spawn(self) -> None:
        self.plan.prepare()
        self.plan.log.parent.mkdir(parents=True, exist_ok=True)
        with self._turn, self.plan.log.open("ab") as log:
            if self._stopping.is_set():
                raise StartError(f"{self.name} was stopped while it started", "start it again")
            self._ready.clear()
            process = self._process = _spawner.submit(self._fork, log.fileno()).result()
            gone = self._gone = threading.Event()
        threading.Thread(target=_reap, args=(process, gone), name=f"wait {self.name}", daemon=True).start()

    def _fork(self, log: int) -> subprocess.Popen[bytes]:
        options = [f"--parent={os.getpid()}", f"--death-signal={int(self.plan.stop_signal)}"]
        if self.plan.user is not None:
            options += [f"--user={self.plan.user[0]}", f"--group={self.plan.user[1]}"]
        return subprocess.Popen(
            [sys.executable, "-I", "-S", _LAUNCH, *options, "--", *self.plan.command()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(self.plan.environment()),
            cwd=self.plan.folder,
            start_new_session=True,
        )

    def _await_ready(self) -> None:
        deadline = time.monotonic() + self.plan.ready_seconds
        while not self._gone.is_set():
            if self.plan.ready():
                self._ready.set()
                return
            if self._stopping.is_set() or time.monotonic() > deadline:
                break
            self._gone.wait(_POLL_SECONDS)
        why = "ended" if self._gone.is_set() else f"was not ready within {self.plan.ready_seconds:g} s"
        raise StartError(
            f"{self.name} {why}:\n{tail(self.plan.log)}", self.plan.fix or f"see {self.plan.log}"
        )

    def _keep(self, stopping: threading.Event) -> None:
        """Starts the process again whenever it ended unasked, with growing pauses while it does not hold."""
        pause = 0.1
        while True:
            began = time.monotonic()
            self._gone.wait()
            self._ready.clear()
            if stopping.is_set():
                return
            self.on_change()
            if not self._restart:
                return
            if time.monotonic() - began > 30:
                pause = 0.1
            if stopping.wait(pause):
                return
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            self._try_again()

    def _try_again(self) -> None:
        self.restarts += 1
        code = self._process.returncode if self._process else None
        try:
            self._spawn()
            self._await_ready()
        except (StartError, OSError) as failed:
            if not self._stopping.is_set():
                self._notice(f"{self.name} does not start again: {str(failed).splitlines()[0]}")
            self._send(signal.SIGKILL)
            return
        self._notice(f"{self.name} ended ({_said(code)}) and runs again, pid {self.pid}")
        self.on_change()


def _reap(process: subprocess.Popen[bytes], gone: threading.Event) -> None:
    process.wait()
    gone.set()


def _said(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit {code}"


def tail(log: Path, lines: int = 8) -> str:
    """The last lines of a log, indented."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            found = file.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        found = []
    return "\n".join(f"  {line}" for line in found) or "  (nothing in its log)"
