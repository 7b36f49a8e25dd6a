"""Stock that does not add up: the ledger against the streams, an article's figures against its ledger."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import LiteralString

from contracts import order as contract
from contracts.chassis.errors import Refused
from contracts.chassis.event_store import Cause
from contracts.chassis.housekeeping.open_streams import resolutions
from contracts.chassis.postgres import Connection, Database, Row
from contracts.chassis.reconciler import Finding, Kind, Repair, Rule, Seen
from contracts.chassis.settings import HousekeepingSettings
from order_service import inventory
from order_service.events import OrderEvent
from order_service.intake import OrderJournal
from order_service.order import Order

EVERY = timedelta(hours=1)
"""It reads the whole ledger."""
PAGE = 500

# One statement, one moment: an order that moves its stock just now is seen before or after.
_SUMS: LiteralString = """
    select
        sku,
        stock.held,
        coalesce(sum(quantity) filter (where state in ('HELD', 'CONFIRMED')), 0)::integer as held_by_orders,
        stock.shipped,
        coalesce(sum(quantity) filter (where state = 'SHIPPED'), 0)::integer as shipped_to_orders
    from stock
    left join stock_ledger using (sku)
    group by sku
    having stock.held <> coalesce(sum(quantity) filter (where state in ('HELD', 'CONFIRMED')), 0)
        or stock.shipped <> coalesce(sum(quantity) filter (where state = 'SHIPPED'), 0)
    order by sku
    """

_KEPT: LiteralString = """
    select
        order_id,
        array_agg(sku order by sku) as skus,
        max(order_view.stage) as stage,
        max(order_view.version) as version
    from stock_ledger
    left join order_view using (order_id)
    where order_id > %(after)s
      and state in ('HELD', 'CONFIRMED')
      and stock_ledger.moved_at < now() - %(quiet)s
      and (
          order_view.order_id is null
          or (order_view.stage in ('SHIPPED', 'CANCELLED', 'FAILED')
              and order_view.updated_at < now() - %(quiet)s)
      )
    group by order_id
    order by order_id
    limit %(limit)s
    """

_MISSING: LiteralString = """
    select order_id, version, step, status, document
    from order_view
    where order_id > %(after)s
      and step in ('authorize', 'confirm', 'start-fulfillment', 'await-outcome')
      and stage <> 'PENDING'
      and updated_at < now() - %(quiet)s
      and not exists (
          select from stock_ledger
          where stock_ledger.order_id = order_view.order_id and state in ('HELD', 'CONFIRMED')
      )
    order by order_id
    limit %(limit)s
    """


def stock_rule(database: Database, journal: OrderJournal, settings: HousekeepingSettings) -> Rule:
    """Looks at the stock as a whole, now and then: the sums, and then order by order, a page at a time."""

    async def look(cursor: str) -> Seen:
        asked = {"quiet": settings.quiet, "after": cursor, "limit": PAGE}
        sums = await database.fetch(_SUMS)
        kept = await database.fetch(_KEPT, **asked)
        missing = await database.fetch(_MISSING, **asked)
        wrong = {row["sku"] for row in sums}
        findings = [
            *map(_wrong_sum, sums),
            *(_kept(row, journal, is_safe=wrong.isdisjoint(row["skus"])) for row in kept),
            *map(_missing, missing),
        ]
        # Of two full pages the one that reached less far: what the other saw further on comes once more.
        full = [page[-1]["order_id"] for page in (kept, missing) if len(page) == PAGE]
        return Seen(findings, min(full, default=""), has_more=bool(full))

    return Rule("stock", look, EVERY, (Kind.STOCK_SUM, Kind.STOCK_KEPT, Kind.STOCK_MISSING))


def _wrong_sum(row: Row) -> Finding:
    found = {name: row[name] for name in ("held", "held_by_orders", "shipped", "shipped_to_orders")}
    return Finding(
        Kind.STOCK_SUM,
        row["sku"],
        f"stock-{row['sku']}",
        f"the figures of {row['sku']} are not the sum of its ledger",
        found,
        mark="/".join(map(str, found.values())),
    )


def _kept(row: Row, journal: OrderJournal, *, is_safe: bool) -> Finding:
    """`is_safe`: the articles' own figures agree with the ledger, so that moving both keeps them so."""
    order_id, has_shipped = row["order_id"], row["stage"] == "SHIPPED"
    move = partial(_move, journal, order_id)
    return Finding(
        Kind.STOCK_KEPT,
        order_id,
        contract.stream(order_id),
        f"stock is held for order {order_id}, which is {row['stage'] or 'unknown'}",
        {"articles": row["skus"], "stage": row["stage"]},
        version=row["version"],
        repair=Repair("SHIPPED" if has_shipped else "RELEASED", inside=move) if is_safe else None,
    )


async def _move(journal: OrderJournal, order_id: str, connection: Connection) -> None:
    """The ledger says what the stream says, which is read once more in the same transaction."""

    async def decide(connection: Connection, order: Order | None) -> Sequence[OrderEvent]:
        match order:
            case Order(stock="shipped"):
                await inventory.ship(connection, order_id)
            case Order(outcome="CANCELLED" | "FAILED"):
                await inventory.release(connection, order_id)
            case _:
                raise Refused("by its facts the order still needs its stock")
        return []

    stream = contract.stream(order_id)
    if await _is_unknown(connection, stream):
        await inventory.release(connection, order_id)
    else:
        await journal.change_in(connection, stream, Cause("reconciler"), decide)


async def _is_unknown(connection: Connection, stream: str) -> bool:
    found = await connection.queue("select 1 from events where stream = %s limit 1", (stream,))
    return await found.fetchone() is None


def _missing(row: Row) -> Finding:
    return Finding(
        Kind.STOCK_MISSING,
        row["order_id"],
        contract.stream(row["order_id"]),
        f"order {row['order_id']} has its stock by its facts, and not in the ledger",
        {"step": row["step"], "status": row["status"]},
        mark=f"v{row['version']}",
        version=row["version"],
        resolutions=resolutions(row),
    )
