"""Each check of a recorded run finds what it is there for: a good record, spoilt in one place."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import pytest

from tests.proof import checks
from tests.proof.checks import violations
from tests.proof.record import (
    Answer,
    Asked,
    Effect,
    Ended,
    Fact,
    LogLine,
    Placed,
    ReceiptRow,
    Reconciled,
    Record,
    Sent,
    Struck,
    View,
    Waiting,
)
from tests.proof.simulation.play import play
from tests.proof.simulation.schedule import Schedule


@cache
def recorded(line: str) -> Record:
    return play(Schedule.parse(line)).record


def shipped() -> Record:
    return deepcopy(recorded("paced: nothing"))


def paused() -> Record:
    return deepcopy(recorded("held: nothing"))


def readdressed() -> Record:
    return deepcopy(recorded("paced: parcel.work#2 address@order-rest"))


def cancelled() -> Record:
    return deepcopy(recorded("paced: parcel.book_label#1 cancel@order-rest"))


def asked() -> Record:
    return deepcopy(recorded("asked: parcel.work#2 cancel@order-rest"))


def drop(record: Record, kind: str) -> None:
    record.facts = [fact for fact in record.facts if fact.type != kind]


def append(record: Record, prefix: str, kind: str, **data: Any) -> None:
    """One more fact at the end of the stream that begins like that."""
    stream, facts = next(iter(record.streams(prefix)))
    last = facts[-1]
    record.facts.append(Fact(last.service, stream, last.version + 1, kind, data, None, last.at))


def change(record: Record, kind: str, **data: Any) -> None:
    record.facts = [
        replace(fact, data={**fact.data, **data}) if fact.type == kind else fact for fact in record.facts
    ]


def date(record: Record, kind: str, moved: timedelta) -> None:
    record.facts = [replace(fact, at=fact.at + moved) if fact.type == kind else fact for fact in record.facts]


def lose(record: Record, operation: str) -> None:
    record.effects = [each for each in record.effects if each.operation != operation]


def double(record: Record, operation: str) -> None:
    record.effects += [each for each in record.effects if each.operation == operation]


def take(record: Record) -> None:
    """The carrier took a parcel."""
    parcel = next(iter(record.parcels))[0].removeprefix("fulfillment-")
    record.effects.append(Effect("hand-over", parcel, "track-1"))


def say(record: Record, status: str, service: str = "fulfillments") -> None:
    """The wish's receipt in that service says something else."""
    record.receipts = [
        replace(each, status=status) if "wish" in each.command_id and each.service == service else each
        for each in record.receipts
    ]


def forget_the_receipts(record: Record) -> None:
    record.receipts = [each for each in record.receipts if "wish" not in each.command_id]


def begin_a_step_under_the_hold(record: Record) -> None:
    """Moves the first start before the release."""
    _, facts = next(iter(record.parcels))
    released = next(fact for fact in facts if fact.type == "HoldReleased")
    started = next(fact for fact in facts if fact.type == "StepStarted")
    record.facts = [fact for fact in record.facts if fact not in (released, started)]
    record.facts += [replace(started, version=released.version), replace(released, version=started.version)]


def begin_a_step_before_the_answer(record: Record) -> None:
    stream, facts = next(iter(record.parcels))
    asked = next(fact for fact in facts if fact.type == "CancelAsked")
    record.facts = [
        replace(fact, version=fact.version + 1)
        if fact.stream == stream and fact.version > asked.version
        else fact
        for fact in record.facts
    ]
    record.facts.append(replace(asked, version=asked.version + 1, type="StepStarted", data={"step_key": "x"}))


def miscount(record: Record) -> None:
    record.stock[0] = replace(record.stock[0], available=record.stock[0].available - 1)


def keep_stock(record: Record) -> None:
    level = record.stock[0]
    record.stock[0] = replace(level, available=level.available - 1, held=1)


def send_elsewhere(record: Record) -> None:
    record.effects = [
        replace(each, address={"street": "elsewhere"}) if each.operation == "book" else each
        for each in record.effects
    ]


def placed() -> Record:
    """The shop wrote down what it asked for and was told."""
    record = shipped()
    first = next(fact for fact in record.facts if fact.type == "OrderPlaced")
    order = first.stream.removeprefix("order-")
    record.placed.append(Placed("basket", str(first.command_id), [order, order]))
    return record


