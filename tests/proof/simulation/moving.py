"""What the SQL of relays and consumers means: outbox and leases, knocks, inbox and what it shows.

A published row leaves the twin's `outbox`; nobody reads it there again. A parked one stays for ever, so a run
in which a record can never be sent has no end.
"""

import json
from collections.abc import Sequence
from typing import Any

from contracts.chassis import outbox
from tests.proof.simulation.database import Row, Tables, plain, statement

BUCKETS = range(16)

# Leases.


@statement("""
    insert into outbox_relays (owner, seen_at) values (%(owner)s, clock_timestamp())
    on conflict (owner) do update set seen_at = excluded.seen_at
    """)
def be_present(tables: Tables, given: dict[str, Any]) -> int:
    tables.put("outbox_relays", (given["owner"],), {"owner": given["owner"], "seen_at": tables.now()})
    return 1


@statement("delete from outbox_relays where seen_at < now() - %(lease)s * 6")
def forget_absent(tables: Tables, given: dict[str, Any]) -> int:
    absent = [
        row for row in tables.all("outbox_relays") if row["seen_at"] < tables.now() - given["lease"] * 6
    ]
    for row in absent:
        tables.remove("outbox_relays", (row["owner"],))
    return len(absent)


@statement("select owner from outbox_relays where seen_at > now() - %(lease)s order by owner")
def alive(tables: Tables, given: dict[str, Any]) -> list[Row]:
    since = tables.now() - given["lease"]
    return [
        {"owner": owner}
        for owner in sorted(row["owner"] for row in tables.all("outbox_relays") if row["seen_at"] > since)
    ]


def _lease(tables: Tables, bucket: int) -> Row:
    free = {"bucket": bucket, "owner": None, "fence": 0, "expires_at": None}
    return tables.get("outbox_leases", bucket) or free


def _has_run_out(tables: Tables, lease: Row) -> bool:
    return lease["expires_at"] is None or lease["expires_at"] <= tables.now()


@statement("""
    update outbox_leases set expires_at = clock_timestamp() + %(lease)s
    where owner = %(owner)s and expires_at > clock_timestamp() returning bucket, fence
    """)
def renew(tables: Tables, given: dict[str, Any]) -> list[Row]:
    held = [
        lease
        for lease in (_lease(tables, bucket) for bucket in BUCKETS)
        if lease["owner"] == given["owner"] and not _has_run_out(tables, lease)
    ]
    for lease in held:
        tables.update("outbox_leases", (lease["bucket"],), expires_at=tables.now() + given["lease"])
    return [{"bucket": lease["bucket"], "fence": lease["fence"]} for lease in held]


@statement("""
    update outbox_leases set owner = null, expires_at = clock_timestamp()
    where owner = %(owner)s and bucket = any(%(buckets)s)
    """)
def release_leases(tables: Tables, given: dict[str, Any]) -> int:
    mine = [bucket for bucket in given["buckets"] if _lease(tables, bucket)["owner"] == given["owner"]]
    for bucket in mine:
        tables.update("outbox_leases", (bucket,), owner=None, expires_at=tables.now())
    return len(mine)


@statement("""
    update outbox_leases
    set owner = %(owner)s, fence = fence + 1, expires_at = clock_timestamp() + %(lease)s
    where bucket in (
        select bucket from outbox_leases where expires_at <= clock_timestamp()
        order by bucket limit %(wanted)s for update skip locked
    )
    returning bucket, fence
    """)
def acquire(tables: Tables, given: dict[str, Any]) -> list[Row]:
    free = [lease for lease in (_lease(tables, bucket) for bucket in BUCKETS) if _has_run_out(tables, lease)]
    taken: list[Row] = []
    for lease in free[: given["wanted"]]:
        row = lease | {
            "owner": given["owner"], "fence": lease["fence"] + 1, "expires_at": tables.now() + given["lease"],
        }  # fmt: skip
        tables.put("outbox_leases", (lease["bucket"],), row)
        taken.append({"bucket": row["bucket"], "fence": row["fence"]})
    return taken


# The outbox.


@statement("""
    delete from outbox
    where id in (
        select id from outbox where published_at < now() - %(keep)s limit %(limit)s for update skip locked
    )
    """)
def sweep(tables: Tables, given: Any) -> int:
    return 0


