"""A stream that is shorter than its workflow knew it: a person decides, and nothing is done until then."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from contracts.chassis import exceptions
from contracts.chassis.errors import StoreBehind
from contracts.chassis.event_store import ACCEPTED_FOR, Cause
from contracts.chassis.postgres import Database, Row
from contracts.chassis.seen import Seen, having_seen
from tests.integration.store.tally import adding, tally

CAUSE = Cause("workflow")
KNOWN = Seen(version=5, asked_at=datetime(2030, 1, 1, tzinfo=UTC))


async def is_refused(database: Database, known: Seen) -> Row:
    """The exception that says so; the same one, whoever comes first."""
    journal = tally(database)
    with having_seen(known):
        with pytest.raises(StoreBehind):
            await journal.read("order-1")
        with pytest.raises(StoreBehind):
            await journal.change("order-1", CAUSE, adding(3))
    [row] = await exceptions.page(database)
    return row


async def is_skipped(database: Database, row: Row) -> datetime:
    async with database.transaction() as connection:
        await exceptions.resolve_one(connection, row["id"], resolution="skip", by="ada")
    return (await exceptions.find(database, row["id"]))["resolved_at"]


async def is_retried(database: Database, row: Row) -> None:
    async with database.transaction() as connection:
        await exceptions.resolve_one(connection, row["id"], resolution="retry", by="ada")


async def test_a_shorter_stream_is_neither_read_nor_changed_and_a_person_is_told(database: Database):
    """What a workflow has seen and the store has not is one exception, with both versions."""
    await tally(database).change("order-1", CAUSE, adding(1, 2))
    row = await is_refused(database, KNOWN)
    assert (row["subject"], row["code"], row["fault"]) == ("1", "STORE_BEHIND", "mismatch")
    assert row["evidence"] == {"seen": 5, "stored": 2}
    assert row["resolutions"] == ["retry", "skip"]
    unseen = await tally(database).read("order-1")
    assert unseen is not None
    assert (unseen.version, unseen.is_put_back) == (2, False)


async def test_a_stream_of_which_nothing_is_left_is_shorter_too(database: Database):
    """The backup was older than the order itself."""
    row = await is_refused(database, KNOWN)
    assert row["evidence"] == {"seen": 5, "stored": 0}


async def test_taken_as_it_is_the_stream_goes_on_and_says_so(database: Database):
    """What waited for the word goes on; who asks long after it is about another time, and waits again."""
    journal = tally(database)
    await journal.change("order-1", CAUSE, adding(1, 2))
    at = await is_skipped(database, await is_refused(database, KNOWN))
    with having_seen(replace(KNOWN, asked_at=at + ACCEPTED_FOR / 2)):
        change = await journal.change("order-1", CAUSE, adding(3))
    assert (change.version, change.is_put_back) == (3, True)
    later = replace(KNOWN, asked_at=at + ACCEPTED_FOR + timedelta(seconds=1))
    assert (await is_refused(database, later))["evidence"] == {"seen": 5, "stored": 3}


async def test_a_retry_looks_again(database: Database):
    """When the newer store is back, nothing more has to be said."""
    journal = tally(database)
    await journal.change("order-1", CAUSE, adding(1, 2))
    row = await is_refused(database, KNOWN)
    await is_retried(database, row)
    await is_retried(database, await is_refused(database, KNOWN))
    await journal.change("order-1", CAUSE, adding(3, 4, 5))
    with having_seen(KNOWN):
        change = await journal.read("order-1")
    assert change is not None
    assert (change.version, change.is_put_back) == (5, False)


async def test_while_a_person_has_to_decide_nobody_writes_and_everybody_may_look(database: Database):
    """Neither a door nor a workflow that saw nothing newer; a second wish is refused the same way."""
    journal = tally(database)
    await journal.change("order-1", CAUSE, adding(1, 2))
    row = await is_refused(database, KNOWN)
    for _ in range(2):
        with pytest.raises(StoreBehind, match="or skip it to take the store as it is"):
            await journal.change("order-1", Cause("shop"), adding(3))
    looked = await journal.read("order-1")
    assert looked is not None
    assert looked.version == 2
    with having_seen(Seen(version=1)), pytest.raises(StoreBehind):
        await journal.read("order-1")
    [still] = await exceptions.page(database)
    assert (still["id"], still["evidence"]) == (row["id"], {"seen": 5, "stored": 2})
    assert (await journal.change("order-2", Cause("shop"), adding(1))).version == 1
    await is_skipped(database, row)
    assert (await journal.change("order-1", Cause("shop"), adding(3))).version == 3


async def test_a_stream_that_is_not_there_any_more_is_not_begun_anew(database: Database):
    """The first fact is a fact like any other."""
    await is_refused(database, KNOWN)
    with pytest.raises(StoreBehind):
        await tally(database).change("order-1", Cause("shop"), adding(1))
