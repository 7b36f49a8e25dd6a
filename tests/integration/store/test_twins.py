"""The database of the simulation behaves as PostgreSQL does: the same code asks, and both answer."""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

import fulfillment_service.bootstrap as fulfillment_bootstrap
import order_service.bootstrap as order_bootstrap
from contracts import fulfillment, order
from contracts.chassis import caps, pii, receipts
from contracts.chassis.errors import Conflict, Invalid, NotFound, Refused, TooMany
from contracts.chassis.event_store import Cause, EventStore, Journal
from contracts.chassis.postgres import Connection, Database, Row
from contracts.chassis.receipts import Command, grant
from contracts.envelope import Wish, WishPayload
from contracts.fulfillment import StartFulfillment
from contracts.order import UpdateOrder
from contracts.values import Address, Code, Hold, HoldReason, Line, LineItem
from fulfillment_service.events import STANDING_FACTS, StandingHoldEvent
from fulfillment_service.fulfillment import standing
from fulfillment_service.fulfillment.standing import StandingHold
from fulfillment_service.intake import Intake as ParcelIntake
from fulfillment_service.settings import FulfillmentPostgresSettings
from fulfillment_service.standing_holds import PlaceStandingHold, StandingHolds, follow
from order_service import inventory
from order_service.demo import demo_order
from order_service.intake import Intake as OrderIntake
from order_service.settings import OrderPostgresSettings
from tests.integration.store.tally import CAUSE, STORE, Added, TallyChange, adding, publish, tally
from tests.proof.simulation import database as twin
from tests.proof.simulation import statements

assert statements

STOCK = {"TEAPOT": 10, "TEA-ASSAM": 10, "SPOON": 10, "KETTLE-LAST": 5, "TEA-LEMON": 0}
ADDRESS = Address(street="1 Lane", city="Town", state="NC", zip_code="12345", country="USA")
PARCEL = "ORD-1772442000000-ABCDEFGHI-1"


@dataclass
class Store:
    """A service's own database, or what stands for it."""

    database: Database
    rows: Callable[[str], Any]
    """All rows of a table, oldest first."""


@pytest.fixture(params=["postgresql", "twin"])
async def orders(
    request: pytest.FixtureRequest, make_database: Callable[[str], str]
) -> AsyncGenerator[Store]:
    """The order service's store, with the same articles on its shelves."""
    if request.param == "twin":
        store = _twin()
        for sku, pieces in STOCK.items():
            row = {"sku": sku, "name": sku, "initial": pieces, "available": pieces, "held": 0, "shipped": 0}
            _tables(store).put("stock", (sku,), row)
        yield store
        return
    request.getfixturevalue("migrated")
    async with Database(OrderPostgresSettings(url=make_database("orders")), "test") as database:
        for sku, pieces in STOCK.items():
            await database.execute(
                "update stock set initial = %(n)s, available = %(n)s where sku = %(sku)s", sku=sku, n=pieces
            )
        yield _real(database)


@pytest.fixture(params=["postgresql", "twin"])
async def parcels(
    request: pytest.FixtureRequest, make_database: Callable[[str], str]
) -> AsyncGenerator[Store]:
    """The fulfillment service's store."""
    if request.param == "twin":
        yield _twin()
        return
    request.getfixturevalue("migrated")
    async with Database(FulfillmentPostgresSettings(url=make_database("fulfillments")), "test") as database:
        yield _real(database)


def _real(database: Database) -> Store:
    async def rows(table: str) -> list[Row]:
        return await database.fetch(f"select * from {table} order by ctid")  # type: ignore[arg-type]

    return Store(database, rows)


def _twin() -> Store:
    stands_for = twin.Database(lambda: datetime.now(UTC))

    async def rows(table: str) -> list[twin.Row]:
        return list(stands_for.tables.all(table))

    return Store(cast("Database", stands_for), rows)


def _tables(store: Store) -> twin.Tables:
    return cast("twin.Database", store.database).tables


def order_intake(store: Store) -> OrderIntake:
    return order_bootstrap.intake_of(order_bootstrap.journal_of(store.database))


def parcel_intake(store: Store) -> ParcelIntake:
    journal = fulfillment_bootstrap.journal_of(store.database)
    return fulfillment_bootstrap.intake_of(journal, fulfillment_bootstrap.Settings())


def standing_holds(store: Store) -> StandingHolds:
    return parcel_intake(store).standing


