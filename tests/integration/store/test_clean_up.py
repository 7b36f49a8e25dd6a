"""What is deleted by age, and what is not."""

from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import LiteralString

import pytest

import contracts.chassis.housekeeping.clean_up as clean_up_module
from contracts import order as contract
from contracts.chassis.errors import Invalid
from contracts.chassis.event_store import Cause
from contracts.chassis.housekeeping import CleanUp, leftovers
from contracts.chassis.postgres import Connection, Database
from contracts.chassis.settings import HousekeepingSettings, PostgresSettings, RelaySettings
from contracts.envelope import Receipt, Wish
from contracts.values import Code
from deploy.local.stack import Stack
from order_service.bootstrap import intake_of, journal_of
from order_service.demo import demo_order
from order_service.events import OrderCancelled, OrderEvent
from order_service.order import Order
from order_service.reconciliation import OPEN_STREAMS
from tests.conftest import MakeDatabase

OLD = timedelta(days=100)


@pytest.fixture
async def database(migrated: Stack, make_database: MakeDatabase) -> AsyncGenerator[Database]:
    assert migrated
    async with Database(PostgresSettings(url=make_database("orders")), "test") as database:
        yield database


def clean_up(database: Database) -> CleanUp:
    return CleanUp(database, OPEN_STREAMS, leftovers(HousekeepingSettings(), RelaySettings()))


async def place(database: Database, key: str) -> str:
    granted = await intake_of(journal_of(database)).place(
        demo_order("happy"), command_id=key, actor="shop", request_hash=key
    )
    return str((granted.answer or {})["orderId"])


async def end(database: Database, order_id: str) -> None:
    async def decide(_: Connection, __: Order | None) -> list[OrderEvent]:
        return [OrderCancelled(code=Code.CANCELLED_ON_REQUEST)]

    await journal_of(database).change(contract.stream(order_id), Cause("test"), decide)


async def age(database: Database, by: timedelta = OLD) -> None:
    """All of it is so much older."""
    statements: tuple[LiteralString, ...] = (
        "update outbox set published_at = created_at - %(by)s",
        "update receipts set received_at = received_at - %(by)s",
        "update inbox set applied_at = applied_at - %(by)s",
        "update heard set heard_at = heard_at - %(by)s",
        "update reconciliations set at = at - %(by)s",
        "update external_calls set answered_at = answered_at - %(by)s",
    )
    for statement in statements:
        await database.execute(statement, by=by)


async def leave_behind(database: Database, order_id: str) -> None:
    """A row in every table that is cleaned up."""
    given = {"id": order_id, "stream": contract.stream(order_id)}
    statements: tuple[LiteralString, ...] = (
        """
        insert into inbox (consumer, event_id, stream, sequence)
        values ('c', gen_random_uuid(), %(stream)s, 1)
        """,
        """
        insert into heard (order_id, stream, sequence, type, at, data)
        values (%(id)s, 'f', 1, 't', now(), '{}')
        """,
        """
        insert into external_calls (provider_key, provider, operation, stream, status, answered_at)
        values (%(stream)s || ':void:1', 'payments', 'void', %(stream)s, 'CONFIRMED', now())
        """,
        """
        insert into reconciliations (kind, subject, mark, found, action)
        values ('NO_PROGRESS', %(id)s, '', '{}', 'KNOCKED')
        """,
    )
    for statement in statements:
        await database.execute(statement, **given)


async def test_everything_old_of_an_ended_order_goes_except_its_facts(database: Database):
    """And not a day before."""
    order_id = await place(database, "key-1")
    await leave_behind(database, order_id)
    await end(database, order_id)
    facts = await database.fetch("select * from events order by position")
    personal = await database.fetch("select * from pii order by ref, kind")
    await age(database, timedelta(days=1))
    assert await clean_up(database).run() == {}
    await age(database)
    assert await clean_up(database).run() == {
        "outbox": 2,
        "inbox": 1,
        "receipts": 1,
        "external_calls": 1,
        "heard": 1,
        "reconciliations": 1,
    }
    assert await database.fetch("select * from events order by position") == facts
    assert await database.fetch("select * from pii order by ref, kind") == personal


async def test_an_open_order_keeps_what_may_come_again(database: Database):
    """However old: its receipts, its calls and what was heard of it."""
    await leave_behind(database, await place(database, "key-1"))
    await age(database)
    deleted = await clean_up(database).run()
    assert deleted == {"outbox": 1, "inbox": 1, "reconciliations": 1}


async def test_what_is_not_published_or_not_settled_is_never_too_old(database: Database):
    """An outage of any length loses nothing."""
    order_id = await place(database, "key-1")
    await end(database, order_id)
    await database.execute(
        """
        insert into receipts (command_id, name, stream, actor, request_hash, received_at)
        values ('waits', 'cancelOrder', 'order-x', 'a', 'h', now() - interval '900 days')
        """
    )
    await database.execute("update outbox set created_at = now() - interval '900 days'")
    assert await clean_up(database).run() == {}


async def test_it_goes_in_small_batches(database: Database, monkeypatch: pytest.MonkeyPatch):
    """So many rows a statement, so many statements; the next run deletes the rest."""
    monkeypatch.setattr(clean_up_module, "BATCH", 3)
    monkeypatch.setattr(clean_up_module, "BATCHES", 2)
    await database.execute(
        """
        insert into inbox (consumer, event_id, stream, sequence, applied_at)
        select 'c', gen_random_uuid(), 's', n, now() - interval '100 days'
        from generate_series(1, 8) as n
        """
    )
    assert await clean_up(database).run() == {"inbox": 6}
    assert await clean_up(database).run() == {"inbox": 2}


async def test_a_wish_that_comes_again_after_its_receipt_is_gone_changes_nothing(database: Database):
    """The stream remembers what it granted and how it ended: another key gets no other effect either."""
    order_id = await place(database, "key-1")
    intake = intake_of(journal_of(database))

    async def cancel(command_id: str) -> Receipt:
        granted = await intake.submit(
            "cancelOrder", order_id, Wish(), command_id=command_id, actor="shop", request_hash="h"
        )
        return granted.receipt

    assert (await cancel("cancel-1")).status == "ACCEPTED"
    await end(database, order_id)
    await age(database)
    facts = await database.fetch("select * from events order by position")
    assert "receipts" in await clean_up(database).run()
    assert (await cancel("cancel-1")).status == "EFFECTIVE"
    assert (await cancel("cancel-2")).status == "EFFECTIVE"
    assert await database.fetch("select * from events order by position") == facts


async def test_a_placing_is_the_same_one_for_as_long_as_its_key_is_kept(database: Database):
    """Within the retention the same key is the same order, with another body an error; then it is free."""
    order_id = await place(database, "key-1")
    await end(database, order_id)
    await age(database, timedelta(days=89))
    await clean_up(database).run()
    assert await place(database, "key-1") == order_id
    with pytest.raises(Invalid):
        await intake_of(journal_of(database)).place(
            demo_order("happy"), command_id="key-1", actor="shop", request_hash="another"
        )
    await age(database, timedelta(days=2))
    await clean_up(database).run()
    assert await place(database, "key-1") != order_id
