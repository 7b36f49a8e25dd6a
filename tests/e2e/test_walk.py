"""The walk of somebody new: every line as it is written in walk.md, with what must be seen."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from deploy.local.stack import Stack
from tests.e2e.people import eventually
from tests.e2e.shell import Ran, Shell, blocks, filled_in, only_asks

WALK = Path(__file__).with_name("walk.md")
_EXIT = re.compile(r"\[exit (\d)\]")
_NAME = re.compile(r"\\\{(\w+)\\\}")


@dataclass
class Line:
    """What is typed, what must be seen, in this order, and how it ends."""

    typed: str
    seen: list[str] = field(default_factory=list[str])
    code: int = 0


def walk() -> Iterator[Line]:
    """Its lines, from the beginning to the end."""
    for block in blocks(WALK.read_text(), "console"):
        lines: list[Line] = []
        for text in block:
            if text.startswith("$ "):
                lines.append(Line(text.removeprefix("$ ")))
            elif code := _EXIT.fullmatch(text):
                lines[-1].code = int(code.group(1))
            else:
                lines[-1].seen.append(text)
        yield from lines


def shows(line: Line, ran: Ran) -> bool:
    """It printed what it must, and ended as it must."""
    return found(line, ran) is not None


def found(line: Line, ran: Ran) -> dict[str, str] | None:
    """The names that were seen for the first time; None unless everything was seen as it must be."""
    if ran.code != line.code:
        return None
    new: dict[str, str] = {}
    printed = iter(ran.lines)
    for expected in line.seen:
        pattern = pattern_of(filled_in(expected, new))
        match = next((match for text in printed if (match := pattern.fullmatch(text.rstrip()))), None)
        if match is None:
            return None
        new |= match.groupdict()
    return new


def pattern_of(expected: str) -> re.Pattern[str]:
    """A line of the walk as a pattern; a name alone on its line is all of it."""
    literal = re.escape(expected).replace("…", ".*")
    anything = ".+" if _NAME.fullmatch(literal.replace(r"\ ", "")) else r'[^\s"]+'
    return re.compile(_NAME.sub(lambda name: f"(?P<{name[1]}>{anything})", literal))


@pytest.mark.timeout(300)
def test_a_new_user_walks_with_readme_and_help_alone(stack: Stack, tmp_path: Path):
    """Held, released, re-addressed and cancelled by command line and by curl, refusals included."""
    shell, names = Shell(stack, tmp_path), dict[str, str]()
    for line in walk():
        typed, seen = filled_in(line.typed, names), [filled_in(each, names) for each in line.seen]
        filled = Line(typed, seen, line.code)
        again = 20 if only_asks(typed) else 0
        ran = eventually(partial(shell.run, typed), partial(shows, filled), within_seconds=again)
        names |= found(filled, ran) or {}


def test_the_walk_is_read_whole():
    """Its lines are found, with what they must show and how they end."""
    lines = list(walk())
    assert len(lines) == WALK.read_text().count("\n$ ")
    assert all(line.seen for line in lines)
    assert {line.code for line in lines} == {0, 1, 2}


@pytest.mark.parametrize(
    ("expected", "printed", "names"),
    [
        ("{orderId} placed", "ORD-1 placed", {"orderId": "ORD-1"}),
        ("  {release}", "  tandem order release ORD-1", {"release": "tandem order release ORD-1"}),
        ('…"path":"{lift}"…', '{"call":{"path":"/x?handle=h","body":null}}', {"lift": "/x?handle=h"}),
        ("…PAUSED", "ORD-1  PICKING", None),
        ("Refused: …(ON_HOLD)", "Refused: no (ON_HOLD)", {}),
        ("Refused: …(ON_HOLD)", "xRefused: no (ON_HOLD)", None),
    ],
)
def test_a_line_is_seen_or_not(expected: str, printed: str, names: dict[str, str] | None):
    """Names are caught, and what is not there is missed."""
    assert found(Line("x", [expected]), Ran("x", 0, (printed,))) == names
    assert found(Line("x", [expected], code=1), Ran("x", 0, (printed,))) is None