async def place(store: Store, key: str = "place") -> str:
    granted = await order_intake(store).place(
        demo_order("happy"), command_id=key, actor="shop", request_hash=key
    )
    return str((granted.answer or {})["orderId"])


async def accept(store: Store, n: int = 1) -> str:
    """The id of a parcel that was just asked for."""
    order_id = PARCEL.rpartition("-")[0]
    await parcel_intake(store).accept(
        StartFulfillment(
            order_id=order_id,
            n=n,
            lines=(Line(sku="TEAPOT", quantity=1),),
            address=ADDRESS,
            address_version=1,
            country="USA",
            customer_ref="customer-1",
            mode="manual",
            reply_to=order.workflow_id(order_id),
        )
    )
    return fulfillment.fulfillment_id(order_id, n)


# Streams.


async def test_facts_are_appended_without_gaps(orders: Store):
    """Versions count from one, each fact with its cause, and what follows is in the same commit."""
    journal = tally(orders.database, publish)
    await journal.change("s", Cause("ada", "c-1", "e-1"), adding(2, 3))
    await journal.change("s", CAUSE, adding(4))
    read = await journal.read("s")
    assert read is not None
    assert [(each.version, each.actor, each.command_id) for each in read.recorded] == [
        (1, "ada", "c-1"), (2, "ada", "c-1"), (3, "tester", "command-1"),
    ]  # fmt: skip
    assert (read.state, read.version) == (9, 3)
    assert [bytes(row["body"]) for row in await orders.rows("outbox")] == [b"1", b"2", b"3"]


async def test_an_append_on_an_old_version_is_a_conflict(orders: Store):
    """Nothing of that transaction is stored."""
    await tally(orders.database).change("s", CAUSE, adding(1))
    with pytest.raises(Conflict):  # noqa: PT012  the whole transaction is the statement
        async with orders.database.transaction() as connection:
            await pii.put(connection, "r", "note", 1, {"text": "gone"})
            await STORE.load(connection, "s")
            await STORE.append(connection, "s", 0, [Added(amount=7)], CAUSE)
    assert len(await orders.rows("events")) == 1
    assert await orders.rows("pii") == []


async def test_who_lost_against_another_writer_decides_again(orders: Store):
    """The second decision sees what the winner wrote, and both changes are stored."""
    journal, seen = tally(orders.database), list[int | None]()

    async def decide(connection: Connection, total: int | None) -> Sequence[Added]:
        seen.append(total)
        if len(seen) == 1:
            await tally(orders.database).change("s", CAUSE, adding(10))
        return [Added(amount=1)]

    change = await journal.change("s", CAUSE, decide)
    assert (seen, change.state, change.version) == ([None, 10], 11, 2)


async def test_an_error_undoes_all_of_its_transaction(orders: Store):
    """Facts, receipts and rows of other tables go with it."""

    async def fail(connection: Connection, change: TallyChange) -> None:
        await publish(connection, change)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await tally(orders.database, fail).change("s", CAUSE, adding(1))
    assert await tally(orders.database).read("s") is None
    assert await orders.rows("outbox") == []


# Receipts.


async def test_a_command_is_answered_once_and_for_ever(orders: Store):
    """Asked again it gets the stored receipt; with another request it is an error."""

    async def ask(request: str) -> Any:
        return await grant(
            tally(orders.database),
            Command("c-1", "add", "s", "ada", request),
            adding(1),
            status_of=lambda _: "ACCEPTED",
            answer_of=lambda change: {"total": change.state},
        )

    first, again = await ask("one"), await ask("one")
    assert (first.replayed, again.replayed) == (False, True)
    assert (again.receipt, again.answer) == (first.receipt, {"total": 1})
    with pytest.raises(Invalid):
        await ask("another")
    assert len(await orders.rows("events")) == 1


async def test_a_refusal_is_kept_and_what_it_wrote_is_not(orders: Store):
    """The receipt says why; the savepoint took the rest back."""

    async def refuse(connection: Connection, total: int | None) -> Sequence[Added]:
        await pii.put(connection, "r", "note", 1, {"text": "gone"})
        raise Refused("too late", code=Code.HAND_OVER_IN_PROGRESS, cut_off="HandOverStarted")

    command = Command("c-1", "add", "s", "ada", "")
    granted = await grant(tally(orders.database), command, refuse, status_of=lambda _: "ACCEPTED")
    (row,) = await orders.rows("receipts")
    assert (granted.receipt.status, row["status"], row["code"], row["cut_off"]) == (
        "REJECTED", "REJECTED", "HAND_OVER_IN_PROGRESS", "HandOverStarted",
    )  # fmt: skip
    assert row["settled_at"] is not None
    assert await orders.rows("pii") == []


