"""The tiers of `deploy/test`: what pytest said is counted, what was left out is named."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local.state import ROOT
from deploy.local.tiers import TIERS, Result, Tier, main, read_pytest, run_tier

_OUTPUT = """\
tests/unit/test_a.py ..s.                                     [100%]
=========================== short test summary info ============================
SKIPPED [1] tests/unit/test_a.py:7: needs Docker
================== \x1b[32m3 passed\x1b[0m, \x1b[33m1 skipped\x1b[0m in 1.20s ==================
"""


def test_counts_and_reasons_are_read_from_pytest():
    """Colours or not."""
    result = Result("unit")
    read_pytest(_OUTPUT.splitlines(), result)
    assert (result.passed, result.failed, result.skipped) == (3, 0, 1)
    assert result.not_run == ["tests/unit/test_a.py:7: needs Docker"]
    assert result.summary == "3 passed, 1 skipped in 1.20s"


@pytest.mark.parametrize(
    ("line", "failed"),
    [
        ("=== 1 failed, 2 passed in 0.10s ===", 1),
        ("=== 2 passed, 1 error in 0.10s ===", 1),
        ("=== 1 failed, 2 errors in 61.00s (0:01:01) ===", 3),
        ("2 passed in 0.10s", 0),
        ("=== no tests ran in 0.01s ===", 0),
    ],
)
def test_errors_count_as_failures(line: str, failed: int):
    """A fixture that breaks is no success."""
    result = Result("unit")
    read_pytest([line], result)
    assert result.failed == failed
    assert result.summary


def test_a_skip_is_forgiven_unless_strict():
    """`--strict` turns what was left out into a failure."""
    result = Result("unit", passed=3, skipped=1, not_run=["needs Docker"])
    assert result.is_good(strict=False)
    assert not result.is_good(strict=True)


def test_all_checks_run_though_the_first_fails():
    """One run tells everything there is to mend."""
    asked: list[str] = []

    def run(command: Sequence[str]) -> tuple[int, list[str]]:
        asked.append(" ".join(command))
        return (1, []) if command[-1] == "one" else (0, ["=== 2 passed in 0.1s ==="])

    result = run_tier(Tier("quick", ("tests/unit",), (("tool", "one"), ("tool", "two"))), run)
    assert len(asked) == 3
    assert result.broken == ["tool one"]
    assert result.passed == 3
    assert not result.is_good(strict=False)


def test_a_tier_that_cannot_run_says_why():
    """Nothing is started, and strict calls it a failure."""
    result = run_tier(Tier("kafka", ("tests/kafka",), missing=lambda: "no Java"), lambda _: (1, []))
    assert result.not_run == ["the whole tier: no Java"]
    assert result.is_good(strict=False)
    assert not result.is_good(strict=True)


def test_a_crash_without_counts_is_a_failure():
    """pytest may end before it counts anything."""
    result = run_tier(Tier("unit", ("tests/unit",)), lambda _: (4, ["usage error"]))
    assert result.broken == ["pytest ended with 4"]


def test_an_empty_tier_is_named():
    """A folder without tests is left out, not passed."""
    result = run_tier(Tier("e2e", ("tests/e2e",)), lambda _: (5, ["=== no tests ran in 0.01s ==="]))
    assert result.not_run == ["no tests were found"]


def test_an_unknown_tier_is_refused(capsys: pytest.CaptureFixture[str]):
    """The names of those there are come with it."""
    with pytest.raises(SystemExit, match="2"):
        main(["untit"])
    assert "integration" in capsys.readouterr().err


def test_the_chart_tier_says_how_to_get_helm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where there is none it is left out by name, and strict does not let that pass."""
    for name in ("PATH", "XDG_CACHE_HOME", "TANDEM_HELM"):
        monkeypatch.setenv(name, str(tmp_path))
    result = run_tier(TIERS["chart"], lambda _: pytest.fail("it ran"))
    (why,) = result.not_run
    assert why.startswith("the whole tier: there is no helm; install Helm 3 or name it in TANDEM_HELM")
    assert not result.is_good(strict=True)


def test_a_folder_that_is_a_tier_of_its_own_is_not_run_twice():
    """The container stories live among the e2e tests, and need an engine that those do not."""
    asked: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> tuple[int, list[str]]:
        asked.append(command)
        return 0, ["=== 2 passed in 0.1s ==="]

    run_tier(TIERS["e2e"], run)
    assert f"--ignore={TIERS['containers'].folders[0]}" in asked[0]


@pytest.mark.parametrize(("tier", "option"), [("e2e", True), ("containers", False), ("unit", False)])
def test_what_mostly_waits_runs_two_files_at_a_time(tier: str, option: bool):
    """A tier whose tests need the whole machine, or hardly any time, keeps its order."""
    asked: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> tuple[int, list[str]]:
        asked.append(command)
        return 0, ["=== 2 passed in 0.1s ==="]

    run_tier(replace(TIERS[tier], missing=lambda: None), run)
    assert ("--numprocesses=2" in asked[0]) is option


def test_few_that_fail_on_engines_are_run_once_more_and_named():
    """What passes then is counted as passed, and the report says which it was."""
    told = [
        (1, ["FAILED tests/e2e/test_a.py::test_b - late", "=== 1 failed, 9 passed in 2s ==="]),
        (0, ["=== 1 passed in 1s ==="]),
    ]
    asked: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> tuple[int, list[str]]:
        asked.append(command)
        return told[len(asked) - 1]

    result = run_tier(Tier("e2e", ("tests/e2e",), on_engines=True), run)
    assert "--last-failed" in asked[1]
    assert (result.passed, result.failed) == (10, 0)
    assert result.only_once_more == ["FAILED tests/e2e/test_a.py::test_b - late"]
    assert result.is_good(strict=True)


@pytest.mark.parametrize(("on_engines", "failed", "runs"), [(True, 1, 2), (True, 4, 1), (False, 1, 1)])
def test_what_fails_again_or_in_numbers_or_without_engines_has_failed(
    on_engines: bool, failed: int, runs: int
):
    """A second try is for a machine that was busy, and for nothing else."""
    asked: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> tuple[int, list[str]]:
        asked.append(command)
        names = [f"FAILED tests/e2e/test_a.py::test_{n}[a] - late" for n in range(failed)]
        return 1, [*names, f"=== {failed} failed, 9 passed in 2s ==="]

    result = run_tier(Tier("e2e", ("tests/e2e",), on_engines=on_engines), run)
    assert len(asked) == runs
    assert result.failed == failed
    assert not result.is_good(strict=False)


@pytest.mark.parametrize(("ended", "runs"), [("FAILED", 1), ("ERROR", 2)])
def test_a_verdict_stands(ended: str, runs: int):
    """An order that was lost once was lost; a run that could not even begin is begun again."""
    asked: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> tuple[int, list[str]]:
        asked.append(command)
        if len(asked) > 1:
            return 0, ["=== 1 passed in 1s ==="]
        return 1, [f"{ended} {verdict}[every-order-ends] - lost", "=== 1 failed in 2s ==="]

    (verdict,) = TIERS["proof"].verdicts
    result = run_tier(TIERS["proof"], run)
    assert len(asked) == runs
    assert result.is_good(strict=True) is (runs == 2)


@pytest.mark.parametrize("verdict", [each for tier in TIERS.values() for each in tier.verdicts])
def test_a_verdict_is_a_test(verdict: str):
    """Or it would not stand any more once it had another name."""
    path, _, name = verdict.partition("::")
    assert f"def {name}(" in (ROOT / path).read_text()
