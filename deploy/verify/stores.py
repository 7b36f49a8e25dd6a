"""Both services' databases, stream by stream: what is stored, what it means, and what the views show."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, LiteralString

import fulfillment_service.bootstrap as fulfillments
import order_service.bootstrap as orders
from contracts import fulfillment, order
from contracts.chassis.event_store import Change, Journal
from contracts.chassis.outbox import OutboxRecord
from contracts.chassis.postgres import Database, Row
from deploy.verify.comparing import Json, Stream, Told, Waiting
from fulfillment_service import projection as parcel_view
from fulfillment_service import publishing as parcel_news
from fulfillment_service.fulfillment import Fulfillment
from order_service import projection as order_view
from order_service import publishing as order_news
from order_service.order import Order, Step


@dataclass(frozen=True, slots=True)
class Keeper:
    """How one service keeps its streams."""

    journal_of: Callable[[Database], Journal[Any, Any]]
    records: Callable[[Change[Any, Any]], Iterator[OutboxRecord]]
    folded: Callable[[Any], Json]
    is_ended: Callable[[Any], bool]
    stream: Callable[[str], str]
    order_id_of: Callable[[str], str]
    """Of a stream. Raises ValueError for one that is no order's."""
    view: LiteralString
    """The rows of the service's own view, with an `id` for each."""


def _order(state: Order) -> Json:
    return {
        "stage": state.stage,
        "status": state.status,
        "payment_status": state.payment,
        "step": state.step,
        "document": order_view.document(state),
    }


def _parcel(state: Fulfillment) -> Json:
    return {
        "stage": state.stage,
        "status": state.status,
        "step": state.step,
        "document": parcel_view.document(state),
    }


ORDERS = Keeper(
    journal_of=orders.journal_of,
    records=order_news.records,
    folded=_order,
    is_ended=lambda state: state.step is Step.END,
    stream=order.stream,
    order_id_of=order.order_id_of,
    view="select *, order_id as id from order_view where order_id = any(%(orders)s)",
)
FULFILLMENTS = Keeper(
    journal_of=fulfillments.journal_of,
    records=parcel_news.records,
    folded=_parcel,
    is_ended=lambda state: state.is_ended,
    stream=fulfillment.stream,
    order_id_of=fulfillment.order_id_of,
    view="select *, fulfillment_id as id from fulfillment_view where order_id = any(%(orders)s)",
)

_STREAMS: LiteralString = "select distinct stream from events"
_FACTS: LiteralString = """
    select version, event_id::text as event_id
    from events
    where stream = %(stream)s
    order by version
    """
_OUTBOX: LiteralString = """
    select headers, body, published_at is not null as is_published
    from outbox
    where key = any(%(orders)s)
    order by id
    """
_INBOX: LiteralString = """
    select stream, sequence, event_id::text as event_id
    from inbox
    where stream = any(%(streams)s)
    order by stream, sequence
    """
_SHOWN_PARCELS: LiteralString = """
    select order_id, fulfillment, fulfillment_sequence
    from order_view
    where order_id = any(%(orders)s)
    """
_SHOWN_ORDERS: LiteralString = "select * from order_view where order_id = any(%(orders)s)"


