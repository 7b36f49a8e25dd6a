"""What the README says to type works as it is written there, ids substituted."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.stack import Stack
from deploy.local.state import ROOT
from tests.e2e.people import Operator, Shop, eventually
from tests.e2e.shell import Ran, Shell, blocks, filled_in, only_asks

SECTIONS = ("Use it as a shop", "Use it in the warehouse", "Hold, release, re-address, cancel")


def commands(block: list[str]) -> Iterator[tuple[str, int]]:
    """Each command of a block and the exit code its comment promises, 0 without one."""
    command = ""
    for line in block:
        command += line
        if _is_open(command):
            command = command.removesuffix("\\") + ("" if line.endswith("\\") else "\n")
        elif command:
            promised = re.search(r"#.*exit code (\d)", line)
            yield command, int(promised.group(1)) if promised else 0
            command = ""


def _is_open(command: str) -> bool:
    """It goes on in the next line."""
    if command.endswith("\\"):
        return True
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return True
    return False


def written(section: str) -> list[list[tuple[str, int]]]:
    """The commands of each shell block of a section."""
    text = (ROOT / "README.md").read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    return [list(commands(block)) for block in blocks(text, "sh")]


@pytest.fixture
def shell(stack: Stack, tmp_path: Path) -> Shell:
    return Shell(stack, tmp_path)


def works(ran: Ran, promised: int) -> bool:
    """It ended as promised, and a service that curl asked said yes."""
    return ran.code == promised and (
        ran.lines[-1] in ("HTTP 200", "HTTP 201", "HTTP 202") or "curl" not in ran.line
    )


@pytest.mark.parametrize(
    ("section", "block"),
    [(section, index) for section in SECTIONS for index in range(len(written(section)))],
)
def test_the_lines_of_the_readme_work(shell: Shell, shop: Shop, operator: Operator, section: str, block: int):
    """Each block on an order of its own, whose parcel waits at its first step."""
    order = shop.place("manual")
    parcel = operator.comes_to(order, "pick:1")
    names = {
        "orderId": order,
        "workflowId": f"order-workflow-{order}",
        "fulfillmentWorkflowId": parcel["workflowId"],
        "commandId": shop.resume(order).json()["commandId"],
    }
    for command, promised in written(section)[block]:
        line = filled_in(command, names)

        def ask(line: str = line) -> Ran:
            return shell.run(line)

        again = 15 if only_asks(line) else 0
        eventually(ask, lambda ran, promised=promised: works(ran, promised), within_seconds=again)


def test_the_readme_is_read_whole():
    """A block that is not found is not run."""
    found = [command for section in SECTIONS for block in written(section) for command, _ in block]
    assert len(found) > 30
    assert {shlex.split(command)[0] for command in found} == {"tandem", "curl"}
    assert any("\n" in command for command in found)
