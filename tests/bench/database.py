"""What both databases know of a round, asked in few and cheap queries."""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Self
from uuid import UUID

import psycopg

from deploy.local.stack import Stack

_LOOK_SECONDS = 0.2
_DATABASES = ("orders", "fulfillments")
_BODY = "x" * 400
"""As long as a fact of ours with its metadata."""


class BareTransactions:
    """Transactions that insert two rows and do nothing else, on a connection of their own."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute(
            "create table if not exists bench (id bigint generated always as identity, body text)"
        )

    def take(self, count: int) -> list[float]:
        """Milliseconds of each, one after the other."""
        taken: list[float] = []
        for _ in range(count):
            began = time.perf_counter()
            with self._connection.transaction():
                self._connection.execute("insert into bench (body) values (%s)", (_BODY,))
                self._connection.execute("insert into bench (body) values (%s)", (_BODY,))
            taken.append((time.perf_counter() - began) * 1000)
        return taken

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.execute("drop table bench")
        self._connection.close()


def wait_until_closed(stack: Stack, orders: int, *, within_seconds: float) -> None:
    """So many orders have their parcel shipped and their money captured. Raises TimeoutError."""
    deadline = time.monotonic() + within_seconds
    with psycopg.connect(stack.postgres_url("orders"), autocommit=True) as connection:
        while (closed := _closed(connection)) < orders:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{closed} of {orders} orders shipped within {within_seconds:g} s")
            time.sleep(_LOOK_SECONDS)


def _closed(connection: psycopg.Connection) -> int:
    row = connection.execute(
        "select count(*) from order_view where stage = 'SHIPPED' and payment_status = 'CAPTURED'"
    ).fetchone()
    return int(row[0]) if row else 0


def wait_until_published(stack: Stack, *, within_seconds: float = 30) -> None:
    """Both outboxes are empty. Raises TimeoutError."""
    deadline = time.monotonic() + within_seconds
    for database in _DATABASES:
        with psycopg.connect(stack.postgres_url(database), autocommit=True) as connection:
            while connection.execute("select 1 from outbox where published_at is null limit 1").fetchone():
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the outbox of {database} was not empty within {within_seconds:g} s")
                time.sleep(_LOOK_SECONDS)


def wait_until_heard(stack: Stack, order_ids: Sequence[str], *, within_seconds: float = 60) -> None:
    """Each service has applied all that the other one published of these orders. Raises TimeoutError."""
    deadline = time.monotonic() + within_seconds
    while (missing := len(_written(stack, order_ids)) - len(heard_after(stack, order_ids))) > 0:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{missing} events were not applied within {within_seconds:g} s")
        time.sleep(_LOOK_SECONDS)


def heard_after(stack: Stack, order_ids: Sequence[str]) -> list[float]:
    """Milliseconds from each outbox row's writing to its effect in the other service's view."""
    written = _written(stack, order_ids)
    found: list[float] = []
    for database in _DATABASES:
        with psycopg.connect(stack.postgres_url(database)) as connection:
            rows: list[tuple[UUID, datetime]] = connection.execute(
                "select event_id, applied_at from inbox where event_id = any(%s)", (list(written),)
            ).fetchall()
        found += [1000 * (at - written[event_id]).total_seconds() for event_id, at in rows]
    return found


def _written(stack: Stack, order_ids: Sequence[str]) -> dict[UUID, datetime]:
    written: dict[UUID, datetime] = {}
    for database in _DATABASES:
        with psycopg.connect(stack.postgres_url(database)) as connection:
            rows: list[tuple[str, datetime]] = connection.execute(
                "select headers ->> 'ce_id', created_at from outbox where key = any(%s)", (list(order_ids),)
            ).fetchall()
        written |= {UUID(event_id): at for event_id, at in rows}
    return written


def moments(stack: Stack, fact: str, order_ids: Sequence[str]) -> dict[str, float]:
    """When each order recorded that fact, in seconds since 1970."""
    streams = {f"order-{order_id}": order_id for order_id in order_ids}
    with psycopg.connect(stack.postgres_url("orders")) as connection:
        rows: list[tuple[str, datetime]] = connection.execute(
            "select stream, recorded_at from events where type = %s and stream = any(%s)",
            (fact, list(streams)),
        ).fetchall()
    return {streams[stream]: at.timestamp() for stream, at in rows}


def lags(stack: Stack, order_ids: Sequence[str]) -> list[float]:
    """Milliseconds from each outbox row's writing, just before its commit, to Kafka's acknowledgement."""
    found: list[float] = []
    for database in _DATABASES:
        with psycopg.connect(stack.postgres_url(database)) as connection:
            rows = connection.execute(
                """
                select extract(epoch from published_at - created_at) * 1000
                from outbox
                where key = any(%s)
                """,
                (list(order_ids),),
            ).fetchall()
        found += [float(row[0]) for row in rows]
    return found