@statement(
    """
    select id, bucket, key, topic, headers, body, attempts, """
    + outbox.STORE
    + """ as store from outbox
    where bucket = any(%(buckets)s) and published_at is null and parked_at is null
      and next_attempt_at <= now()
      and not exists (
          select 1 from exceptions
          where exceptions.stream = outbox.headers ->> 'ce_subject'
            and exceptions.code = 'STORE_BEHIND' and exceptions.resolved_at is null
      )
      and not exists (
          select 1 from outbox as earlier
          where earlier.key = outbox.key and earlier.id < outbox.id and earlier.published_at is null
            and (earlier.parked_at is not null or earlier.next_attempt_at > now())
      )
    order by id limit %(limit)s
    """
)
def unpublished(tables: Tables, given: dict[str, Any]) -> list[Row]:
    found: list[Row] = []
    blocked: set[str] = set()
    names = ("id", "bucket", "key", "topic", "headers", "body", "attempts")
    for row in sorted(tables.all("outbox"), key=lambda row: row["id"]):
        if row["next_attempt_at"] > tables.now():
            blocked.add(row["key"])
        elif row["key"] not in blocked and row["bucket"] in given["buckets"]:
            found.append({name: row[name] for name in names} | {"store": ""})
    return found[: given["limit"]]


def _is_mine(tables: Tables, given: dict[str, Any], bucket: int) -> bool:
    fences = dict(zip(given["buckets"], given["fences"], strict=True))
    lease = _lease(tables, bucket)
    return lease["owner"] == given["owner"] and lease["fence"] == fences.get(bucket)


@statement("""
    with mine as (
        select lease.bucket from outbox_leases as lease
        join unnest(%(buckets)s::int[], %(fences)s::bigint[]) as read (bucket, fence)
            on read.bucket = lease.bucket and read.fence = lease.fence
        where lease.owner = %(owner)s for share of lease
    )
    update outbox set published_at = clock_timestamp(), last_error = null
    from mine where outbox.id = any(%(ids)s) and outbox.bucket = mine.bucket
    """)
def mark(tables: Tables, given: dict[str, Any]) -> int:
    rows = [row for number in given["ids"] if (row := tables.get("outbox", number))]
    mine = [row for row in rows if _is_mine(tables, given, row["bucket"])]
    for row in mine:
        tables.remove("outbox", (row["id"],))
    return len(mine)


@statement("""
    update outbox
    set attempts = attempts + 1, next_attempt_at = clock_timestamp() + %(pause)s, last_error = %(error)s,
        parked_at = case when %(parked)s then clock_timestamp() end
    from outbox_leases as lease
    where outbox.id = %(id)s and outbox.published_at is null and lease.bucket = outbox.bucket
      and lease.owner = %(owner)s and lease.fence = %(fence)s
    """)
def set_back(tables: Tables, given: dict[str, Any]) -> int:
    row = tables.get("outbox", given["id"])
    if row is None:
        return 0
    lease = _lease(tables, row["bucket"])
    if (lease["owner"], lease["fence"]) != (given["owner"], given["fence"]):
        return 0
    due_at = tables.now() + given["pause"]
    tables.update("outbox", (row["id"],), attempts=row["attempts"] + 1, next_attempt_at=due_at)
    return 1


# Knocks.


@statement("""
    update knocks set attempts = attempts + 1, due_at = clock_timestamp() + %(claim)s
    where id in (
        select id from knocks where due_at <= now() order by due_at limit %(limit)s for update skip locked
    )
    returning id, workflow_id, signal, command_id, attempts, traceparent
    """)
def claim_knocks(tables: Tables, given: dict[str, Any]) -> list[Row]:
    due = sorted((row for row in tables.all("knocks") if row["due_at"] <= tables.now()), key=_due)
    names = ("id", "workflow_id", "signal", "command_id", "attempts", "traceparent")
    claimed: list[Row] = []
    for row in due[: given["limit"]]:
        tables.update(
            "knocks", (row["id"],), attempts=row["attempts"] + 1, due_at=tables.now() + given["claim"]
        )
        claimed.append({name: row[name] for name in names} | {"attempts": row["attempts"] + 1})
    return claimed


def _due(row: Row) -> Any:
    return row["due_at"]


@statement("delete from knocks where id = any(%s)")
def forget_knocks(tables: Tables, given: Sequence[Any]) -> int:
    known = [number for number in given[0] if tables.get("knocks", number)]
    for number in known:
        tables.remove("knocks", (number,))
    return len(known)


@statement("update knocks set due_at = clock_timestamp() + %s, last_error = %s where id = %s")
def put_knock_off(tables: Tables, given: Sequence[Any]) -> int:
    pause, _, number = given
    if tables.get("knocks", number) is None:
        return 0
    tables.update("knocks", (number,), due_at=tables.now() + pause)
    return 1


# The inbox.


@statement("""
    select 1 from parked
    where consumer = %(consumer)s and order_id = any(%(orders)s) and outcome is null limit 1
    """)
def any_parked(tables: Tables, given: dict[str, Any]) -> list[Row]:
    found = (each for order_id in given["orders"] for each in _parked(tables, given["consumer"], order_id))
    return [{"?column?": 1} for _ in found][:1]