async def test_a_rehearsal_leaves_nothing(orders: Store):
    """Its answer is the real one's, and not even the receipt stays."""
    order_id = await place(orders)
    granted = await order_intake(orders).submit(
        "cancelOrder", order_id, Wish(), command_id="c-1", actor="ada", knock=True, rehearse=True
    )
    assert [type(fact).__name__ for fact in granted.facts] == ["CancelRequested"]
    assert [row["command_id"] for row in await orders.rows("receipts")] == ["place"]
    assert len(await orders.rows("knocks")) == 1


async def test_a_receipt_moves_forward_until_it_is_final(orders: Store):
    """What is final stays; what nobody asked for has no receipt."""

    async def advance(*steps: receipts.Advance) -> None:
        async with orders.database.transaction() as connection:
            await receipts.advance(connection, steps, 7)

    command = Command("c-1", "add", "s", "ada", "")
    await grant(tally(orders.database), command, adding(1), status_of=lambda _: "RECEIVED")
    await advance(receipts.Advance("c-1", "ACCEPTED"))
    (row,) = await orders.rows("receipts")
    assert (row["status"], row["settled_version"], row["answered_at"] is None) == ("ACCEPTED", None, False)
    await advance(receipts.Advance("c-1", "EFFECTIVE"), receipts.Advance("unknown", "EFFECTIVE"))
    await advance(receipts.Advance("c-1", "REJECTED", Code.ALREADY_ENDED, "too late"))
    (row,) = await orders.rows("receipts")
    assert (row["status"], row["code"], row["settled_version"]) == ("EFFECTIVE", None, 7)


async def test_a_wish_too_many_is_not_taken(orders: Store):
    """The thirty-first of a minute; the ones of another stream do not count."""
    await grant(
        tally(orders.database),
        Command("o", "add", "other", "ada", ""),
        adding(1),
        status_of=lambda _: "ACCEPTED",
    )
    for number in range(caps.PER_MINUTE):
        command = Command(f"c-{number}", "add", "s", "ada", "")
        await grant(tally(orders.database), command, adding(1), status_of=lambda _: "ACCEPTED")
    command = Command("c-31", "add", "s", "ada", "")
    with pytest.raises(TooMany) as caught:
        await grant(tally(orders.database), command, adding(1), status_of=lambda _: "ACCEPTED")
    assert caught.value.retry_after is not None
    assert timedelta() < caught.value.retry_after <= timedelta(minutes=1)


# What names a person.


async def test_the_first_content_of_a_version_stays(orders: Store):
    """Each kind and version for itself."""
    async with orders.database.transaction() as connection:
        await pii.put(connection, "r", "address", 1, {"street": "first"})
        await pii.put(connection, "r", "address", 1, {"street": "second"})
        await pii.put(connection, "r", "address", 2, {"street": "third"})
    async with orders.database.connection() as connection:
        assert await pii.get(connection, "r", "address", 1) == {"street": "first"}
        assert await pii.get(connection, "r", "address", 2) == {"street": "third"}
        assert await pii.get(connection, "r", "contact", 1) is None


# The stock.


def line(sku: str, quantity: int) -> LineItem:
    return LineItem(sku=sku, quantity=quantity, unit_price_minor=100)


async def level(store: Store, sku: str) -> tuple[int, int, int]:
    async with store.database.connection() as connection:
        found = {row["sku"]: row for row in await inventory.levels(connection)}
    return found[sku]["available"], found[sku]["held"], found[sku]["shipped"]


async def test_all_lines_are_held_or_none(orders: Store):
    """The article that is short is named, and the others stay where they are."""
    async with orders.database.transaction() as connection:
        assert await inventory.hold(connection, "o-1", [line("TEAPOT", 2), line("TEAPOT", 1)]) is None
        short = await inventory.hold(connection, "o-2", [line("SPOON", 1), line("KETTLE-LAST", 6)])
    assert short == "KETTLE-LAST"
    assert await level(orders, "TEAPOT") == (7, 3, 0)
    assert await level(orders, "SPOON") == (10, 0, 0)


