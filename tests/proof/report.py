"""What every proof ends with: what broke, by which seed, how long it took and what it exercised."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.proof.checks import Violation

QUIET_SECONDS = 2.0
MOST_SHOWN = 10

Tell = Callable[[str], None]
"""Says how far a proof is."""


@dataclass
class Report:
    """The outcome of one proof."""

    seed: int = 0
    violations: list[Violation] = field(default_factory=list[Violation])
    exercised: dict[str, Any] = field(default_factory=dict[str, Any])
    seconds: float = 0.0
    advice: str | None = None
    """How to see the first violation again."""

    @property
    def is_good(self) -> bool:
        return not self.violations

    def figures(self) -> dict[str, Any]:
        """One JSON object."""
        return {
            "violations": [
                {"invariant": each.invariant, "evidence": each.evidence} for each in self.violations
            ],
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "exercised": self.exercised,
        }

    def lines(self) -> list[str]:
        """The same in words."""
        shown = [f"  {each}" for each in self.violations[:MOST_SHOWN]]
        told = [f"{name.replace('_', ' ')}: {what}" for name, what in self.exercised.items()]
        return [
            *told,
            f"violations: {len(self.violations)} (seed {self.seed}, {self.seconds:.0f} s)",
            *shown,
            *([f"see it again: {self.advice}"] if self.advice else []),
        ]


def figures_of(reports: Sequence[tuple[str, Report]]) -> Report:
    """Several proofs as one; each violation says in which it was found."""
    whole = Report(seed=reports[0][1].seed if reports else 0)
    for name, report in reports:
        whole.violations += [
            Violation(each.invariant, f"{name}: {each.evidence}") for each in report.violations
        ]
        whole.exercised[name] = report.exercised | {"seed": report.seed, "seconds": round(report.seconds, 1)}
        whole.seconds += report.seconds
        whole.advice = whole.advice or report.advice
    return whole


class Progress:
    """Says how far a proof is, once it takes longer than a person waits in silence."""

    def __init__(self, tell: Tell, total: int, of: str) -> None:
        self._tell = tell
        self._total = total
        self._of = of
        self._next = time.monotonic() + QUIET_SECONDS

    def told(self, done: int, bad: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + QUIET_SECONDS
            self._tell(f"{done} of {self._total} {self._of}, {bad} of them bad")
