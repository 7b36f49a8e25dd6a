"""A run that was kept is the run that was recorded."""

from dataclasses import fields
from pathlib import Path

from tests.proof import saved
from tests.proof.record import (
    Answer,
    Asked,
    Ended,
    LogLine,
    Placed,
    Published,
    Reconciled,
    Record,
    Struck,
    View,
    Waiting,
)
from tests.proof.simulation.play import play
from tests.proof.simulation.schedule import Schedule


def test_what_is_kept_is_what_was_recorded(tmp_path: Path):
    """Every part of it, with times, bytes and addresses as they were."""
    record = play(Schedule.parse("paced: parcel.work#2 address@order-rest")).record
    record.published.append(Published("orders.events.v1", "order-1", 1, "event-1", b'{"a": "\xc3\xa9"}'))
    record.applied.append(("orders", "fulfillment-1", 1))
    record.troubles.append("a replay asked for something else")
    record.waiting.append("a row of the outbox")
    record.placed.append(Placed("key", "command", ["ORD-1"]))
    record.views.append(View("orders", "order-1", None, {"status": "SHIPPED"}))
    record.exceptions.append(Waiting("orders", "order-1", "STEP_PARKED", "capture", is_open=True))
    record.asked.append(
        Asked(
            "orders",
            "DELETE",
            "/orders/1",
            "key",
            1.5,
            2.5,
            2,
            [Answer(503, "1"), Answer(200)],
            "c",
            "ACCEPTED",
        )
    )
    record.reconciled.append(Reconciled("orders", "STOCK_SUM", "TEAPOT", "RAISED"))
    record.struck.append(Struck(1, "kill-api", "order-api", True, {"pid": 1}))
    record.lines.append(LogLine("order-api.log", "x"))
    record.workflows.append(Ended("w", "completed", None, 30, 1024))
    record.personal.add("Adalia")
    record.undelivered = 3

    path = tmp_path / "run.jsonl"
    saved.save(path, {"seed": 5}, record)
    found = saved.load(path)
    assert found.about == {"seed": 5}
    for part in fields(Record):
        assert getattr(record, part.name), f"{part.name} is empty, so that nobody would miss it"
        assert getattr(found.record, part.name) == getattr(record, part.name), part.name
