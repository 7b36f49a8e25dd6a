"""PostgreSQL is put back to an older backup under live workflows: nothing goes out until a person says so."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import Any, LiteralString, cast

import httpx
import psycopg
import pytest
import pytest_asyncio
from temporalio.client import WorkflowExecutionStatus

from contracts import fulfillment
from contracts.chassis import exceptions
from contracts.chassis.errors import Unavailable
from contracts.chassis.postgres import Database, Row
from contracts.values import Code
from deploy.local.stack import Stack
from order_service.order import Step
from tests.integration.doors import open_doors
from tests.integration.fulfillment.house import eventually
from tests.integration.pair import Pair, open_pair

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Backups:
    """Copies of both databases, taken and put back while everybody stays connected."""

    def __init__(self, engines: Stack, urls: Sequence[str]) -> None:
        self._server = engines.postgres_url("postgres")
        self._names = [url.rsplit("/", 1)[1].partition("?")[0] for url in urls]

    def take(self) -> None:
        for name in self._names:
            self._copy(name, f"{name}_backup")

    def put_back(self) -> None:
        for name in self._names:
            self._run(f"alter database {name} allow_connections false", f"drop database {name} with (force)")
            self._copy(f"{name}_backup", name)

    def _copy(self, template: str, name: str) -> None:
        """PostgreSQL copies only a database to which nobody is connected."""
        self._run(
            f"alter database {template} allow_connections false",
            f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{template}'",
            f"create database {name} template {template}",
            f"alter database {template} allow_connections true",
        )

    def _run(self, *statements: str) -> None:
        with psycopg.connect(self._server, autocommit=True) as connection:
            for statement in statements:
                connection.execute(cast("LiteralString", statement))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(
    temporal_engine: Stack, sandbox_url: str, orders_url: str, fulfillments_url: str
) -> AsyncGenerator[Pair]:
    async with open_pair(temporal_engine, sandbox_url, orders_url, fulfillments_url) as pair:
        yield pair


@pytest.fixture
def backups(engines: Stack, orders_url: str, fulfillments_url: str) -> Backups:
    return Backups(engines, (orders_url, fulfillments_url))


STEPS = ("pick:1", "pick:2", "pick:3", "quality", "pack")


async def test_nothing_goes_out_until_a_person_says_that_the_store_is_right(
    pair: Pair, backups: Backups, orders_url: str, fulfillments_url: str
):
    """A held order and a parcel half picked are put back to that; money and label are out already.

    Knocked for, all that has seen more stops and says so, and no provider hears a word. Taken as it is, each
    goes on from the store under the same provider keys: one authorization, one label, one charge."""
    picked, held = await pair.place("picked", "manual"), await pair.place("held", "manual")
    await pair.wishes(held, "applyHold", "hold")
    async with pair.working():
        await pair.comes_to(picked, Step.AWAIT_OUTCOME)
        await pair.completes(picked, "pick:1")
        await pair.begins(picked, "pick:2")
        await asyncio.to_thread(backups.take)
        await answers(pair)

        await completes(pair, picked, STEPS[1:])
        await pair.wishes(held, "releaseHold", "release")
        await pair.comes_to(held, Step.AWAIT_OUTCOME)
        await pair.begins(held, "pick:1")
        await eventually(lambda: pair.effects("carrier", picked), what="the label")
        before = await ledgers(pair)
        assert await pair.effects("payments", held) == ["authorize"]
        await asyncio.to_thread(backups.put_back)
        await answers(pair)

        parcels = [fulfillment.fulfillment_id(each, 1) for each in (held, picked)]
        await knock(pair, held, picked)
        of_orders = await troubles(pair.database, [held])
        of_parcels = await troubles(pair.warehouse, parcels)
        assert [each["evidence"]["stored"] for each in of_orders] == [2]
        assert await ledgers(pair) == before
        await pair.workflow(picked).signal("knock")  # whose stream is as long as ever

        async with open_doors(orders_url, fulfillments_url) as doors:
            for each in of_orders:
                await is_taken_as_it_is(doors.http["orders"], each)
            for each in of_parcels:
                await is_taken_as_it_is(doors.http["fulfillments"], each)
        await completes(pair, picked, (*STEPS[1:], "hand-over"))
        assert await pair.workflow(picked).result() == "SHIPPED"

        assert (await pair.order(held)).step is Step.HOLD_STOCK
        await is_given_up(pair, held)
        await pair.wishes(held, "releaseHold", "release-again")
        await pair.comes_to(held, Step.AWAIT_OUTCOME)
        await completes(pair, held, (*STEPS, "hand-over"))
        assert await pair.workflow(held).result() == "SHIPPED"
    for each in (held, picked):
        assert await pair.effects("payments", each) == ["authorize", "capture"]
        assert await pair.effects("carrier", each) == ["label", "hand-over"]


async def answers(pair: Pair) -> None:
    """Both databases have been there again for whoever was connected to them."""

    async def is_there() -> bool:
        with suppress(Unavailable):
            return all([await each.fetch("select 1") for each in (pair.database, pair.warehouse)])
        return False

    await eventually(is_there, what="both databases")


async def completes(pair: Pair, order_id: str, steps: Sequence[str]) -> None:
    for step_key in steps:
        await pair.completes(order_id, step_key)


async def knock(pair: Pair, *orders: str) -> None:
    for each in orders:
        await pair.workflow(each).signal("knock")
        await pair.parcel(each).signal("knock")


async def ledgers(pair: Pair) -> list[Any]:
    return [(await pair.http.get(f"/ledgers/{name}")).json() for name in ("payments", "carrier")]


async def troubles(database: Database, subjects: Sequence[str]) -> list[Row]:
    """The exceptions that say that the store is behind: of these subjects, and no others."""

    async def raised() -> list[Row] | None:
        rows = {row["subject"]: row for row in await exceptions.page(database, code=Code.STORE_BEHIND)}
        return [rows[each] for each in subjects] if set(subjects) == set(rows) else None

    return await eventually(raised, what=f"an exception for each of {subjects}")


async def is_taken_as_it_is(door: httpx.AsyncClient, row: Row) -> None:
    """Skipped over REST, which is one of the two ways out that are offered; looked at first, and once."""
    path, ada = f"/exceptions/{row['id']}", {"X-Actor": "ada"}
    assert (await door.get(path)).json()["resolutions"] == ["retry", "skip"]
    tried = await door.post(f"{path}/skip", headers=ada, params={"dryRun": "true"})
    assert tried.status_code == 200, tried.text
    assert (await door.get(path)).json()["resolvedAt"] is None
    skipped = await door.post(f"{path}/skip", headers=ada, json={"reason": "the newer one is gone"})
    assert (skipped.status_code, skipped.json()["status"]) == (200, "EFFECTIVE")
    shown = (await door.get(path)).json()
    assert (shown["resolution"], shown["resolvedBy"]) == ("skip", "ada")
    again = await door.post(f"{path}/skip", headers=ada)
    assert (again.status_code, again.json()["status"]) == (200, "EFFECTIVE")
    for action, actor in (("retry", ada), ("skip", {"X-Actor": "bob"})):
        late = await door.post(f"{path}/{action}", headers=actor)
        assert (late.status_code, late.json()["code"]) == (409, "ALREADY_ENDED")


async def is_given_up(pair: Pair, order_id: str) -> None:
    """A parcel of which the store knows nothing is none; asked for again, it is another run."""

    async def has_failed() -> bool:
        return (await pair.parcel(order_id).describe()).status is WorkflowExecutionStatus.FAILED

    await eventually(has_failed, what="the end of a parcel that nobody asked for")
