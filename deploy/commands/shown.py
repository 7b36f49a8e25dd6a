"""Answers as plain lines: tables and receipts."""

from collections.abc import Mapping, Sequence
from typing import Any


def table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, none: str) -> list[str]:
    """A line for each row under a line of headings, columns aligned; `none` when there is no row."""
    if not rows:
        return [none]
    cells = [list(columns), *([_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]


def _cell(value: object) -> str:
    return "-" if value is None else str(value)


def receipt_lines(receipt: Mapping[str, Any]) -> list[str]:
    """What became of a wish, and how to ask again when the other service must still answer."""
    command_id, status = receipt["commandId"], receipt["status"]
    why = f": {receipt.get('detail') or receipt['code']}" if receipt.get("code") else ""
    lines = [f"{status}{why}"]
    if status in ("RECEIVED", "ACCEPTED"):
        lines.append(f"Next: tandem command show {command_id}")
    return lines
