"""`python -m deploy.local.supervisor`: runs a stack until Ctrl-C and describes it for others."""

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from shutil import copyfileobj
from typing import Any

from deploy.local.banner import banner
from deploy.local.child import StartError
from deploy.local.containers import Containers
from deploy.local.ports import Ports, is_free
from deploy.local.stack import Stack
from deploy.local.state import State, default_folder

LOG_LIMIT_BYTES = 20 * 1024 * 1024
SPANS_LIMIT_BYTES = 100 * 1024 * 1024
_TIDY_SECONDS = 30.0

RUNS_ALREADY = 4
"""Exit code when the folder belongs to a running stack."""


@dataclass(frozen=True)
class Options:
    """What `tandem up` was asked for."""

    state: Path
    kafka: str = "embedded"
    postgres: str | None = None
    temporal: str | None = None
    ports_from: int | None = None
    docker: bool = False
    """PostgreSQL, Kafka and Temporal in containers."""
    services: bool = True
    """False starts what the services stand on, for running those from an editor."""

    def arguments(self) -> list[str]:
        """The same options for a process of its own; an address with a password travels as environment."""
        given = [f"--state={self.state}", f"--kafka={self.kafka}"]
        given += [f"--temporal={self.temporal}"] if self.temporal else []
        given += [f"--ports-from={self.ports_from}"] if self.ports_from else []
        given += ["--docker"] if self.docker else []
        return given if self.services else [*given, "--no-services"]

    def environment(self) -> dict[str, str]:
        return {**os.environ, **({"TANDEM_UP_POSTGRES": self.postgres} if self.postgres else {})}