def tell(record: Record, told: list[str]) -> None:
    record.placed[0] = replace(record.placed[0], told=told)


def place_twice(record: Record) -> None:
    """The same key led to a second order."""
    first = next(fact for fact in record.facts if fact.type == "OrderPlaced")
    record.facts.append(replace(first, stream="order-ORD-9"))


def viewed() -> Record:
    record = shipped()
    record.views.append(View("orders", "ORD-1", {"status": "SHIPPED", "at": 1}, {"status": "SHIPPED"}))
    return record


def show(record: Record, row: dict[str, Any] | None) -> None:
    record.views[0] = replace(record.views[0], shown=row)


def traced() -> Record:
    """Every fact was stored in the trace of its order."""
    record = shipped()
    record.facts = [replace(fact, trace="t1") for fact in record.facts]
    return record


def lose_the_trace(record: Record) -> None:
    record.facts = [
        replace(fact, trace="t2", command_id="fulfillment-x/hand-over") if fact.type == "HandedOver" else fact
        for fact in record.facts
    ]


def change_the_trace(record: Record) -> None:
    """A wish came first, and the whole way of the order is in its trace."""
    append(record, "order-", "HoldPlaced", handle="h")
    record.facts = [
        fact if fact.version == 1 else replace(fact, trace="t2", command_id="order-workflow-x/y")
        for fact in record.facts
    ]
    record.facts[-1] = replace(record.facts[-1], trace="t2", command_id="wish")


def name_somebody(record: Record) -> None:
    record.personal.add("Adalia")
    record.lines.append(LogLine("order-api.log", "cannot deliver to Adalia"))


def lose_every_trace_of_an_order(record: Record) -> None:
    """Another order shows that the run has traces."""
    record.facts = [replace(fact, trace=None) for fact in record.facts]
    first = next(fact for fact in record.facts if fact.type == "OrderPlaced")
    record.facts.append(replace(first, stream="order-ORD-9", trace="t9"))


def answered() -> Record:
    """A wish was asked for, and what its sender was told is stored."""
    record = readdressed()
    wish = next(each for each in record.receipts if "wish" in each.command_id and each.service == "orders")
    told = (Answer(503, "1"), Answer(200))
    record.asked.append(
        Asked(
            "orders", "PATCH", "/orders/x", "key", 1.0, 2.0, 2, told, wish.command_id, wish.status, wish.code
        )
    )
    return record


def answer(record: Record, *answers: Answer) -> None:
    record.asked[0] = replace(record.asked[0], answers=answers)


def tell_the_sender(record: Record, told: str) -> None:
    record.asked[0] = replace(record.asked[0], told=told)


def lose_what_was_granted(record: Record) -> None:
    """The receipt names facts that are another command's."""
    granted = next(each for each in record.receipts if each.first_version is not None)
    record.facts = [
        replace(fact, command_id="another") if fact.stream == granted.stream else fact
        for fact in record.facts
    ]


def trouble(record: Record, what: str) -> None:
    record.troubles.append(what)


