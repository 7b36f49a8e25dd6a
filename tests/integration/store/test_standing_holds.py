"""Standing holds on real PostgreSQL: nothing begins once one is placed, and all that waits is let go once."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from typing import Any, cast

import pytest

from contracts import fulfillment as contract
from contracts.chassis.errors import NotFound
from contracts.chassis.event_store import Change, EventStore, Journal
from contracts.chassis.postgres import Connection, Database
from contracts.envelope import Wish, WishPayload
from contracts.fulfillment import StandingKind, StartFulfillment
from contracts.values import Address, Hold, HoldReason, Line, WarehouseMode, order_id
from deploy.local.stack import Stack
from fulfillment_service import bootstrap, standing_holds
from fulfillment_service.activities import FulfillmentActivities, Snapshot
from fulfillment_service.bootstrap import Settings
from fulfillment_service.events import STANDING_FACTS, StandingHoldEvent
from fulfillment_service.fulfillment import Fulfillment, standing
from fulfillment_service.fulfillment.standing import StandingHold
from fulfillment_service.intake import FulfillmentJournal, Intake
from fulfillment_service.settings import FulfillmentPostgresSettings
from fulfillment_service.standing_holds import PlaceStandingHold, StandingHolds
from tests.conftest import MakeDatabase

NUMBERS = count(1)
RECALL = PlaceStandingHold(kind="sku", value="TEAPOT", reason=HoldReason.QUALITY, handle="recall")


@dataclass
class Warehouse:
    """What takes parcels in and works at them, without any workflow."""

    database: Database
    journal: FulfillmentJournal
    intake: Intake
    activities: FulfillmentActivities

    async def parcel(
        self, *, lines: int = 1, sku: str = "TEAPOT", country: str = "USA", mode: WarehouseMode = "automatic"
    ) -> str:
        """A parcel that nobody has begun to work at."""
        number = next(NUMBERS)
        order = order_id(datetime.now(UTC), number)
        await self.intake.accept(
            StartFulfillment(
                order_id=order,
                n=1,
                lines=tuple(Line(sku=sku, quantity=1) for _ in range(lines)),
                address=Address(street="1 A", city="B", state="C", zip_code="12345", country=country),
                address_version=1,
                country=country,
                customer_ref="customer-1",
                mode=mode,
                pace_seconds=1,
                reply_to=f"order-workflow-{order}",
            )
        )
        return contract.fulfillment_id(order, 1)

    async def begins(self, parcel: str) -> Snapshot:
        """The parcel after its workflow tried to begin a step."""
        return await self.activities.work(parcel, None)

    async def works(self, parcel: str) -> None:
        """Step after step, until something stops it or all is done."""
        finished, seen = None, Snapshot(is_open=True)
        while seen.is_open:
            seen = await self.activities.work(parcel, finished)
            finished = seen.step_key

    async def place(self, asked: PlaceStandingHold = RECALL) -> str:
        number = next(NUMBERS)
        granted = await self.intake.standing.place(asked, command_id=f"place-{number}", actor="anna")
        return str(granted.receipt.code or granted.receipt.status)

    async def lift(self, handle: str = "recall", per_second: float | None = None) -> Any:
        """How many parcels were knocked."""
        granted = await self.intake.standing.lift(
            handle, drain_per_second=per_second, command_id=f"lift-{next(NUMBERS)}", actor="ben"
        )
        return (granted.answer or {})["knocked"]

    async def facts(self, parcel: str) -> list[str]:
        rows = await self.database.fetch(
            "select type from events where stream = %(stream)s order by version",
            stream=contract.stream(parcel),
        )
        return [row["type"] for row in rows]

    async def holds(self, parcel: str) -> tuple[Hold, ...]:
        change = await self.journal.read(contract.stream(parcel))
        assert change is not None
        return change.state.holds


@asynccontextmanager
async def open_warehouse(url: str) -> AsyncGenerator[Warehouse]:
    settings = Settings(postgres=FulfillmentPostgresSettings(url=url, pool_size=16, pool_wait_seconds=20))
    async with Database(settings.postgres, "test") as database:
        journal = bootstrap.journal_of(database)
        intake = bootstrap.intake_of(journal, settings)
        nobody = cast("Any", None)
        yield Warehouse(database, journal, intake, FulfillmentActivities(journal, intake, nobody, nobody))


@pytest.fixture
async def warehouse(migrated: Stack, make_database: MakeDatabase) -> AsyncGenerator[Warehouse]:
    async with open_warehouse(make_database("fulfillments")) as warehouse:
        yield warehouse


BEGUN = ("StepStarted", "LabelRequested", "HandOverStarted")


async def test_nothing_begins_after_the_placement_committed(warehouse: Warehouse):
    """Many parcels begin step after step while the hold is placed: what the placement saw is all there is."""
    seen: list[int] = []
    holds = StandingHolds(counting(warehouse.database, seen), drain_per_second=1)
    parcels = [await warehouse.parcel(lines=30) for _ in range(12)]
    by_hand = [await warehouse.parcel(lines=20, mode="manual") for _ in range(4)]
    work = [asyncio.create_task(warehouse.works(parcel)) for parcel in parcels]
    work += [asyncio.create_task(completes(warehouse, parcel)) for parcel in by_hand]
    async with asyncio.timeout(60):
        while await begun(warehouse.database) <= 20:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await holds.place(RECALL, command_id="place", actor="anna")
    await asyncio.gather(*work)
    assert seen == [await begun(warehouse.database)]
    assert 20 < seen[0] < 12 * 30 + 4 * 20
    for parcel in parcels:
        assert (await warehouse.holds(parcel))[0].handle == "standing:recall"
        assert (await warehouse.facts(parcel)).count("HoldPlaced") == 1


def counting(database: Database, seen: list[int]) -> Journal[StandingHold, StandingHoldEvent]:
    """A journal of standing holds that counts what had begun when the placement has its lock."""

    async def follow(connection: Connection, change: Change[StandingHold, StandingHoldEvent]) -> None:
        await standing_holds.follow(connection, change)
        seen.append(await begun(connection))

    store = EventStore[StandingHoldEvent](STANDING_FACTS)
    return Journal[StandingHold, StandingHoldEvent](database, store, evolve=standing.evolve, follow=follow)


async def begun(where: Connection | Database) -> int:
    query = "select count(*) as begun from events where type = any(%(types)s)"
    if isinstance(where, Database):
        row = await where.fetch_one(query, types=list(BEGUN))
    else:
        row = await (await where.execute(query, {"types": list(BEGUN)})).fetchone()
    return row["begun"] if row else 0


async def completes(warehouse: Warehouse, parcel: str) -> None:
    """An operator who begins and completes step after step, until she is refused."""
    for step in range(1, 21):
        wish = Wish(payload=WishPayload(step_key=f"pick:{step}"))
        granted = await warehouse.intake.submit(
            "completeStep", parcel, wish, command_id=f"{parcel}/{step}", actor="operator"
        )
        if granted.receipt.status == "REJECTED":
            assert granted.receipt.code == "ON_HOLD"
            return


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("sku", "TEAPOT"),
        ("warehouse", "main"),
        ("carrier", "sandbox"),
        ("country", "USA"),
        ("customer", "customer-1"),
    ],
)
async def test_each_kind_freezes_what_it_names_and_nothing_else(
    warehouse: Warehouse, kind: StandingKind, value: str
):
    """Also a parcel that arrives later; the parcel's own facts say so, once."""
    await warehouse.place(
        PlaceStandingHold(kind=kind, value="other", reason=HoldReason.OTHER, handle="other")
    )
    free = await warehouse.parcel()
    assert (await warehouse.begins(free)).is_open
    await warehouse.place(PlaceStandingHold(kind=kind, value=value, reason=HoldReason.CARRIER, handle="it"))
    later = await warehouse.parcel()
    for _ in range(2):
        seen = await warehouse.begins(later)
        assert (seen.status, seen.is_stopped, seen.is_open) == ("PAUSED", True, False)
    assert await warehouse.facts(later) == ["FulfillmentAccepted", "HoldPlaced"]
    (hold,) = await warehouse.holds(later)
    assert (hold.handle, hold.reason, hold.holder, hold.standing) == (
        "standing:it",
        "CARRIER",
        "anna",
        True,
    )