class Supervisor:
    """One stack, its description in `env.json`, and the end of both on SIGINT or SIGTERM."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._state = State(options.state)
        self._containers = Containers(self._state, self._notice) if options.docker else None
        self._began = time.monotonic()
        self._notices: list[str] = []
        self._describing = threading.Lock()
        self._status: dict[str, Any] = {"status": "starting"}
        self._wake = threading.Event()
        self._told_to_stop = False

    def run(self) -> int:
        """Returns an exit code once the stack has ended."""
        self._state.make()
        lock = self._state.lock()
        if lock is None:
            _say(f"{self._state.folder} belongs to a running stack, pid {self._state.owner()}")
            return RUNS_ALREADY
        with lock:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, self._stop)
            return self._live(self._make_stack())

    def _make_stack(self) -> Stack:
        options = self._options
        ports = self._choose_ports()
        where = replace(options, **Containers.addresses(ports)) if self._containers else options
        spans = {"TANDEM_TELEMETRY_EXPORTER": os.environ.get("TANDEM_TELEMETRY_EXPORTER", "file")}
        return Stack(
            options.state,
            services=options.services,
            ui=options.temporal is None,
            kafka=where.kafka,
            postgres=where.postgres,
            temporal=where.temporal,
            ports=ports,
            settings=spans,
            notice=self._notice,
        )

    def _choose_ports(self) -> Ports:
        """What our own containers hold, left over from a stack that was killed, is free for us."""
        left = self._containers.look().values() if self._containers else ()
        ours = {port for container in left for port in container.ports}
        first = self._options.ports_from
        choose = partial(Ports.counted_from, first) if first else Ports.near
        ports = choose(free=lambda port: port in ours or is_free(port))
        unused = ("temporal-http", "kafka-controller") if self._containers else ()
        for name, (wanted, found) in ports.moved.items():
            if name not in unused:
                self._notice(f"port {wanted} is in use, {name} stands on {found}")
        return ports

    def _live(self, stack: Stack) -> int:
        stack.on_change = lambda: self._describe(stack)
        self._describe(stack)
        failed = self._start(stack)
        if failed is None and not self._told_to_stop:
            self._status = {"status": "ready", "ready_seconds": round(time.monotonic() - self._began, 2)}
            _say("", banner(self._describe(stack)), "")
            while not self._told_to_stop:
                self._wake.wait(_TIDY_SECONDS)
                tidy(self._state)
        _say("stopping") if failed is None else None
        stack.on_change = lambda: None
        stack.stop()
        if self._containers:
            self._containers.stop()
        self._status = {"status": "stopped"}
        if failed is not None and not self._told_to_stop:
            self._status = {"status": "failed", "error": str(failed), "fix": failed.fix}
            _say(f"could not start: {failed}", f"Fix: {failed.fix}")
        self._describe(stack)
        return 0 if self._told_to_stop else 1

    def _start(self, stack: Stack) -> StartError | None:
        """Starts the stack beside this thread, which alone hears signals; returns when it is up or failed."""
        outcome: list[StartError | None] = []

        def start() -> None:
            try:
                if self._containers:
                    self._containers.start(stack.ports)
                stack.start()
                outcome.append(None)
            except StartError as error:
                outcome.append(error)
            except Exception as error:
                outcome.append(StartError(f"{type(error).__name__}: {error}", "run `tandem doctor`"))
            self._wake.set()

        starting = threading.Thread(target=start, name="start")
        starting.start()
        self._wake.wait()
        if self._told_to_stop:
            if self._containers:
                self._containers.interrupt()
            stack.stop()
        else:
            self._wake.clear()
        starting.join()
        if self._told_to_stop:
            self._wake.set()
        return outcome[0]

    def _stop(self, *_: object) -> None:
        self._told_to_stop = True
        self._wake.set()

    def _notice(self, text: str) -> None:
        self._notices = [*self._notices[-99:], f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}"]
        _say(text)

    def _describe(self, stack: Stack) -> dict[str, Any]:
        with self._describing:
            description = {
                **self._status,
                **describe(stack, self._options, self._containers),
                "notices": self._notices,
            }
            self._state.describe(description)
            return description


def describe(stack: Stack, options: Options, containers: Containers | None) -> dict[str, Any]:
    """Addresses, processes and settings of a stack, as `env.json` holds them."""
    ui = f"http://127.0.0.1:{stack.ports['temporal-ui']}" if options.temporal is None else None
    return {
        "pid": os.getpid(),
        "state": str(stack.state.folder),
        "kafka": "container" if containers else options.kafka,
        "containers": containers.project if containers else None,
        "ui": ui,
        "simulated": ["payments", "carrier", "warehouse"],
        "env": stack.env,
        "ports": stack.ports.taken,
        "moved": stack.ports.moved,
        "processes": (containers.processes() if containers else {})
        | {
            child.name: {
                "pid": child.pid,
                "ready": child.is_ready,
                "restarts": child.restarts,
                "port": stack.port_of(child.name),
                "log": str(child.plan.log),
            }
            for child in list(stack.children.values())
        },
    }


def tidy(state: State) -> None:
    """No log is longer than its limit; the older part of a long one is kept once, beside it."""
    for log in (*state.logs.glob("*.log"), state.spans):
        limit = SPANS_LIMIT_BYTES if log == state.spans else LOG_LIMIT_BYTES
        if log.exists() and log.stat().st_size > limit:
            # Its writers append to the open file, so it is emptied and not moved away; what they append after
            # the last of it was copied is lost, so it is emptied at once.
            with log.open("r+b") as file, log.with_suffix(f"{log.suffix}.1").open("wb") as kept:
                copyfileobj(file, kept)
                file.truncate(0)


def _say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", type=Path, default=default_folder())
    parser.add_argument("--kafka", default="embedded")
    parser.add_argument("--temporal")
    parser.add_argument("--ports-from", type=int)
    parser.add_argument("--docker", action="store_true")
    parser.add_argument("--no-services", action="store_true")
    given = parser.parse_args(arguments)
    return Supervisor(
        Options(
            state=given.state,
            kafka=given.kafka,
            postgres=os.environ.pop("TANDEM_UP_POSTGRES", None),
            temporal=given.temporal,
            ports_from=given.ports_from,
            docker=given.docker,
            services=not given.no_services,
        )
    ).run()


if __name__ == "__main__":
    sys.exit(main())
