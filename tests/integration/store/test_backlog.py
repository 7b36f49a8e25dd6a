"""What waits in the database, as Prometheus is told of it."""

from datetime import UTC, datetime, timedelta
from typing import LiteralString

import pytest
from prometheus_client import REGISTRY

from contracts.chassis.backlog import Backlog
from contracts.chassis.postgres import Database
from contracts.chassis.settings import ExceptionSettings

RECORD: LiteralString = """
    insert into outbox (bucket, key, topic, headers, body, created_at, published_at, parked_at)
    values (0, 'a', 't', '{}', '', now() - %(age)s::interval, %(published)s, %(parked)s)
    """
KNOCK: LiteralString = """
    insert into knocks (workflow_id, signal, created_at, due_at, attempts)
    values ('w', 'knock', now() - %(age)s::interval, now() + %(due_in)s::interval, %(attempts)s)
    """
PARKED: LiteralString = """
    insert into parked (
        consumer, identity, topic, partition, record_offset, order_id, headers, body, reason, first_failed_at,
        outcome
    )
    values ('c', %(id)s, 't', 0, 0, 'a', '{}', '', 'r', now() - %(age)s::interval, %(outcome)s)
    """
WISH: LiteralString = """
    insert into receipts (command_id, name, stream, actor, request_hash, status, received_at)
    values (%(status)s, 'pause', 's', 'a', 'h', %(status)s, now() - interval '1 hour')
    """
EXCEPTION: LiteralString = """
    insert into exceptions (
        id, stream, subject, code, fault, reason, evidence, resolutions, raised_at, resolved_at, resolution
    )
    values (
        gen_random_uuid(), 's', 's', 'STEP_PARKED', 'bug', 'r', '{}', '{}', now() - %(age)s::interval,
        %(resolved)s, case when %(resolved)s::timestamptz is not null then 'retry' end
    )
    """


async def told(database: Database, name: str, **labels: str) -> float:
    await Backlog(database, ExceptionSettings()).look()
    value = REGISTRY.get_sample_value(name, labels)
    assert value is not None
    return value


async def test_nothing_waits_in_a_new_database(database: Database):
    """All are zero, and not absent: an alert can tell them from a relay that is away."""
    for name in (
        "tandem_outbox_waiting_records",
        "tandem_outbox_oldest_seconds",
        "tandem_outbox_set_aside_records",
        "tandem_inbox_set_aside_records",
        "tandem_inbox_set_aside_oldest_seconds",
        "tandem_knocks_oldest_seconds",
        "tandem_wishes_oldest_unanswered_seconds",
    ):
        assert await told(database, name) == 0
    for level in ("0", "1", "2"):
        assert await told(database, "tandem_exceptions_open", level=level) == 0


async def test_the_oldest_event_that_can_leave_is_told(database: Database):
    """Neither what has left nor what never will makes it older."""
    now = datetime.now(UTC)
    await database.execute(RECORD, age=timedelta(minutes=9), published=now, parked=None)
    await database.execute(RECORD, age=timedelta(minutes=8), published=None, parked=now)
    for minutes in (2, 1):
        await database.execute(RECORD, age=timedelta(minutes=minutes), published=None, parked=None)
    assert await told(database, "tandem_outbox_oldest_seconds") == pytest.approx(120, abs=10)
    assert await told(database, "tandem_outbox_waiting_records") == 2
    assert await told(database, "tandem_outbox_set_aside_records") == 1


@pytest.mark.parametrize(
    ("age", "due_in", "attempts", "seconds"),
    [
        pytest.param(300, 20, 4, 300, id="tried in vain, and due again later"),
        pytest.param(300, -5, 0, 5, id="one of many that go one by one, due since a moment"),
        pytest.param(300, 60, 0, 0, id="one of many that go one by one, not due yet"),
        pytest.param(300, 14, 1, 0, id="being delivered"),
        pytest.param(300, -300, 0, 300, id="never taken by any relay"),
    ],
)
async def test_a_knock_is_late_only_by_our_fault(
    database: Database, age: int, due_in: int, attempts: int, seconds: int
):
    """What waits for its turn is not late, what was tried in vain is late from its start."""
    await database.execute(
        KNOCK, age=timedelta(seconds=age), due_in=timedelta(seconds=due_in), attempts=attempts
    )
    assert await told(database, "tandem_knocks_oldest_seconds") == pytest.approx(seconds, abs=4)


@pytest.mark.parametrize(("status", "seconds"), [("RECEIVED", 3600), ("ACCEPTED", 0), ("EFFECTIVE", 0)])
async def test_a_wish_without_an_answer_grows_old(database: Database, status: str, seconds: int):
    """The other side's answer ends that, also when it has no effect yet."""
    await database.execute(WISH, status=status)
    oldest = await told(database, "tandem_wishes_oldest_unanswered_seconds")
    assert oldest == pytest.approx(seconds, abs=10)


async def test_records_that_wait_for_a_person_are_told(database: Database):
    """How many and since when, without those that somebody settled."""
    for name, minutes, outcome in (("old", 9, "DISCARDED"), ("first", 2, None), ("behind", 1, None)):
        await database.execute(PARKED, id=name, age=timedelta(minutes=minutes), outcome=outcome)
    assert await told(database, "tandem_inbox_set_aside_records") == 2
    assert await told(database, "tandem_inbox_set_aside_oldest_seconds") == pytest.approx(120, abs=10)


@pytest.mark.parametrize(
    ("hours", "level"),
    [pytest.param(0, 0, id="new"), pytest.param(2, 1, id="for hours"), pytest.param(25, 2, id="for a day")],
)
async def test_what_waits_for_a_person_grows_older(database: Database, hours: int, level: int):
    """It is counted by its level, which rises once for each deadline that nobody kept."""
    await database.execute(EXCEPTION, age=timedelta(hours=hours), resolved=None)
    await database.execute(EXCEPTION, age=timedelta(hours=hours), resolved=datetime.now(UTC))
    for _ in range(2):
        assert await told(database, "tandem_exceptions_open", level=str(level)) == 1
    for other in {"0", "1", "2"} - {str(level)}:
        assert await told(database, "tandem_exceptions_open", level=other) == 0
    row = await database.fetch_one("select * from exceptions where resolved_at is null")
    assert row is not None
    assert (row["level"], row["escalated_at"] is not None) == (level, level > 0)
