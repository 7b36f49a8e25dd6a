"""`python -m deploy.local.tiers`: runs the tests tier by tier and says what was not run, and why."""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from deploy.local import containers, helm, kafka_apache
from deploy.local.child import StartError
from deploy.local.state import ROOT

Run = Callable[[Sequence[str]], tuple[int, list[str]]]

_BESIDE = Path(sys.executable).parent
_TWO_FILES_AT_A_TIME = ("--numprocesses=2", "--dist=loadfile")
"""Each of the two has engines of its own; more of them would be in each other's way on a small machine."""
_ONCE_MORE = ("--last-failed", "--last-failed-no-failures=none")
_A_FEW = 3
"""Tests, whatever their parameters; where more fail, it was not the machine."""
_NO_TESTS = 5
"""pytest's exit code when it found nothing to run."""
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
_COUNT = re.compile(r"(\d+) (passed|failed|skipped|errors?|xfailed|xpassed)")
_SUMMARY = re.compile(
    r"^=* ?(.*\b(?:passed|failed|skipped|error|errors|no tests ran)\b.* in [\d.:]+m?s.*?) ?=*$"
)
_FAILED = re.compile(r"^((?:FAILED|ERROR) (\S+?::[^\s\[]+).*)")
"""How a test ended, with its parameters and what it said; and the test alone."""
_SKIPPED = re.compile(r"^SKIPPED \[\d+\] (.+)$")


@dataclass(frozen=True)
class Tier:
    """Some commands of ours and the tests of some folders."""

    name: str
    folders: tuple[str, ...]
    checks: tuple[tuple[str, ...], ...] = ()
    missing: Callable[[], str | None] = lambda: None
    """Why the tier cannot run on this machine."""
    without: tuple[str, ...] = ()
    """What inside of them is a tier of its own."""
    side_by_side: bool = False
    """Its tests wait more than they work, and each file starts from what it made itself."""
    on_engines: bool = False
    """Some of its tests wait for real engines on a busy machine: a few that fail are run once more."""
    verdicts: tuple[str, ...] = ()
    """Tests that say what a run by chance came to: where one fails, nothing is run once more."""


def _why_not(find: Callable[[], object]) -> str | None:
    try:
        find()
    except StartError as error:
        return f"{error}; {error.fix}"
    return None


_CONTAINERS = "tests/e2e/containers"
_EXPLORER = ("tests/proof/test_explorer.py", "tests/proof/test_real_engines.py")
_VERDICTS = ("tests/proof/chaos/test_chaos.py::test_while_everything_breaks",)
CHECKS = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("pyright",),
    ("lint-imports",),
)
TIERS = {
    tier.name: tier
    for tier in (
        Tier("quick", ("tests/unit", "tests/contract"), CHECKS),
        Tier("unit", ("tests/unit",)),
        Tier("contract", ("tests/contract",)),
        Tier("integration", ("tests/integration",), side_by_side=True, on_engines=True),
        Tier("e2e", ("tests/e2e",), without=(_CONTAINERS,), side_by_side=True, on_engines=True),
        Tier("kafka", ("tests/kafka",), missing=lambda: _why_not(kafka_apache.java), on_engines=True),
        Tier("chart", ("tests/chart",), missing=lambda: _why_not(helm.binary)),
        Tier(
            "containers",
            (_CONTAINERS,),
            missing=lambda: _why_not(containers.ensure_docker),
            on_engines=True,
        ),
        Tier("explorer", _EXPLORER, on_engines=True),
        Tier("proof", ("tests/proof",), without=_EXPLORER, on_engines=True, verdicts=_VERDICTS),
        Tier("fuzz", ("tests/fuzz",)),
    )
}
ALL = ("quick", "chart", "integration", "e2e", "kafka", "containers", "explorer", "proof", "fuzz")
"""Each test once: `quick` holds unit and contract."""


@dataclass
class Result:
    """What became of a tier."""

    tier: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    summary: str = ""
    """pytest's own last line."""
    broken: list[str] = field(default_factory=list[str])
    """Checks that failed, and runs that ended without counting their failures."""
    failing: dict[str, str] = field(default_factory=dict[str, str])
    """How each failed test ended and what it said; and the test without its parameters."""
    not_run: list[str] = field(default_factory=list[str])
    """What was skipped and why."""
    only_once_more: list[str] = field(default_factory=list[str])
    """Tests that failed at first and passed when they were run once more, with what they said: each is worth
    a look."""

    def is_good(self, *, strict: bool) -> bool:
        return not (self.broken or self.failed or (strict and self.not_run))