@statement("""
    select * from parked
    where consumer = %(consumer)s and order_id = %(order_id)s and outcome is null
    order by id limit 1 for update
    """)
def first_parked(tables: Tables, given: dict[str, Any]) -> list[Row]:
    return _parked(tables, given["consumer"], given["order_id"])[:1]


@statement("""
    insert into parked (
        consumer, identity, topic, partition, record_offset, order_id, headers, body, reason, first_failed_at
    )
    values (
        %(consumer)s, %(identity)s, %(topic)s, %(partition)s, %(offset)s, %(order_id)s, %(headers)s, %(body)s,
        %(reason)s, clock_timestamp() - %(failing_for)s
    )
    on conflict (consumer, identity) do nothing returning id, first_failed_at
    """)
def park(tables: Tables, given: dict[str, Any]) -> list[Row]:
    key = (given["consumer"], given["identity"])
    if tables.get("parked", *key) is not None:
        return []
    failed_at = tables.now() - given["failing_for"]
    row = given | {"id": tables.identity(), "first_failed_at": failed_at, "headers": plain(given["headers"])}
    tables.put("parked", key, row)
    return [{"id": row["id"], "first_failed_at": failed_at}]


def _parked(tables: Tables, consumer: str, order_id: str) -> list[Row]:
    """In a simulation nobody settles them."""
    return [row for row in tables.all("parked") if (row["consumer"], row["order_id"]) == (consumer, order_id)]


@statement("""
    insert into inbox (consumer, event_id, stream, sequence)
    select %(consumer)s, *
    from unnest(%(ids)s::uuid[], %(streams)s::text[], %(sequences)s::int[])
    on conflict do nothing returning event_id
    """)
def mark_received(tables: Tables, given: dict[str, Any]) -> list[Row]:
    """Unique both by the event and by its place in its stream."""
    new: list[Row] = []
    for event_id, stream, sequence in zip(given["ids"], given["streams"], given["sequences"], strict=True):
        key, place = (given["consumer"], event_id), (given["consumer"], stream, sequence)
        if tables.get("inbox", *key) is None and tables.get("inbox_places", *place) is None:
            tables.put("inbox", key, {"event_id": event_id, "stream": stream, "sequence": sequence})
            tables.put("inbox_places", place, {"event_id": event_id})
            new.append({"event_id": event_id})
    return new


@statement("select event_id from inbox where consumer = %s and event_id = any(%s)")
def known_events(tables: Tables, given: Sequence[Any]) -> list[Row]:
    consumer, ids = given
    return [{"event_id": each} for each in dict.fromkeys(ids) if tables.get("inbox", consumer, each)]


@statement("""
    insert into heard (order_id, stream, sequence, type, at, data)
    select *
    from unnest(
        %(orders)s::text[], %(streams)s::text[], %(sequences)s::int[],
        %(types)s::text[], %(times)s::timestamptz[], %(data)s::jsonb[]
    )
    on conflict do nothing
    """)
def hear(tables: Tables, given: dict[str, Any]) -> int:
    columns = ("orders", "streams", "sequences", "types", "times", "data")
    rows = list(zip(*(given[name] for name in columns), strict=True))
    for order_id, stream, sequence, kind, at, data in rows:
        row = {"order_id": order_id, "type": kind, "at": at, "data": json.loads(data)}
        if tables.get("heard", stream, sequence) is None:
            tables.put("heard", (stream, sequence), row)
    return len(rows)


@statement("""
    update order_view
    set fulfillment = %(data)s, fulfillment_sequence = %(sequence)s, fulfillment_at = %(at)s
    where order_id = %(order_id)s and fulfillment_sequence < %(sequence)s
    """)
def show_fulfillment_of_order(tables: Tables, given: dict[str, Any]) -> int:
    row = tables.get("order_view", given["order_id"])
    if row is None or row.get("fulfillment_sequence", 0) >= given["sequence"]:
        return 0
    tables.update(
        "order_view",
        (given["order_id"],),
        fulfillment=plain(given["data"]),
        fulfillment_sequence=given["sequence"],
        fulfillment_at=given["at"],
    )
    return 1


@statement("""
    insert into order_view (order_id, status, payment_status, sequence, at)
    values (%(order_id)s, %(status)s, %(payment_status)s, %(sequence)s, %(at)s)
    on conflict (order_id) do update
    set status = excluded.status, payment_status = excluded.payment_status, sequence = excluded.sequence,
        at = excluded.at
    where order_view.sequence < excluded.sequence
    """)
def show_order_of_parcel(tables: Tables, given: dict[str, Any]) -> int:
    before = tables.get("order_view", given["order_id"])
    if before is not None and before["sequence"] >= given["sequence"]:
        return 0
    tables.put("order_view", (given["order_id"],), dict(given))
    return 1