async def test_stock_is_released_or_shipped_once(orders: Store):
    """Asked again nothing moves; what left is never available again."""
    for order_id in ("o-1", "o-2"):
        async with orders.database.transaction() as connection:
            await inventory.hold(connection, order_id, [line("TEAPOT", 2)])
            await inventory.confirm(connection, order_id)
    for _ in range(2):
        async with orders.database.transaction() as connection:
            await inventory.ship(connection, "o-1")
            await inventory.release(connection, "o-2")
            await inventory.release(connection, "o-1")
    assert await level(orders, "TEAPOT") == (8, 0, 2)
    states = {row["order_id"]: row["state"] for row in await orders.rows("stock_ledger")}
    assert states == {"o-1": "SHIPPED", "o-2": "RELEASED"}


async def test_an_unknown_article_is_named(orders: Store):
    """The first one that we do not sell."""
    with pytest.raises(Invalid, match=r"items\[1\]"):
        async with orders.database.connection() as connection:
            await inventory.known(connection, [line("TEAPOT", 1), line("NOTHING", 1)])


# Whole wishes.


async def test_an_order_is_placed_with_all_that_follows(orders: Store):
    """Its fact, its view, its record for the world, its knock and its personal data."""
    order_id = await place(orders)
    (fact,) = await orders.rows("events")
    assert (fact["stream"], fact["version"], fact["type"]) == (order.stream(order_id), 1, "OrderPlaced")
    (view,) = await orders.rows("order_view")
    assert (view["order_id"], view["status"], view["version"]) == (order_id, "PENDING", 1)
    (knock,) = await orders.rows("knocks")
    assert (knock["workflow_id"], knock["signal"]) == (order.workflow_id(order_id), "knock")
    assert {(row["kind"], row["version"]) for row in await orders.rows("pii")} == {
        ("address", 1), ("contact", 1), ("payment", 1),
    }  # fmt: skip
    assert len(await orders.rows("outbox")) == 1


async def test_an_address_has_a_version_of_its_own(orders: Store):
    """Two changes are two versions; a view that is older than the one shown changes nothing."""
    order_id, intake = await place(orders), order_intake(orders)
    for number in (1, 2):
        changes = UpdateOrder.model_validate(
            {"shippingAddress": ADDRESS.model_copy(update={"street": f"{number} Lane"}).model_dump()}
        )
        await intake.submit(
            "updateOrder", order_id, Wish(), command_id=f"a-{number}", actor="ada", changes=changes
        )
    (view,) = await orders.rows("order_view")
    assert (view["version"], view["document"]["addressVersion"]) == (3, 3)
    async with orders.database.connection() as connection:
        kept = await pii.get(connection, order.stream(order_id), "address", 3)
    assert (kept or {})["street"] == "2 Lane"


async def test_a_wish_on_another_version_is_refused(orders: Store):
    """The caller has to read again; nothing is stored, and an order nobody placed is not there."""
    order_id = await place(orders)
    with pytest.raises(Invalid):
        await order_intake(orders).submit(
            "cancelOrder", order_id, Wish(), command_id="c", actor="ada", expected_version=7
        )
    with pytest.raises(NotFound):
        await order_intake(orders).submit("cancelOrder", "nobody", Wish(), command_id="c", actor="ada")
    assert [row["command_id"] for row in await orders.rows("receipts")] == ["place"]


async def test_a_hold_is_placed_once(parcels: Store):
    """The same command again changes nothing; its fact, its receipt and one knock are there."""
    parcel, intake = await accept(parcels), parcel_intake(parcels)
    wish = Wish(payload=WishPayload(hold=Hold(handle="h", reason=HoldReason.QUALITY)))
    for _ in range(2):
        await intake.submit("applyHold", parcel, wish, command_id="h-1", actor="ada", knock=True)
    assert [row["type"] for row in await parcels.rows("events")] == ["FulfillmentAccepted", "HoldPlaced"]
    (view,) = await parcels.rows("fulfillment_view")
    assert (view["status"], view["document"]["holds"][0]["handle"]) == ("PAUSED", "h")
    assert [row["signal"] for row in await parcels.rows("knocks")] == ["applyHold"]


# Standing holds.


FROZEN = PlaceStandingHold(kind="sku", value="TEAPOT", reason=HoldReason.INVENTORY, handle="recall")


async def complete(store: Store, parcel: str, number: int) -> str:
    granted = await parcel_intake(store).submit(
        "completeStep",
        parcel,
        Wish(payload=WishPayload(step_key="pick:1")),
        command_id=f"step-{number}",
        actor="ada",
    )
    return granted.receipt.status