def read_pytest(lines: Iterable[str], result: Result) -> None:
    """Adds what pytest's output says to the result: counts, its summary line, failures, reasons of skips."""
    for line in (_ESCAPES.sub("", line).strip() for line in lines):
        skipped, failed, summary = _SKIPPED.match(line), _FAILED.match(line), _SUMMARY.match(line)
        if skipped:
            result.not_run.append(skipped.group(1))
        elif failed:
            result.failing[failed.group(1)] = failed.group(2)
        elif summary:
            result.summary = summary.group(1).strip()
            counts = {name.rstrip("s"): int(number) for number, name in _COUNT.findall(result.summary)}
            result.passed = counts.get("passed", 0) + counts.get("xfailed", 0)
            result.failed = counts.get("failed", 0) + counts.get("error", 0) + counts.get("xpassed", 0)
            result.skipped = counts.get("skipped", 0)


def run_tier(tier: Tier, run: Run, pytest_options: Sequence[str] = ()) -> Result:
    """Runs the tier's checks, all of them, and then its tests."""
    result, began = Result(tier.name), time.monotonic()
    reason = tier.missing()
    if reason:
        result.not_run.append(f"the whole tier: {reason}")
        return result
    for check in tier.checks:
        if run([str(_BESIDE / check[0]), *check[1:]])[0] != 0:
            result.broken.append(" ".join(check))
        else:
            result.passed += 1
    checked = result.passed
    without = [f"--ignore={folder}" for folder in tier.without]
    pace = _TWO_FILES_AT_A_TIME if tier.side_by_side else ()
    pytest = [sys.executable, "-m", "pytest", *tier.folders, *without]
    code, lines = run([*pytest, *pace, *pytest_options])
    read_pytest(lines, result)
    if tier.on_engines and 0 < len({*result.failing.values()}) <= _A_FEW and not _stands(tier, result):
        code = _run_once_more([*pytest, *_ONCE_MORE, *pytest_options], run, result)
        if code == 0:
            result.only_once_more = list(result.failing)
    result.passed += checked
    if code == _NO_TESTS:
        result.not_run.append("no tests were found")
    elif code != 0 and not result.failed:
        result.broken.append(f"pytest ended with {code}")
    result.seconds = time.monotonic() - began
    return result


def _stands(tier: Tier, result: Result) -> bool:
    """A verdict was given; an error in what comes before one is none."""
    return any(said.startswith("FAILED") and test in tier.verdicts for said, test in result.failing.items())


def _run_once_more(pytest: Sequence[str], run: Run, result: Result) -> int:
    """What failed was run alone, and counts as it ended then; pytest's exit code."""
    again = Result(result.tier)
    code, lines = run(pytest)
    read_pytest(lines, again)
    result.passed += again.passed
    result.failed = again.failed
    result.summary = f"{result.summary}; once more: {again.summary}"
    return code


def _run(command: Sequence[str]) -> tuple[int, list[str]]:
    """Runs a command in the repository; its output is shown as it comes and returned."""
    lines: list[str] = []
    print(f"$ {' '.join([Path(command[0]).name, *command[1:]])}", flush=True)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if sys.stdout.isatty():
        environment |= {"FORCE_COLOR": "1", "COLUMNS": str(os.get_terminal_size().columns)}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line)
    return process.returncode, lines


def report(results: Sequence[Result], *, strict: bool, console: Console) -> None:
    """The table of tiers, then each tier's summary and what it left out."""
    table = Table("tier", "result", "passed", "failed", "skipped", "seconds", box=None, pad_edge=False)
    for result in results:
        word = "ok" if result.is_good(strict=strict) else "FAILED"
        word = "not run" if word == "ok" and not result.summary else word
        numbers = (result.passed, result.failed + len(result.broken), result.skipped)
        table.add_row(result.tier, word, *map(str, numbers), f"{result.seconds:.1f}")
    console.print()
    console.print(table)
    for result in results:
        said = [result.summary] if result.summary else []
        said += [f"failed: {what}" for what in result.broken]
        said += [f"skipped: {what}" for what in result.not_run]
        said += [f"passed only once more: {what}" for what in result.only_once_more]
        for line in said:
            console.print(f"{result.tier}: {line}", markup=False, highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="deploy/test", description="Runs the tests of Tandem.")
    parser.add_argument("--strict", action="store_true", help="what is skipped counts as failed")
    parser.add_argument("tiers", nargs="*", metavar="TIER", help=f"any of: {', '.join(TIERS)}")
    options, pytest_options = parser.parse_known_args(arguments)
    unknown = [name for name in options.tiers if name not in TIERS]
    if unknown:
        parser.error(f"no tier is called {unknown[0]}; choose from {', '.join(TIERS)}")
    results = [run_tier(TIERS[name], _run, pytest_options) for name in options.tiers or ALL]
    report(results, strict=options.strict, console=Console())
    good = all(result.is_good(strict=options.strict) for result in results)
    if not good and options.strict and not any(result.failed or result.broken for result in results):
        print("Strict: what was skipped counts as failed.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