SPOILT: list[tuple[str, Callable[[], Record], Callable[[Record], None]]] = [
    (checks.NEVER_BOTH, cancelled, take),
    (checks.NEVER_BOTH, shipped, lambda r: append(r, "fulfillment-", "CancelRequested", command_id="c")),
    (checks.NEVER_BOTH, shipped, lambda r: append(r, "order-", "OrderCancelled", code="X")),
    (checks.MONEY, shipped, lambda r: double(r, "capture")),
    (checks.MONEY, shipped, lambda r: lose(r, "capture")),
    (checks.MONEY, shipped, lambda r: append(r, "order-", "OrderFailed", code="X")),
    (checks.MONEY, shipped, lambda r: change(r, "OrderPlaced", total_minor=1)),
    (checks.MONEY, cancelled, lambda r: lose(r, "void")),
    (checks.HELD, paused, begin_a_step_under_the_hold),
    (checks.HELD, paused, lambda r: drop(r, "HoldPlaced")),
    (checks.HELD, paused, lambda r: drop(r, "FulfillmentHoldPlaced") or drop(r, "HoldPlaced")),
    (checks.HELD, asked, begin_a_step_before_the_answer),
    (checks.ADDRESS, readdressed, lambda r: change(r, "LabelRequested", address_version=1)),
    (checks.ADDRESS, shipped, send_elsewhere),
    (checks.RECEIPTS, readdressed, lambda r: say(r, "ACCEPTED")),
    (checks.RECEIPTS, readdressed, lambda r: say(r, "REJECTED")),
    (checks.RECEIPTS, readdressed, forget_the_receipts),
    (checks.RECEIPTS, shipped, lambda r: r.sent.append(Sent("pause", "parcel-signal", "sent"))),
    (
        checks.RECEIPTS,
        shipped,
        lambda r: r.receipts.append(ReceiptRow("orders", "run/1", "pause", "order-x", "EFFECTIVE")),
    ),
    (checks.ENDS, shipped, lambda r: drop(r, "HandedOver")),
    (checks.ENDS, shipped, lambda r: drop(r, "PaymentCaptured")),
    (checks.ENDS, shipped, lambda r: trouble(r, "no end: 3000 steps")),
    (checks.REPLAYS, shipped, lambda r: trouble(r, "a replay asked for something else")),
    (checks.GAPLESS, shipped, lambda r: drop(r, "StockHeld")),
    (checks.FORWARD, shipped, lambda r: date(r, "StockHeld", timedelta(minutes=-5))),
    (checks.STOCK, shipped, miscount),
    (checks.STOCK, shipped, keep_stock),
    (checks.ONE, shipped, lambda r: double(r, "hand-over")),
    (checks.ONE, cancelled, lambda r: lose(r, "void-label")),
    (checks.STEPS, shipped, lambda r: change(r, "StepCompleted", step_key="pick:1")),
    (checks.ENDS, shipped, lambda r: r.waiting.append("a row of the outbox")),
    (checks.PLACED, placed, lambda r: r.placed.append(Placed("again", "place-9", ["ORD-9"]))),
    (checks.PLACED, placed, lambda r: tell(r, [])),
    (checks.PLACED, placed, lambda r: tell(r, [*r.placed[0].told, "ORD-9"])),
    (checks.PLACED, placed, place_twice),
    (checks.PLACED, placed, lambda r: append(r, "order-", "OrderPlaced")),
    (checks.FOLDED, viewed, lambda r: show(r, {"status": "PENDING"})),
    (checks.FOLDED, viewed, lambda r: show(r, None)),
    (checks.TRACE, traced, lose_the_trace),
    (checks.TRACE, traced, change_the_trace),
    (checks.TRACE, traced, lose_every_trace_of_an_order),
    (checks.ANSWERS, answered, lambda r: answer(r, Answer(500), Answer(200))),
    (checks.ANSWERS, answered, lambda r: answer(r, Answer(503), Answer(200))),
    (checks.ANSWERS, answered, lambda r: answer(r, Answer(422))),
    (checks.ANSWERS, answered, lambda r: answer(r, Answer(404))),
    (checks.ANSWERS, answered, lambda r: tell_the_sender(r, "REJECTED")),
    (checks.ANSWERS, answered, forget_the_receipts),
    (checks.ANSWERS, shipped, lose_what_was_granted),
    (checks.FOUND, shipped, lambda r: r.reconciled.append(Reconciled("orders", "X", "ORD-1", "RAISED"))),
    (
        checks.EXCEPTIONS,
        shipped,
        lambda r: r.exceptions.append(Waiting("orders", "order-1", "DOES_NOT_ADD_UP", "X", True, True)),
    ),
    (checks.LOGS, shipped, name_somebody),
    (checks.BUDGET, shipped, lambda r: r.workflows.append(Ended("w", "completed", None, events=5000))),
    (checks.BUDGET, shipped, lambda r: r.workflows.append(Ended("w", "completed", None, bytes=2**20))),
    (checks.STRUCK, shipped, lambda r: r.struck.append(Struck(1, "kill-api", "order-api", False, {}))),
]


@pytest.mark.parametrize(("invariant", "record", "spoil"), SPOILT)
def test_what_is_spoilt_is_found(
    invariant: str, record: Callable[[], Record], spoil: Callable[[Record], None]
):
    """By the invariant that names it; the record was good before."""
    judged = record()
    assert violations(judged) == []
    spoil(judged)
    assert invariant in {found.invariant for found in violations(judged)}