class Stores:
    """Both databases."""

    def __init__(self, orders_database: Database, fulfillments_database: Database) -> None:
        self._orders = orders_database
        self._fulfillments = fulfillments_database
        self._names: list[Mapping[str, list[str]]] = []
        """Of the streams of each order, in either service."""

    async def order_ids(self) -> list[str]:
        """Every order that either service has a fact of, as of now."""
        self._names = [await _named(keeper, database) for keeper, database in self._kept()]
        return sorted(self._names[0].keys() | self._names[1].keys())

    async def streams(self, order_ids: Sequence[str]) -> dict[str, Stream]:
        """The streams of these orders and of their parcels, by name."""
        if not self._names:
            await self.order_ids()
        ours, parcels = [
            await _read_all(
                keeper, database, order_ids, [name for each in order_ids for name in names.get(each, ())]
            )
            for (keeper, database), names in zip(self._kept(), self._names, strict=True)
        ]
        await _heard(self._fulfillments, ours)
        await _heard(self._orders, parcels)
        await self._shown_elsewhere(order_ids, ours, parcels)
        return {**ours, **parcels}

    def _kept(self) -> tuple[tuple[Keeper, Database], tuple[Keeper, Database]]:
        return (ORDERS, self._orders), (FULFILLMENTS, self._fulfillments)

    async def _shown_elsewhere(
        self, order_ids: Sequence[str], ours: Mapping[str, Stream], parcels: Mapping[str, Stream]
    ) -> None:
        """What each service's view shows of the other one's streams."""
        for row in await self._orders.fetch(_SHOWN_PARCELS, orders=list(order_ids)):
            of_order = [stream for stream in parcels.values() if f"-{row['order_id']}-" in stream.name]
            # A second parcel takes the place of the first; which of their events came last is not known here.
            if len(of_order) == 1 and of_order[0].due:
                (parcel,) = of_order
                last = parcel.due[-1]
                parcel.heard = {"sequence": row["fulfillment_sequence"], "document": row["fulfillment"]}
                parcel.meant = {"sequence": last.sequence, "document": last.data}
        rows = await self._fulfillments.fetch(_SHOWN_ORDERS, orders=list(order_ids))
        shown = {order.stream(row["order_id"]): row for row in rows}
        for stream in ours.values():
            if stream.due:
                last, row = stream.due[-1], shown.get(stream.name)
                names = ("sequence", "status", "payment_status")
                stream.heard = {name: row[name] for name in names} if row else None
                stream.meant = {
                    "sequence": last.sequence,
                    "status": last.data["status"],
                    "payment_status": last.data["paymentStatus"],
                }


async def _named(keeper: Keeper, database: Database) -> Mapping[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for row in await database.fetch(_STREAMS):
        # What is no order's is not ours to judge.
        with suppress(ValueError):
            found[keeper.order_id_of(row["stream"])].append(row["stream"])
    return found


async def _read_all(
    keeper: Keeper, database: Database, order_ids: Sequence[str], stored: Sequence[str]
) -> dict[str, Stream]:
    wanted = list(order_ids)
    shown = {keeper.stream(row["id"]): row for row in await database.fetch(keeper.view, orders=wanted)}
    outbox: dict[str, list[Waiting]] = {}
    for row in await database.fetch(_OUTBOX, orders=wanted):
        subject, told = told_by(row["headers"], row["body"])
        waiting = Waiting(told.event_id, told.sequence, told.type, told.data, row["is_published"])
        outbox.setdefault(subject, []).append(waiting)
    journal = keeper.journal_of(database)
    return {
        name: await _read(
            keeper, database, journal, Stream(name, outbox=outbox.get(name, ())), shown.get(name)
        )
        for name in sorted({*stored, *shown})
    }


async def _read(
    keeper: Keeper, database: Database, journal: Journal[Any, Any], stream: Stream, row: Row | None
) -> Stream:
    """The stream with its facts, what they fold to and what is shown of it."""
    stream.facts = [
        (fact["version"], fact["event_id"]) for fact in await database.fetch(_FACTS, stream=stream.name)
    ]
    try:
        change = await journal.read(stream.name)
    except Exception as error:
        stream.trouble = type(error).__name__
        return stream
    if change is None:
        stream.trouble = "is shown and has no facts"
        return stream
    stream.is_ended = keeper.is_ended(change.state)
    stream.folded = _plain({**keeper.folded(change.state), "version": change.version})
    stream.shown = {name: row[name] for name in stream.folded} if row else None
    stream.due = [told_by(each.headers, each.body)[1] for each in keeper.records(change)]
    return stream


async def _heard(other: Database, streams: Mapping[str, Stream]) -> None:
    """Each stream knows what the other service took in of it."""
    found: dict[str, list[tuple[int, str]]] = {}
    for row in await other.fetch(_INBOX, streams=list(streams)):
        found.setdefault(row["stream"], []).append((row["sequence"], row["event_id"]))
    for name, stream in streams.items():
        stream.applied = found.get(name, [])


def told_by(headers: Mapping[str, str], body: bytes) -> tuple[str, Told]:
    """The stream that a record is about, and what it tells."""
    told = Told(headers["ce_id"], int(headers["ce_sequence"]), headers["ce_type"], json.loads(body))
    return headers["ce_subject"], told


def _plain(row: Json) -> Json:
    """As PostgreSQL gives it back."""
    return json.loads(json.dumps(row))
