"""The stock: what each order holds, and what is left of each article; it moves with the facts or not at all.

Per article `initial = available + held + shipped` at every commit; a confirmed line still counts as held.
"""

from collections.abc import Sequence

from contracts.chassis.errors import Invalid
from contracts.chassis.postgres import Connection, Row
from contracts.values import Code, LineItem


async def known(connection: Connection, lines: Sequence[LineItem]) -> None:
    """Every article is one we sell. Raises Invalid naming the first that is not."""
    skus = [line.sku for line in lines]
    rows = await connection.execute("select sku from stock where sku = any(%s)", (skus,))
    found = {row["sku"] for row in await rows.fetchall()}
    for place, sku in enumerate(skus):
        if sku not in found:
            raise Invalid(
                f"items[{place}].sku is not an article of ours; see GET /stock", code=Code.UNKNOWN_SKU
            )


async def hold(connection: Connection, order_id: str, lines: Sequence[LineItem]) -> str | None:
    """Every line is held and None returned; or nothing is held and the article that is short returned."""
    wanted: dict[str, int] = {}
    for line in lines:
        wanted[line.sku] = wanted.get(line.sku, 0) + line.quantity
    # Locked in one order by everybody, see `_lock`.
    skus = sorted(wanted)
    rows = await connection.execute(
        "select sku, available from stock where sku = any(%s) order by sku for update", (skus,)
    )
    available = {row["sku"]: row["available"] for row in await rows.fetchall()}
    for sku in skus:
        if available.get(sku, 0) < wanted[sku]:
            return sku
    quantities = [wanted[sku] for sku in skus]
    await connection.queue(
        """
        update stock
        set available = available - moved.quantity,
            held = held + moved.quantity
        from unnest(%s::text[], %s::integer[]) as moved (sku, quantity)
        where stock.sku = moved.sku
        """,
        (skus, quantities),
    )
    await connection.queue(
        """
        insert into stock_ledger (order_id, sku, quantity, state)
        select %s, sku, quantity, 'HELD'
        from unnest(%s::text[], %s::integer[]) as moved (sku, quantity)
        """,
        (order_id, skus, quantities),
    )
    return None


async def confirm(connection: Connection, order_id: str) -> None:
    """What the order holds is confirmed: paid for, and waiting for the parcel."""
    await connection.queue(
        """
        update stock_ledger set state = 'CONFIRMED', moved_at = now()
        where order_id = %s and state = 'HELD'
        """,
        (order_id,),
    )


async def release(connection: Connection, order_id: str) -> None:
    """Whatever the order held or had confirmed is available again."""
    await _lock(connection, order_id)
    await connection.queue(
        """
        with released as (
            update stock_ledger set state = 'RELEASED', moved_at = now()
            where order_id = %s and state in ('HELD', 'CONFIRMED')
            returning sku, quantity
        )
        update stock
        set available = available + released.quantity,
            held = held - released.quantity
        from released
        where stock.sku = released.sku
        """,
        (order_id,),
    )


async def ship(connection: Connection, order_id: str) -> None:
    """What the order had confirmed has left the house."""
    await _lock(connection, order_id)
    await connection.queue(
        """
        with shipped as (
            update stock_ledger set state = 'SHIPPED', moved_at = now()
            where order_id = %s and state in ('HELD', 'CONFIRMED')
            returning sku, quantity
        )
        update stock
        set held = held - shipped.quantity,
            shipped = stock.shipped + shipped.quantity
        from shipped
        where stock.sku = shipped.sku
        """,
        (order_id,),
    )


async def _lock(connection: Connection, order_id: str) -> None:
    """The order's articles are locked, in the order of their names like everywhere.

    Two orders for the same articles would deadlock otherwise: an update locks in the order of its join."""
    await connection.queue(
        """
        select sku
        from stock
        where sku in (select sku from stock_ledger where order_id = %s)
        order by sku
        for update
        """,
        (order_id,),
    )


async def levels(connection: Connection) -> list[Row]:
    """Every article with what was there at first and where it is now."""
    rows = await connection.execute(
        "select sku, name, initial, available, held, shipped from stock order by sku"
    )
    return await rows.fetchall()
