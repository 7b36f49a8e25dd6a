"""A new user's shell: `tandem` and `curl` as they are typed, before the stack of the tests."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.local.stack import Stack
from deploy.local.state import ROOT

_ASKING = ("get", "list", "actions", "explain", "timeline", "show")


@dataclass(frozen=True)
class Ran:
    """What a line printed, both streams together, and how it ended."""

    line: str
    code: int
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join((f"$ {self.line}", *self.lines, f"[exit {self.code}]"))


class Shell:
    """Runs lines as they are written; only the ports are those of this stack."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._ports = {
            "http://localhost:3232": stack.url("order_service"),
            "http://localhost:3233": stack.url("fulfillment_service"),
        }
        tandem = folder / "tandem"
        tandem.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m deploy.cli "$@"\n')
        tandem.chmod(0o755)
        (folder / ".curlrc").write_text(
            'silent\nshow-error\nmax-time = 30\nwrite-out = "\\nHTTP %{http_code}\\n"\n'
        )
        self._environment = {
            **os.environ,
            "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
            "CURL_HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "120",
            "TANDEM_ORDER_URL": stack.url("order_service"),
            "TANDEM_FULFILLMENT_URL": stack.url("fulfillment_service"),
        }
        self._folder = folder

    def run(self, line: str) -> Ran:
        for written, real in self._ports.items():
            line = line.replace(written, real)
        shown = subprocess.run(
            ["sh", "-c", line], env=self._environment, cwd=self._folder, text=True, check=False, timeout=100,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return Ran(line, shown.returncode, tuple(shown.stdout.splitlines()))


def only_asks(line: str) -> bool:
    """It changes nothing, so it can be asked again until what it tells has come true."""
    words = shlex.split(line)
    if words[0] == "curl":
        return "-X" not in words
    return words[0] == "tandem" and len(words) > 2 and words[2] in _ASKING


def blocks(text: str, language: str) -> Iterator[list[str]]:
    """The lines of each fenced block in this language."""
    for block in re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        yield block.splitlines()


def filled_in(text: str, names: dict[str, str]) -> str:
    """The text with each known name in braces replaced."""
    for name, value in names.items():
        text = text.replace("{" + name + "}", value)
    return text
