"""PostgreSQL is put back to an older backup under live workflows and topics: nothing goes out until a person
says so."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from temporalio.client import WorkflowExecutionStatus

import fulfillment_service.bootstrap.consumer as fulfillment_consumer
import fulfillment_service.bootstrap.relay as fulfillment_relay
import order_service.bootstrap.consumer as order_consumer
import order_service.bootstrap.relay as order_relay
from contracts import fulfillment, order
from contracts.chassis import exceptions, parking
from contracts.chassis.errors import Unavailable
from contracts.chassis.kafka.backwards import read_backwards
from contracts.chassis.lifecycle import Health, Role
from contracts.chassis.postgres import Database, Row
from contracts.chassis.settings import HealthSettings, KafkaSettings
from contracts.values import Code
from deploy.local.stack import Stack
from order_service.order import Step
from tests.integration.backups import Backups
from tests.integration.doors import Doors, Service, open_doors
from tests.integration.fulfillment.house import eventually
from tests.integration.pair import Pair, open_pair
from tests.integration.test_kafka_policy import EmbeddedBroker

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    """A Kafka that has nothing yet."""
    with EmbeddedBroker() as (servers, _):
        yield servers


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(
    temporal_engine: Stack, sandbox_url: str, orders_url: str, fulfillments_url: str, broker: str
) -> AsyncGenerator[Pair]:
    async with open_pair(temporal_engine, sandbox_url, orders_url, fulfillments_url) as pair:
        yield replace(
            pair,
            orders=replace(pair.orders, kafka=KafkaSettings(servers=broker, group="orders")),
            fulfillments=replace(pair.fulfillments, kafka=KafkaSettings(servers=broker, group="parcels")),
        )


@pytest.fixture
def backups(engines: Stack, orders_url: str, fulfillments_url: str) -> Backups:
    return Backups(engines, (orders_url, fulfillments_url))


STEPS = ("pick:1", "pick:2", "pick:3", "quality", "pack")


@pytest.mark.timeout(300)
async def test_nothing_goes_out_until_a_person_says_that_the_store_is_right(
    pair: Pair, backups: Backups, orders_url: str, fulfillments_url: str
):
    """A held order and a parcel half picked are put back to that; money, label and events are out already.

    The parcels' relay runs all the while, the orders' begins again after somebody has wished something. All
    that has seen or told more stops and says so: no provider hears a word, and Kafka nothing that contradicts
    it. Taken as it is, each goes on from the store under the same provider keys: one authorization, one
    label, one charge; and what is told now under old numbers has new ids."""
    async with pair.working(), moving(pair, "fulfillments"):
        async with moving(pair, "orders"):
            picked, held = await pair.place("picked", "manual"), await pair.place("held", "manual")
            await have_gone_on_since_the_backup(pair, backups, picked, held)
        before, told = await ledgers(pair, held, picked), await log_of(pair)
        assert await pair.effects("payments", held) == ["authorize"]
        await asyncio.to_thread(backups.put_back)
        await answers(pair)
        async with open_doors(orders_url, fulfillments_url) as doors:
            early = await doors.http["orders"].patch(f"/orders/{held}", json=CONTACT)
            assert early.status_code == 200, early.text
            async with moving(pair, "orders"):
                of_orders = await troubles(pair.database, [held])
                of_parcels = await troubles(pair.warehouse, [parcel_of(held), parcel_of(picked)])
                assert [each["evidence"]["stored"] for each in of_orders] == [3]
                await knock(pair, held, picked)
                unconcerned = await pair.place("unconcerned", "manual")
                await is_told(pair, unconcerned)
                now = await log_of(pair)
                assert {name: ids for name, ids in now.items() if name in told} == told
                assert {name: ids for name, ids in now.items() if len(ids) > 1} == {}
                assert await ledgers(pair, held, picked) == before
                await is_refused(doors.http["orders"], "/orders", held)
                await is_refused(doors.http["fulfillments"], "/fulfillments", picked)

                for each in of_orders:
                    await is_taken_as_it_is(doors.http["orders"], each)
                for each in of_parcels:
                    await is_taken_as_it_is(doors.http["fulfillments"], each)
                await come_to_their_end(pair, doors, picked, held)
    for each in (held, picked):
        assert await pair.effects("payments", each) == ["authorize", "capture"]
        assert await pair.effects("carrier", each) == ["label", "hand-over"]
    anew = {name: ids for name, ids in (await log_of(pair)).items() if len(ids) > 1}
    assert {stream for stream, _ in anew} == streams_of(held) | {fulfillment.stream(parcel_of(picked))}
    assert all(ids[:1] == told[name] for name, ids in anew.items())


async def have_gone_on_since_the_backup(pair: Pair, backups: Backups, picked: str, held: str) -> None:
    """One parcel has its label, the other order its money and its parcel; Kafka has heard of all of it."""
    await pair.wishes(held, "applyHold", "hold")
    await pair.comes_to(picked, Step.AWAIT_OUTCOME)
    await pair.completes(picked, "pick:1")
    await pair.begins(picked, "pick:2")
    await all_is_told(pair)
    await asyncio.to_thread(backups.take)
    await answers(pair)

    await completes(pair, picked, STEPS[1:])
    await pair.wishes(held, "releaseHold", "release")
    await pair.comes_to(held, Step.AWAIT_OUTCOME)
    await pair.begins(held, "pick:1")
    await eventually(lambda: pair.effects("carrier", picked), what="the label")
    await all_is_told(pair)


async def come_to_their_end(pair: Pair, doors: Doors, picked: str, held: str) -> None:
    """From where the store has them, and either service hears of it."""
    await completes(pair, picked, (*STEPS[1:], "hand-over"))
    assert await pair.workflow(picked).result() == "SHIPPED"

    assert (await pair.order(held)).step is Step.HOLD_STOCK
    await is_given_up(pair, held)
    await pair.wishes(held, "releaseHold", "release-again")
    await pair.comes_to(held, Step.AWAIT_OUTCOME)
    await completes(pair, held, (*STEPS, "hand-over"))
    assert await pair.workflow(held).result() == "SHIPPED"
    await all_is_told(pair)
    for each in (picked, held):
        await both_show(pair, doors, each, "SHIPPED")


CONTACT = {"contact": {"name": "Jo Doe", "email": "jo@example.com"}}


@asynccontextmanager
async def moving(pair: Pair, service: Service) -> AsyncGenerator[None]:
    """The service's relay and consumer run, each in the loops of its role."""
    health = Health(HealthSettings())
    opened: list[AbstractAsyncContextManager[Role]] = (
        [order_relay.open_role(pair.orders, health), order_consumer.open_role(pair.orders, health)]
        if service == "orders"
        else [
            fulfillment_relay.open_role(pair.fulfillments, health),
            fulfillment_consumer.open_role(pair.fulfillments, health),
        ]
    )
    async with AsyncExitStack() as stack:
        roles = [await stack.enter_async_context(each) for each in opened]
        loops = [asyncio.create_task(loop()) for role in roles for loop in role.loops.values()]
        try:
            yield
        finally:
            for loop in loops:
                loop.cancel()
            ended = await asyncio.gather(*loops, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended


async def all_is_told(pair: Pair) -> None:
    """Nothing waits for Kafka."""

    async def is_told() -> bool:
        waiting = "select 1 from outbox where published_at is null limit 1"
        return not any([await each.fetch(waiting) for each in (pair.database, pair.warehouse)])

    await eventually(is_told, what="the end of both outboxes")


async def is_told(pair: Pair, order_id: str) -> None:
    """Kafka knows of the order; what came before it in its outbox had its turn."""

    async def told() -> bool:
        return (order.stream(order_id), 1) in await log_of(pair)

    await eventually(told, what="the event of a new order")


async def log_of(pair: Pair) -> Mapping[tuple[str, int], list[UUID]]:
    """By stream and version the ids of what was told, in the order in which each came first."""
    found: dict[tuple[str, int], list[UUID]] = {}
    for topic in (order.TOPIC, fulfillment.TOPIC):
        async with read_backwards(pair.orders.kafka, topic) as log:
            for partition in log.partitions:
                records = page = await log.before(partition)
                while page := await log.before(partition, page[0].offset) if page else ():
                    records = [*page, *records]
                for event in filter(None, map(parking.event_of, records)):
                    ids = found.setdefault((event.subject, event.sequence), [])
                    ids += [event.id] if event.id not in ids else []
    return found


def parcel_of(order_id: str) -> str:
    return fulfillment.fulfillment_id(order_id, 1)


def streams_of(order_id: str) -> set[str]:
    return {order.stream(order_id), fulfillment.stream(parcel_of(order_id))}


async def both_show(pair: Pair, doors: Doors, order_id: str, status: str) -> None:
    """Either service has heard from Kafka how the other one's part ended.

    A consumer that heard of lost facts only after the restore has their places taken and parks what is told
    anew; a person discards that, record by record."""

    async def show() -> bool:
        for door in doors.http.values():
            for each in (await door.get("/ops/parked", params={"order": order_id})).json()["parked"][:1]:
                because = {"reason": "the store of the other service was put back"}
                given_up = await door.post(f"/ops/parked/{each['id']}/discard", json=because)
                assert given_up.status_code == 200, given_up.text
        of_order = await pair.warehouse.fetch_one(
            "select status from order_view where order_id = %(id)s", id=order_id
        )
        of_parcel = await pair.database.fetch_one(
            "select fulfillment ->> 'status' as status from order_view where order_id = %(id)s", id=order_id
        )
        return of_order == of_parcel == {"status": status}

    await eventually(show, what=f"{status} in both views")


async def is_refused(door: httpx.AsyncClient, path: str, order_id: str) -> None:
    """No wish is taken, not even rehearsed, and the answer says what to do; to look is always allowed."""
    hold = {"reason": "QUALITY", "handle": "lid"}
    for dry_run in ("false", "true"):
        answer = await door.post(f"{path}/{order_id}/holds", json=hold, params={"dryRun": dry_run})
        told = answer.json()
        assert (answer.status_code, told["code"], told["retryable"]) == (409, "STORE_BEHIND", True)
        assert "skip" in told["detail"]
    assert (await door.get(f"{path}/{order_id}")).status_code == 200


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


async def ledgers(pair: Pair, *orders: str) -> list[Any]:
    """What the providers were asked for these orders."""
    rows = [
        row for name in ("payments", "carrier") for row in (await pair.http.get(f"/ledgers/{name}")).json()
    ]
    return [row for row in rows if any(each in str(row) for each in orders)]


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
    behind = await door.post(f"{path}/retry", headers=ada)
    assert (behind.status_code, behind.json()["code"]) == (409, "STORE_BEHIND")
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