async def test_a_standing_hold_stops_what_matches_until_it_is_lifted(parcels: Store):
    """No step of such a parcel begins; lifted, each that waits is knocked, one after the other."""
    standing = standing_holds(parcels)
    await standing.place(FROZEN, command_id="f-1", actor="ada")
    waiting = [await accept(parcels, n) for n in (1, 2, 3)]
    journal = fulfillment_bootstrap.journal_of(parcels.database)
    for n, parcel in enumerate(waiting):
        assert await complete(parcels, parcel, n) == "REJECTED"
        async with parcels.database.connection() as connection:
            change = await journal.read(fulfillment.stream(parcel))
            assert change is not None
            (met,) = await standing.against(connection, change.state)
        assert (met.handle, met.standing) == ("standing:recall", True)
        await journal.change(fulfillment.stream(parcel), CAUSE, _meets(standing))
    lifted = await standing.lift("recall", drain_per_second=10, command_id="f-2", actor="ada")
    assert (lifted.answer or {})["knocked"] == 3
    knocks = await parcels.rows("knocks")
    assert [row["workflow_id"] for row in knocks] == [fulfillment.workflow_id(each) for each in waiting]
    pauses = [(row["due_at"] - knocks[0]["due_at"]).total_seconds() for row in knocks]
    assert pauses == pytest.approx([0, 0.1, 0.2])
    assert await complete(parcels, waiting[0], 9) != "REJECTED"


def _meets(standing: StandingHolds) -> Any:
    from fulfillment_service.fulfillment import steps  # noqa: PLC0415

    async def decide(connection: Connection, state: Any) -> Any:
        return steps.meet(state, await standing.against(connection, state))

    return decide


async def test_a_standing_hold_of_something_else_or_of_the_past_stops_nothing(parcels: Store):
    """Another article, and an end that is over; nobody can place one that is over already."""
    past, parcel = datetime.now(UTC) - timedelta(seconds=1), await accept(parcels)
    holds = standing_holds(parcels)
    await holds.place(FROZEN.model_copy(update={"value": "SPOON"}), command_id="f-0", actor="ada")
    with pytest.raises(Invalid):
        await holds.place(FROZEN.model_copy(update={"until": past}), command_id="f-1", actor="ada")

    async def place(connection: Connection, known: StandingHold | None) -> Sequence[StandingHoldEvent]:
        return standing.place(known, StandingHold("h", "sku", "TEAPOT", FROZEN.reason, "ada", past))

    await Journal[StandingHold, StandingHoldEvent](
        parcels.database,
        EventStore[StandingHoldEvent](STANDING_FACTS),
        evolve=standing.evolve,
        follow=follow,
    ).change("standing-h", CAUSE, place)
    assert await complete(parcels, parcel, 1) != "REJECTED"


async def test_a_handle_is_used_once(parcels: Store):
    """Also after it was lifted; a hold that never stood cannot be lifted."""
    standing = standing_holds(parcels)
    with pytest.raises(NotFound):
        await standing.lift("recall", command_id="f-0", actor="ada")
    await standing.place(FROZEN, command_id="f-1", actor="ada")
    await standing.lift("recall", command_id="f-2", actor="ada")
    again = await standing.place(FROZEN, command_id="f-3", actor="ada")
    assert again.receipt.code is Code.HANDLE_TAKEN
    (row,) = await parcels.rows("standing_holds")
    assert (row["handle"], row["lifted_by"]) == ("recall", "ada")


async def test_the_version_that_a_command_led_to_is_found(parcels: Store):
    """By the address's command, as the answer to the order needs it."""
    from fulfillment_service import activities  # noqa: PLC0415

    parcel = await accept(parcels)
    wish = Wish(payload=WishPayload(address=ADDRESS))
    await parcel_intake(parcels).submit("updateShippingAddress", parcel, wish, command_id="a-1", actor="ada")
    find: Any = vars(activities)["_address_version"]
    async with parcels.database.connection() as connection:
        assert await find(connection, fulfillment.stream(parcel), "a-1") == 2
        assert await find(connection, fulfillment.stream(parcel), "a-2") is None


async def test_an_unknown_statement_is_never_guessed():
    """SQL that nobody taught the twin is an error that names it."""
    stands_for = twin.Database(lambda: datetime.now(UTC))
    with pytest.raises(twin.UnknownStatement, match="select 1"):
        await stands_for.fetch("select  1 -- whatever")