async def test_lifting_knocks_each_waiting_parcel_once_one_after_the_other(warehouse: Warehouse):
    """So many a second; one that does not wait for it is left alone, and lifting again knocks nobody."""
    await warehouse.place()
    waiting = [await warehouse.parcel() for _ in range(5)]
    for parcel in waiting:
        await warehouse.begins(parcel)
    await warehouse.parcel(sku="SPOON")
    assert await warehouse.lift(per_second=4) == 5
    assert await warehouse.lift(per_second=4) == 0
    rows = await warehouse.database.fetch("select workflow_id, signal, due_at from knocks order by due_at")
    assert [row["workflow_id"] for row in rows] == [contract.workflow_id(parcel) for parcel in waiting]
    assert {row["signal"] for row in rows} == {"knock"}
    gaps = [later["due_at"] - earlier["due_at"] for earlier, later in pairwise(rows)]
    assert gaps == [timedelta(seconds=0.25)] * 4


async def test_a_knocked_parcel_goes_on_and_its_own_holds_stay(warehouse: Warehouse):
    """What was lifted is gone from the parcel when it looks again."""
    await warehouse.place()
    parcel = await warehouse.parcel()
    await warehouse.begins(parcel)
    wish = Wish(payload=WishPayload(hold=Hold(handle="own")))
    await warehouse.intake.submit("applyHold", parcel, wish, command_id="own", actor="operator")
    assert (await warehouse.activities.load(parcel)).version == 3
    await warehouse.lift()
    seen = await warehouse.activities.load(parcel)
    assert ([hold.handle for hold in seen.holds], seen.is_stopped) == (["own"], True)
    wish = Wish(payload=WishPayload(handle="own"))
    await warehouse.intake.submit("releaseHold", parcel, wish, command_id="lift", actor="operator")
    assert (await warehouse.begins(parcel)).is_open


