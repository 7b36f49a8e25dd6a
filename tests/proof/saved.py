"""A record as a file of JSON lines, to be judged again: first what is told of the run, then its parts."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from tests.proof.record import (
    Asked,
    Effect,
    Ended,
    Fact,
    Level,
    LogLine,
    Placed,
    Published,
    ReceiptRow,
    Reconciled,
    Record,
    Sent,
    Struck,
    View,
    Waiting,
)

_PARTS: Mapping[str, TypeAdapter[Any]] = {
    "facts": TypeAdapter(Fact),
    "receipts": TypeAdapter(ReceiptRow),
    "effects": TypeAdapter(Effect),
    "sent": TypeAdapter(Sent),
    "workflows": TypeAdapter(Ended),
    "stock": TypeAdapter(Level),
    "published": TypeAdapter(Published),
    "applied": TypeAdapter(tuple[str, str, int]),
    "troubles": TypeAdapter(str),
    "waiting": TypeAdapter(str),
    "placed": TypeAdapter(Placed),
    "views": TypeAdapter(View),
    "exceptions": TypeAdapter(Waiting),
    "asked": TypeAdapter(Asked),
    "reconciled": TypeAdapter(Reconciled),
    "struck": TypeAdapter(Struck),
    "lines": TypeAdapter(LogLine),
}


@dataclass(frozen=True)
class Saved:
    """A run that was kept."""

    about: Mapping[str, Any]
    record: Record


def save(path: Path, about: Mapping[str, Any], record: Record) -> None:
    """The file holds the record and what is told about its run."""
    with path.open("w") as file:
        for line in _lines(about, record):
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def load(path: Path) -> Saved:
    """Raises ValueError when the file is no saved run."""
    record, about = Record(), None
    with path.open() as file:
        for text in file:
            line = json.loads(text)
            if about is None:
                about = line["about"]
            elif line["part"] == "undelivered":
                record.undelivered = line["is"]
            elif line["part"] == "personal":
                record.personal = set(line["is"])
            elif line["part"] == "addresses":
                ref, version, content = line["is"]
                record.addresses[ref, version] = content
            else:
                getattr(record, line["part"]).append(_PARTS[line["part"]].validate_python(line["is"]))
    if about is None:
        raise ValueError(f"{path} is empty")
    return Saved(about, record)


def _lines(about: Mapping[str, Any], record: Record) -> Iterator[Mapping[str, Any]]:
    yield {"about": about}
    yield {"part": "undelivered", "is": record.undelivered}
    yield {"part": "personal", "is": sorted(record.personal)}
    for (ref, version), content in record.addresses.items():
        yield {"part": "addresses", "is": [ref, version, content]}
    for part in fields(record):
        if adapter := _PARTS.get(part.name):
            for each in getattr(record, part.name):
                yield {"part": part.name, "is": adapter.dump_python(each, mode="json")}
