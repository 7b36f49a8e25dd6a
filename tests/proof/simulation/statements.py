"""What each SQL statement of our code means, in Python over tables in memory."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from contracts.chassis.errors import Conflict
from tests.proof.simulation.database import Row, Tables, plain, statement

# The event store.


@statement("select pg_advisory_xact_lock(hashtextextended(%s, 0))")
def lock(tables: Tables, given: Sequence[Any]) -> list[Row]:
    """Nobody else is here."""
    return [{"pg_advisory_xact_lock": ""}]


@statement("""
    select stream, version, event_id, type, schema_version, data::text as data, meta ->> 'actor' as actor,
        meta ->> 'commandId' as command_id, meta ->> 'causationId' as causation_id,
        meta ->> 'traceparent' as traceparent, recorded_at, clock_timestamp() as now, is_behind
    from (
        select exists (
            select 1 from exceptions
            where exceptions.stream = %s and code = 'STORE_BEHIND' and resolved_at is null
        ) as is_behind
    ) as here
    left join events on stream = %s and version > %s order by version
    """)
def load(tables: Tables, given: Sequence[Any]) -> list[Row]:
    """No store is put back here, so nobody knows of more than there is."""
    found = _facts(tables, *given[1:]) or [{"version": None}]
    # Written into the very row, by which its reader knows it again.
    found[0] |= {"now": tables.now(), "is_behind": False}
    return found


def _facts(tables: Tables, stream: str, version: int = 0) -> list[Row]:
    found: list[Row] = []
    events = tables.rows("events")
    while row := events.get((stream, version + 1)):
        found.append(row)
        version += 1
    return found


@statement("""
    insert into events (stream, version, event_id, type, schema_version, data, meta, recorded_at)
    values (%s, %s, %s, %s, %s, %s::jsonb, %s::jsonb, %s)
    """)
def append(tables: Tables, given: Sequence[Any]) -> int:
    stream, version, event_id, kind, schema_version, data, meta, recorded_at = given
    if tables.get("events", stream, version) is not None:
        raise Conflict
    said = json.loads(meta)
    row = {
        "stream": stream,
        "version": version,
        "event_id": UUID(str(event_id)),
        "type": kind,
        "schema_version": schema_version,
        "data": data,
        "actor": said.get("actor"),
        "command_id": said.get("commandId"),
        "causation_id": said.get("causationId"),
        "traceparent": said.get("traceparent"),
        "recorded_at": recorded_at,
        "place": tables.place(),
    }
    tables.put("events", (stream, version), row)
    tables.put("streams", (stream,), {"stream": stream, "version": version})
    return 1


@statement("select max(version) as version from events where stream = %s")
def last_version(tables: Tables, given: Sequence[Any]) -> list[Row]:
    last = tables.get("streams", given[0])
    return [{"version": last["version"] if last else None}]


@statement("""
    select (data ->> 'version')::integer as version from events
    where stream = %s and type = 'AddressChanged' and data ->> 'command_id' = %s
    """)
def address_of_command(tables: Tables, given: Sequence[Any]) -> list[Row]:
    stream, command_id = given
    changed = [row for row in _facts(tables, stream) if row["type"] == "AddressChanged"]
    data = [json.loads(row["data"]) for row in changed]
    return [{"version": each["version"]} for each in data if each.get("command_id") == command_id]


# Receipts.

_RECEIPT = (
    "command_id", "name", "stream", "actor", "request_hash", "status", "code", "detail", "cut_off",
    "first_version", "last_version", "settled_version", "answer", "received_at", "answered_at", "settled_at",
)  # fmt: skip


@statement("""
    insert into receipts (command_id, name, stream, actor, request_hash) values (%s, %s, %s, %s, %s)
    on conflict (command_id) do nothing returning command_id
    """)
def claim(tables: Tables, given: Sequence[Any]) -> list[Row]:
    command_id = given[0]
    if tables.get("receipts", command_id) is not None:
        return []
    row = dict.fromkeys(_RECEIPT) | dict(zip(_RECEIPT, given, strict=False))
    tables.put("receipts", (command_id,), row | {"status": "RECEIVED", "received_at": tables.now()})
    return [{"command_id": command_id}]


@statement("select * from receipts where command_id = %(command_id)s")
def receipt(tables: Tables, given: dict[str, Any]) -> list[Row]:
    row = tables.get("receipts", given["command_id"])
    return [row] if row else []


@statement("""
    update receipts set status = %(status)s, code = %(code)s, detail = %(detail)s, cut_off = %(cut_off)s,
        first_version = %(first)s, last_version = %(last)s, answer = %(answer)s,
        answered_at = case when %(status)s <> 'RECEIVED' then now() end,
        settled_at = case when %(is_final)s then now() end
    where command_id = %(command_id)s
    """)
def answer(tables: Tables, given: dict[str, Any]) -> int:
    tables.update(
        "receipts",
        (given["command_id"],),
        status=given["status"],
        code=given["code"],
        detail=given["detail"],
        cut_off=given["cut_off"],
        first_version=given["first"],
        last_version=given["last"],
        answer=plain(given["answer"]),
        answered_at=tables.now() if given["status"] != "RECEIVED" else None,
        settled_at=tables.now() if given["is_final"] else None,
    )
    return 1


@statement("""
    update receipts set status = %(status)s, code = coalesce(%(code)s, code),
        detail = coalesce(%(detail)s, detail), cut_off = coalesce(%(cut_off)s, cut_off),
        answered_at = coalesce(answered_at, now()), settled_at = case when %(is_final)s then now() end,
        settled_version = case when %(is_final)s then %(version)s::integer end
    where command_id = %(command_id)s and status in ('RECEIVED', 'ACCEPTED')
    """)
def advance(tables: Tables, given: dict[str, Any]) -> int:
    row = tables.get("receipts", given["command_id"])
    if row is None or row["status"] not in ("RECEIVED", "ACCEPTED"):
        return 0
    tables.update(
        "receipts",
        (given["command_id"],),
        status=given["status"],
        code=_or(given["code"], row["code"]),
        detail=_or(given["detail"], row["detail"]),
        cut_off=_or(given["cut_off"], row["cut_off"]),
        answered_at=_or(row["answered_at"], tables.now()),
        settled_at=tables.now() if given["is_final"] else None,
        settled_version=given["version"] if given["is_final"] else None,
    )
    return 1


@statement("""
    select
        (
            select count(*) from receipts
            where stream = %(stream)s and code is distinct from 'TOO_MANY_WISHES'
        ) as life,
        (
            select extract(epoch from received_at + interval '1 minute' - now())::float from receipts
            where stream = %(stream)s and code is distinct from 'TOO_MANY_WISHES'
            order by received_at desc offset %(per_minute)s - 1 limit 1
        ) as free_in_seconds
    """)
def count_wishes(tables: Tables, given: dict[str, Any]) -> list[Row]:
    moments = sorted(
        (
            row["received_at"]
            for row in tables.all("receipts")
            if row["stream"] == given["stream"] and row["code"] != "TOO_MANY_WISHES"
        ),
        reverse=True,
    )
    free = None
    if len(moments) >= given["per_minute"]:
        free = (moments[given["per_minute"] - 1] + timedelta(minutes=1) - tables.now()).total_seconds()
    return [{"life": len(moments), "free_in_seconds": free}]


# What leaves the database, and what names a person.


@statement("insert into outbox (bucket, key, topic, headers, body) values (%s, %s, %s, %s, %s)")
def publish(tables: Tables, given: Sequence[Any]) -> int:
    bucket, key, topic, headers, body = given
    number = tables.identity()
    row = {
        "id": number,
        "bucket": bucket,
        "key": key,
        "topic": topic,
        "headers": plain(headers),
        "body": body,
        "attempts": 0,
        "next_attempt_at": tables.now(),
    }
    tables.put("outbox", (number,), row)
    return 1


@statement("""
    insert into knocks (workflow_id, signal, command_id, traceparent)
    values (
        %(workflow_id)s,
        %(signal)s,
        %(command_id)s,
        coalesce(
            (select traceparent from knocks where workflow_id = %(workflow_id)s order by id limit 1),
            %(traceparent)s
        )
    )
    """)
def knock(tables: Tables, given: Mapping[str, Any]) -> int:
    waiting = (row for row in tables.all("knocks") if row["workflow_id"] == given["workflow_id"])
    first = next(waiting, given)
    traceparent = first["traceparent"] or given["traceparent"]
    _knock(tables, **{**given, "traceparent": traceparent}, due_at=tables.now())
    return 1


@statement("""
    insert into knocks (workflow_id, signal, traceparent, due_at)
    select workflow_id, 'knock', %s, now() + (place - 1) / %s::float * interval '1 second'
    from unnest(%s::text[]) with ordinality as listed (workflow_id, place)
    """)
def knock_one_by_one(tables: Tables, given: Sequence[Any]) -> int:
    traceparent, per_second, workflow_ids = given
    for place, workflow_id in enumerate(workflow_ids):
        due_at = tables.now() + timedelta(seconds=place / per_second)
        _knock(tables, workflow_id, "knock", None, traceparent, due_at)
    return len(workflow_ids)


def _knock(
    tables: Tables,
    workflow_id: str,
    signal: str,
    command_id: str | None,
    traceparent: str | None,
    due_at: datetime,
) -> None:
    number = tables.identity()
    row = {
        "id": number,
        "workflow_id": workflow_id,
        "signal": signal,
        "command_id": command_id,
        "traceparent": traceparent,
        "due_at": due_at,
        "attempts": 0,
    }
    tables.put("knocks", (number,), row)


@statement("""
    insert into pii (ref, kind, version, content) values (%s, %s, %s, %s)
    on conflict (ref, kind, version) do nothing
    """)
def keep_personal(tables: Tables, given: Sequence[Any]) -> int:
    ref, kind, version, content = given
    if tables.get("pii", ref, kind, version) is not None:
        return 0
    row = {"ref": ref, "kind": kind, "version": version, "content": plain(content)}
    tables.put("pii", (ref, kind, version), row)
    return 1


@statement("select content from pii where ref = %s and kind = %s and version = %s")
def personal(tables: Tables, given: Sequence[Any]) -> list[Row]:
    row = tables.get("pii", *given)
    return [{"content": row["content"]}] if row else []


# The views.


@statement("""
    insert into order_view (
        order_id, customer_id, stage, status, payment_status, step, version, document, placed_at, updated_at
    )
    values (
        %(order_id)s, %(customer_id)s, %(stage)s, %(status)s, %(payment)s, %(step)s, %(version)s,
        %(document)s, %(at)s, %(at)s
    )
    on conflict (order_id) do update
    set stage = excluded.stage, status = excluded.status, payment_status = excluded.payment_status,
        step = excluded.step, version = excluded.version, document = excluded.document,
        updated_at = excluded.updated_at
    where order_view.version < excluded.version
    """)
def show_order(tables: Tables, given: dict[str, Any]) -> int:
    return _show(tables, "order_view", given["order_id"], given)


@statement("""
    insert into fulfillment_view (
        fulfillment_id, order_id, n, stage, status, step, version, document, accepted_at, updated_at
    )
    values (
        %(fulfillment_id)s, %(order_id)s, %(n)s, %(stage)s, %(status)s, %(step)s, %(version)s, %(document)s,
        %(at)s, %(at)s
    )
    on conflict (fulfillment_id) do update
    set stage = excluded.stage, status = excluded.status, step = excluded.step, version = excluded.version,
        document = excluded.document, updated_at = excluded.updated_at
    where fulfillment_view.version < excluded.version
    """)
def show_fulfillment(tables: Tables, given: dict[str, Any]) -> int:
    return _show(tables, "fulfillment_view", given["fulfillment_id"], given)


def _show(tables: Tables, table: str, key: str, given: dict[str, Any]) -> int:
    before = tables.get(table, key)
    if before is not None and before["version"] >= given["version"]:
        return 0
    tables.put(table, (key,), (before or {}) | given | {"document": plain(given["document"])})
    return 1


# Calls to providers.


@statement("""
    insert into external_calls as known (provider_key, provider, operation, stream)
    values (%(provider_key)s, %(provider)s, %(operation)s, %(stream)s)
    on conflict (provider_key) do update
    set attempts = known.attempts + (known.answered_at is null)::integer,
        status = case known.status when 'INTENT' then 'UNKNOWN' else known.status end
    returning status, answer, error
    """)
def begin_call(tables: Tables, given: dict[str, Any]) -> list[Row]:
    key = given["provider_key"]
    known = tables.get("external_calls", key)
    if known is None:
        call = given | {"status": "INTENT", "attempts": 1, "answer": None, "error": None, "answered_at": None}
        tables.put("external_calls", (key,), call)
    elif known["answered_at"] is None:
        tables.update("external_calls", (key,), attempts=known["attempts"] + 1, status="UNKNOWN")
    return _call(tables, key)


@statement("""
    update external_calls as known
    set status = case when answered_at is null then %(status)s else known.status end,
        answer = case when answered_at is null then %(answer)s else known.answer end,
        error = case when answered_at is null then %(error)s else known.error end,
        answered_at = coalesce(answered_at, now())
    where provider_key = %(provider_key)s returning status, answer, error
    """)
def end_call(tables: Tables, given: dict[str, Any]) -> list[Row]:
    key = given["provider_key"]
    known = tables.get("external_calls", key)
    if known is not None and known["answered_at"] is None:
        tables.update(
            "external_calls",
            (key,),
            status=given["status"],
            answer=plain(given["answer"]),
            error=given["error"],
            answered_at=tables.now(),
        )
    return _call(tables, key)


@statement("""
    update external_calls set status = 'UNKNOWN', error = %(error)s
    where provider_key = %(provider_key)s and answered_at is null
    """)
def leave_call_open(tables: Tables, given: dict[str, Any]) -> int:
    known = tables.get("external_calls", given["provider_key"])
    if known is None or known["answered_at"] is not None:
        return 0
    tables.update("external_calls", (given["provider_key"],), status="UNKNOWN", error=given["error"])
    return 1


def _call(tables: Tables, key: str) -> list[Row]:
    row = tables.get("external_calls", key)
    return [{name: row[name] for name in ("status", "answer", "error")}] if row else []


# Circuit breakers.

_CIRCUIT = """
    select *, extract(epoch from open_until - now())::float as open_seconds,
        extract(epoch from probe_until - now())::float as probe_seconds
    from circuit_breakers where name = %(name)s
    """


@statement(_CIRCUIT)
@statement(_CIRCUIT + " for update")
def circuit(tables: Tables, given: dict[str, Any]) -> list[Row]:
    row = tables.get("circuit_breakers", given["name"])
    if row is None:
        return []
    left = {
        f"{name}_seconds": (row[f"{name}_until"] - tables.now()).total_seconds()
        if row[f"{name}_until"]
        else None
        for name in ("open", "probe")
    }
    return [row | left]


@statement("""
    update circuit_breakers
    set state = %(state)s, failures = %(failures)s,
        open_until = now() + make_interval(secs => %(open_seconds)s::float),
        probe_until = now() + make_interval(secs => %(probe_seconds)s::float),
        changed_at = case when state = %(state)s then changed_at else now() end
    where name = %(name)s
    """)
def turn_circuit(tables: Tables, given: dict[str, Any]) -> int:
    row = tables.get("circuit_breakers", given["name"])
    assert row is not None
    until = {
        f"{name}_until": tables.now() + timedelta(seconds=given[f"{name}_seconds"])
        if given[f"{name}_seconds"] is not None
        else None
        for name in ("open", "probe")
    }
    changed_at = row["changed_at"] if row["state"] == given["state"] else tables.now()
    turned = {name: given[name] for name in ("state", "failures")}
    tables.update("circuit_breakers", (given["name"],), **turned, **until, changed_at=changed_at)
    return 1


@statement("""
    insert into circuit_breaker_transitions (breaker, from_state, to_state, reason, actor)
    values (%(name)s, %(from)s, %(to)s, %(reason)s, %(actor)s)
    """)
def note_turn(tables: Tables, given: dict[str, Any]) -> int:
    tables.put("circuit_breaker_transitions", (tables.identity(),), given)
    return 1


# What waits for a person.


@statement("""
    insert into exceptions (
        id, stream, subject, code, fault, step, reason, evidence, resolutions, raised_at
    )
    values (
        %(id)s, %(stream)s, %(subject)s, %(code)s, %(fault)s, %(step)s, %(reason)s, %(evidence)s,
        %(resolutions)s, coalesce(%(raised_at)s, clock_timestamp())
    )
    on conflict (stream, code, step) where resolved_at is null do update
    set fault = excluded.fault, reason = excluded.reason, evidence = excluded.evidence,
        resolutions = excluded.resolutions
    returning id
    """)
def raise_exception(tables: Tables, given: dict[str, Any]) -> list[Row]:
    told = {name: given[name] for name in ("fault", "reason", "resolutions")}
    told["evidence"] = plain(given["evidence"])
    if known := _open_exception(tables, given):
        tables.update("exceptions", (known["id"],), **told)
        return [{"id": known["id"]}]
    raised_at = given["raised_at"] or tables.now()
    row = given | told | {"raised_at": raised_at, "resolved_at": None, "claimed_by": None, "claimed_at": None}
    tables.put("exceptions", (given["id"],), row)
    return [{"id": given["id"]}]


@statement("""
    update exceptions
    set resolved_at = clock_timestamp(), resolution = %(resolution)s, resolved_by = %(by)s
    where stream = %(stream)s and code = %(code)s and step is not distinct from %(step)s
        and resolved_at is null
    """)
def resolve_exception(tables: Tables, given: dict[str, Any]) -> int:
    known = _open_exception(tables, given)
    if known is None:
        return 0
    said = {"resolution": given["resolution"], "resolved_by": given["by"]}
    tables.update("exceptions", (known["id"],), resolved_at=tables.now(), **said)
    return 1


_EXCEPTIONS = "select *, extract(epoch from now() - raised_at)::float as age_seconds from exceptions "


@statement(
    _EXCEPTIONS
    + """
    where (resolved_at is null or %(resolved)s)
      and (%(subject)s::text is null or subject = %(subject)s)
      and (%(code)s::text is null or code = %(code)s)
      and (%(after_at)s::timestamptz is null or (raised_at, id) > (%(after_at)s, %(after_id)s::uuid))
    order by raised_at, id limit %(limit)s
    """
)
def page_of_exceptions(tables: Tables, given: dict[str, Any]) -> list[Row]:
    """Simulated people look at the first page."""
    shown = [row for row in tables.all("exceptions") if row["resolved_at"] is None or given["resolved"]]
    shown.sort(key=lambda row: (row["raised_at"], row["id"]))
    return shown[: given["limit"]]


@statement(_EXCEPTIONS + "where id = %(id)s")
def find_exception(tables: Tables, given: dict[str, Any]) -> list[Row]:
    row = tables.get("exceptions", given["id"])
    return [row] if row else []


@statement("""
    update exceptions set claimed_by = %(by)s, claimed_at = coalesce(claimed_at, now())
    where id = %(id)s and resolved_at is null and (claimed_by is null or claimed_by = %(by)s)
    returning id
    """)
def claim_exception(tables: Tables, given: dict[str, Any]) -> list[Row]:
    row = tables.get("exceptions", given["id"])
    if row is None or row["resolved_at"] or row["claimed_by"] not in (None, given["by"]):
        return []
    tables.update("exceptions", (row["id"],), claimed_by=given["by"], claimed_at=tables.now())
    return [{"id": row["id"]}]


def _open_exception(tables: Tables, given: dict[str, Any]) -> Row | None:
    about = [given[name] for name in ("stream", "code", "step")]
    return next(
        (
            row
            for row in tables.all("exceptions")
            if row["resolved_at"] is None and [row[name] for name in ("stream", "code", "step")] == about
        ),
        None,
    )


# Standing holds.


@statement("select pg_advisory_xact_lock(7236002)")
def lock_alone(tables: Tables, given: Any) -> list[Row]:
    return [{"pg_advisory_xact_lock": ""}]


@statement("select pg_advisory_xact_lock_shared(7236002)")
def lock_together(tables: Tables, given: Any) -> list[Row]:
    return [{"pg_advisory_xact_lock_shared": ""}]


@statement("""
    select handle, reason, holder, until from standing_holds
    where lifted_at is null and (until is null or until > now())
        and (kind, value) in (select * from unnest(%(kinds)s::text[], %(values)s::text[]))
    order by placed_at, handle
    """)
def stand_against(tables: Tables, given: dict[str, Any]) -> list[Row]:
    marks = set(zip(given["kinds"], given["values"], strict=True))
    found = [
        row
        for row in tables.all("standing_holds")
        if row["lifted_at"] is None
        and (row["until"] is None or row["until"] > tables.now())
        and (row["kind"], row["value"]) in marks
    ]
    found.sort(key=lambda row: (row["placed_at"], row["handle"]))
    return [{name: row[name] for name in ("handle", "reason", "holder", "until")} for row in found]


@statement("""
    select fulfillment_id from fulfillment_view
    where document -> 'holds' <> '[]'::jsonb
        and document -> 'holds' @> jsonb_build_array(jsonb_build_object('handle', %(handle)s::text))
        and step <> 'end'
    order by accepted_at, fulfillment_id
    """)
def wait_for_hold(tables: Tables, given: dict[str, Any]) -> list[Row]:
    return [
        {"fulfillment_id": row["fulfillment_id"]}
        for row in tables.all("fulfillment_view")
        if row["step"] != "end" and given["handle"] in {hold["handle"] for hold in row["document"]["holds"]}
    ]


@statement("""
    insert into standing_holds (handle, kind, value, reason, holder, until, placed_at, command_id)
    values (
        %(handle)s, %(kind)s, %(value)s, %(reason)s, %(holder)s, %(until)s, %(placed_at)s, %(command_id)s
    )
    """)
def place_standing(tables: Tables, given: dict[str, Any]) -> int:
    tables.put("standing_holds", (given["handle"],), given | {"lifted_at": None, "lifted_by": None})
    return 1


@statement("""
    update standing_holds set lifted_at = %(lifted_at)s, lifted_by = %(lifted_by)s where handle = %(handle)s
    """)
def lift_standing(tables: Tables, given: dict[str, Any]) -> int:
    tables.update(
        "standing_holds", (given["handle"],), lifted_at=given["lifted_at"], lifted_by=given["lifted_by"]
    )
    return 1


# The stock.


@statement("select sku from stock where sku = any(%s)")
def known_articles(tables: Tables, given: Sequence[Any]) -> list[Row]:
    return [{"sku": sku} for sku in dict.fromkeys(given[0]) if tables.get("stock", sku)]


@statement("select sku, available from stock where sku = any(%s) order by sku for update")
def available(tables: Tables, given: Sequence[Any]) -> list[Row]:
    found = (tables.get("stock", sku) for sku in sorted(set(given[0])))
    return [{"sku": row["sku"], "available": row["available"]} for row in found if row]


@statement("""
    update stock set available = available - moved.quantity, held = held + moved.quantity
    from unnest(%s::text[], %s::integer[]) as moved (sku, quantity) where stock.sku = moved.sku
    """)
def hold(tables: Tables, given: Sequence[Any]) -> int:
    skus, quantities = given
    for sku, quantity in zip(skus, quantities, strict=True):
        _move(tables, sku, available=-quantity, held=quantity)
    return len(skus)


@statement("""
    insert into stock_ledger (order_id, sku, quantity, state) select %s, sku, quantity, 'HELD'
    from unnest(%s::text[], %s::integer[]) as moved (sku, quantity)
    """)
def note_held(tables: Tables, given: Sequence[Any]) -> int:
    order_id, skus, quantities = given
    for sku, quantity in zip(skus, quantities, strict=True):
        if tables.get("stock_ledger", order_id, sku) is not None:
            raise psycopg.errors.UniqueViolation("stock_ledger_pkey")
        row = {"order_id": order_id, "sku": sku, "quantity": quantity, "state": "HELD"}
        tables.put("stock_ledger", (order_id, sku), row)
    return len(skus)


@statement("""
    update stock_ledger set state = 'CONFIRMED', moved_at = now() where order_id = %s and state = 'HELD'
    """)
def confirm(tables: Tables, given: Sequence[Any]) -> int:
    return len(_moved(tables, given[0], "CONFIRMED", since=("HELD",)))


@statement("""
    with released as (
        update stock_ledger set state = 'RELEASED', moved_at = now()
        where order_id = %s and state in ('HELD', 'CONFIRMED') returning sku, quantity
    )
    update stock set available = available + released.quantity, held = held - released.quantity
    from released where stock.sku = released.sku
    """)
def release(tables: Tables, given: Sequence[Any]) -> int:
    moved = _moved(tables, given[0], "RELEASED", since=("HELD", "CONFIRMED"))
    for line in moved:
        _move(tables, line["sku"], available=line["quantity"], held=-line["quantity"])
    return len(moved)


@statement("""
    with shipped as (
        update stock_ledger set state = 'SHIPPED', moved_at = now()
        where order_id = %s and state in ('HELD', 'CONFIRMED') returning sku, quantity
    )
    update stock set held = held - shipped.quantity, shipped = stock.shipped + shipped.quantity
    from shipped where stock.sku = shipped.sku
    """)
def ship(tables: Tables, given: Sequence[Any]) -> int:
    moved = _moved(tables, given[0], "SHIPPED", since=("HELD", "CONFIRMED"))
    for line in moved:
        _move(tables, line["sku"], held=-line["quantity"], shipped=line["quantity"])
    return len(moved)


@statement("""
    select sku from stock where sku in (select sku from stock_ledger where order_id = %s)
    order by sku for update
    """)
def lock_articles(tables: Tables, given: Sequence[Any]) -> list[Row]:
    """Nobody else is here."""
    held = (row["sku"] for row in tables.all("stock_ledger") if row["order_id"] == given[0])
    return [{"sku": sku} for sku in sorted(held)]


@statement("select sku, name, initial, available, held, shipped from stock order by sku")
def levels(tables: Tables, given: Any) -> list[Row]:
    return sorted(tables.all("stock"), key=lambda row: row["sku"])


def _moved(tables: Tables, order_id: str, state: str, *, since: Sequence[str]) -> list[Row]:
    """The order's lines that were in one of those states, now in the new one."""
    lines = [
        row for row in tables.all("stock_ledger") if row["order_id"] == order_id and row["state"] in since
    ]
    for line in lines:
        tables.update("stock_ledger", (order_id, line["sku"]), state=state)
    return lines


def _move(tables: Tables, sku: str, **by: int) -> None:
    row = tables.get("stock", sku)
    assert row is not None
    after = {name: row[name] + quantity for name, quantity in by.items()}
    if min(after.values()) < 0:
        raise psycopg.errors.CheckViolation(f"stock of {sku}")
    tables.update("stock", (sku,), **after)


def _or(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None else value