async def test_a_standing_hold_ends_by_itself(warehouse: Warehouse):
    """Its time has come on the database's clock, and on the parcel's; no knock is needed."""
    soon = datetime.now(UTC) + timedelta(seconds=0.5)
    await warehouse.place(RECALL.model_copy(update={"until": soon}))
    early, late = await warehouse.parcel(), await warehouse.parcel()
    seen = await warehouse.begins(early)
    assert (seen.is_stopped, seen.alarm) == (True, soon)
    await asyncio.sleep(0.6)
    assert (await warehouse.begins(late)).is_open
    assert await warehouse.facts(late) == ["FulfillmentAccepted", "StepStarted"]
    assert not (await warehouse.activities.elapse(early, soon)).is_stopped
    assert (await warehouse.begins(early)).is_open


async def test_a_handle_is_used_once_for_ever(warehouse: Warehouse):
    """A parcel that outlived a standing hold would not notice another one of its name."""
    placed = await asyncio.gather(*(warehouse.place() for _ in range(4)))
    assert sorted(placed) == ["EFFECTIVE", "HANDLE_TAKEN", "HANDLE_TAKEN", "HANDLE_TAKEN"]
    await warehouse.lift()
    assert await warehouse.place() == "HANDLE_TAKEN"
    with pytest.raises(NotFound):
        await warehouse.lift("nobody")


async def test_placing_and_begins_do_not_deadlock(warehouse: Warehouse):
    """Holds come and go while parcels work; everything comes to rest and every parcel is done."""
    parcels = [await warehouse.parcel(lines=10) for _ in range(8)]

    async def storm() -> None:
        for number in range(6):
            await warehouse.place(RECALL.model_copy(update={"handle": f"storm-{number}"}))
            await warehouse.lift(f"storm-{number}")

    async def insists(parcel: str) -> None:
        for _ in range(100):
            await warehouse.works(parcel)
            if await is_done(warehouse, parcel):
                return

    await asyncio.gather(storm(), *(insists(parcel) for parcel in parcels))
    assert [await is_done(warehouse, parcel) for parcel in parcels] == [True] * 8


async def is_done(warehouse: Warehouse, parcel: str) -> bool:
    change: Change[Fulfillment, Any] | None = await warehouse.journal.read(contract.stream(parcel))
    return change is not None and change.state.worked == len(change.state.warehouse_steps)


async def test_those_who_wait_are_found_by_an_index(warehouse: Warehouse):
    """Among a million parcels the few that show the hold are not searched for one by one."""
    async with warehouse.database.transaction() as connection:
        await connection.execute("set local enable_seqscan = off")
        plan = await connection.execute(f"explain {standing_holds.WAITING}", {"handle": "standing:recall"})
        told = str(await plan.fetchall())
    assert "fulfillment_view_holds" in told
