"""`python -m deploy.local.kafka_fetch FOLDER COORDINATE…`: fills a folder with a Java program's jars.

`jgo` gets them from Maven Central; where that is not reachable and Maven is installed, Maven does, with its
own settings and mirrors.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jgo.env import EnvironmentBuilder
from jgo.maven import MavenContext, PythonResolver


def main() -> int:
    """Fill the folder; each line printed says how far it is, the last one what went wrong."""
    into, coordinates = Path(sys.argv[1]), sys.argv[2:]
    try:
        _with_jgo(into, coordinates)
    except Exception as error:
        # jgo raises whatever its HTTP client raises.
        if shutil.which("mvn") is None:
            _say(f"Maven Central does not give it ({type(error).__name__}), and there is no Maven to ask")
            return 1
        _say("Maven Central is not reachable directly, asking Maven")
        return _with_maven(into, coordinates)
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


def _with_jgo(into: Path, coordinates: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        # Caches of its own: jgo leaves half a file behind when it is interrupted.
        resolver = PythonResolver(progress_callback=_Progress())
        context = MavenContext(resolver=resolver, repo_cache=Path(scratch) / "maven", local_repos=[])
        builder = EnvironmentBuilder(context, cache_dir=Path(scratch) / "jgo")
        for jar in builder.from_endpoint("+".join(coordinates), main_class="java.lang.Object").all_jars:
            shutil.copy2(jar, into)


class _Progress:
    """Says how much has arrived, every ten megabytes."""

    def __init__(self) -> None:
        self._bytes = 0

    @contextmanager
    def __call__(self, name: str, size: int) -> Generator[Callable[[int], None]]:
        yield self._arrived

    def _arrived(self, more: int) -> None:
        before, self._bytes = self._bytes, self._bytes + more
        if before // 10_000_000 != self._bytes // 10_000_000:
            _say(f"  {self._bytes // 1_000_000} MB")


def _with_maven(into: Path, coordinates: Sequence[str]) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "pom.xml").write_text(_pom(coordinates))
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={into}", "-DincludeScope=runtime"]
        done = subprocess.run(
            ["mvn", "-q", "-B", *goal], cwd=scratch, capture_output=True, text=True, check=False
        )
    errors = [line for line in done.stdout.splitlines() if "ERROR" in line]
    if done.returncode != 0:
        _say(errors[0] if errors else f"Maven ended with {done.returncode}")
    return done.returncode


def _pom(coordinates: Sequence[str]) -> str:
    dependency = (
        "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"
    )
    dependencies = "".join(dependency.format(*coordinate.split(":")) for coordinate in coordinates)
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>tandem</groupId><artifactId>fetched</artifactId><version>1</version>"
        f"<dependencies>{dependencies}</dependencies></project>"
    )


if __name__ == "__main__":
    sys.exit(main())
