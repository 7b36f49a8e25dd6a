-- The tables of one service that the chassis owns; the service's own tables follow in its own revisions.

create table events (
    position bigint generated always as identity primary key,
    stream text not null,
    version integer not null check (version > 0),
    event_id uuid not null unique,
    type text not null,
    schema_version smallint not null,
    data jsonb not null,
    meta jsonb not null,
    transaction_id xid8 not null default pg_current_xact_id(),
    recorded_at timestamptz not null,
    unique (stream, version)
);

create function facts_are_final() returns trigger language plpgsql as $$
begin
    raise exception 'facts are never changed or deleted';
end
$$;
create trigger facts_are_final before update or delete on events
    for each row execute function facts_are_final();
create trigger facts_are_kept before truncate on events
    for each statement execute function facts_are_final();

create table receipts (
    command_id text primary key,
    name text not null,
    stream text not null,
    actor text not null,
    request_hash text not null,
    status text not null default 'RECEIVED'
        check (status in ('RECEIVED', 'ACCEPTED', 'REJECTED', 'EFFECTIVE', 'SUPERSEDED')),
    code text,
    detail text,
    cut_off text,
    first_version integer,
    last_version integer,
    settled_version integer,
    answer jsonb,
    received_at timestamptz not null default now(),
    answered_at timestamptz,
    settled_at timestamptz
);
create index receipts_open on receipts (received_at) where status in ('RECEIVED', 'ACCEPTED');
-- What is deleted by age only ever grows at one end: a few pages of index, and nearly free to write.
create index receipts_age on receipts using brin (received_at);
create index receipts_counted on receipts (stream, received_at) where code is distinct from 'TOO_MANY_WISHES';

create table outbox (
    id bigint generated always as identity primary key,
    bucket smallint not null,
    key text not null,
    topic text not null,
    headers jsonb not null,
    body bytea not null,
    created_at timestamptz not null default clock_timestamp(),
    attempts integer not null default 0,
    next_attempt_at timestamptz not null default clock_timestamp(),
    last_error text,
    published_at timestamptz,
    parked_at timestamptz
);
create index outbox_unpublished on outbox (id) where published_at is null;
create index outbox_waiting on outbox (key, id) where published_at is null;
create index outbox_published on outbox (published_at) where published_at is not null;
alter table outbox set (autovacuum_vacuum_scale_factor = 0.02, fillfactor = 80);

create table outbox_leases (
    bucket smallint primary key,
    owner text,
    fence bigint not null default 0,
    expires_at timestamptz not null default '-infinity'
);
insert into outbox_leases (bucket) select generate_series(0, 15);
create table outbox_relays (owner text primary key, seen_at timestamptz not null);
create table outbox_cluster (singleton boolean primary key check (singleton), cluster_id text not null);

create table knocks (
    id bigint generated always as identity primary key,
    workflow_id text not null,
    signal text not null,
    command_id text,
    traceparent text,
    created_at timestamptz not null default clock_timestamp(),
    due_at timestamptz not null default clock_timestamp(),
    attempts integer not null default 0,
    last_error text
);
create index knocks_due on knocks (due_at);
create index knocks_workflow on knocks (workflow_id);

create table inbox (
    consumer text not null,
    event_id uuid not null,
    stream text not null,
    sequence integer not null,
    applied_at timestamptz not null default now(),
    primary key (consumer, event_id),
    unique (consumer, stream, sequence)
);
create index inbox_age on inbox using brin (applied_at);

-- What the other service told of an order, kept for the timeline and for whoever asks when it was heard.
create table heard (
    order_id text not null,
    stream text not null,
    sequence integer not null,
    type text not null,
    at timestamptz not null,
    data jsonb not null,
    heard_at timestamptz not null default now(),
    primary key (order_id, stream, sequence)
);
create index heard_age on heard using brin (heard_at);

create table parked (
    id bigint generated always as identity primary key,
    consumer text not null,
    identity text not null,
    topic text not null,
    partition integer not null,
    record_offset bigint not null,
    order_id text not null,
    headers jsonb not null,
    body bytea not null,
    reason text not null,
    first_failed_at timestamptz not null default now(),
    parked_at timestamptz not null default now(),
    tries integer not null default 0,
    outcome text check (outcome in ('REPLAYED', 'DISCARDED')),
    settled_at timestamptz,
    settled_by text,
    settled_because text,
    unique (consumer, identity)
);
create index parked_open on parked (consumer, order_id, id) where outcome is null;
create index parked_settled on parked (settled_at) where outcome is not null;

create table pii (
    ref text not null,
    kind text not null,
    version integer not null,
    content jsonb not null,
    kept_at timestamptz not null default now(),
    primary key (ref, kind, version)
);

-- What waits for a person, or did; a row for each time it was raised. A claim is no fact: it says who looks at it.
create table exceptions (
    id uuid primary key,
    stream text not null,
    subject text not null,
    code text not null,
    fault text not null
        check (fault in ('transient', 'dependency-down', 'refusal', 'bad-data', 'bug', 'mismatch')),
    step text,
    reason text not null,
    evidence jsonb not null,
    resolutions text[] not null,
    raised_at timestamptz not null default clock_timestamp(),
    claimed_by text,
    claimed_at timestamptz,
    level smallint not null default 0,
    escalated_at timestamptz,
    resolved_at timestamptz,
    resolution text,
    resolved_by text,
    check ((resolved_at is null) = (resolution is null))
);
create unique index exceptions_open on exceptions (stream, code, step) nulls not distinct where resolved_at is null;
create index exceptions_oldest on exceptions (raised_at, id) where resolved_at is null;
create index exceptions_age on exceptions (raised_at, id);
create index exceptions_subject on exceptions (subject, raised_at);

-- What was asked of a provider, under the key that goes along on every try; see external_calls.py.
create table external_calls (
    provider_key text primary key,
    provider text not null,
    operation text not null,
    stream text not null,
    status text not null default 'INTENT' check (status in ('INTENT', 'CONFIRMED', 'FAILED', 'UNKNOWN')),
    attempts integer not null default 1,
    answer jsonb,
    error text,
    begun_at timestamptz not null default now(),
    answered_at timestamptz,
    check ((answered_at is not null) = (status in ('CONFIRMED', 'FAILED')))
);
create index external_calls_open on external_calls (begun_at) where answered_at is null;
create index external_calls_age on external_calls using brin (answered_at);
create index external_calls_of_stream on external_calls (stream);

-- One for each provider that the service asks, put in by its own script; see breakers.py.
create table circuit_breakers (
    name text primary key,
    state text not null default 'CLOSED' check (state in ('CLOSED', 'OPEN', 'HALF_OPEN')),
    failures integer not null default 0,
    threshold integer not null default 10 check (threshold between 1 and 10000),
    cool_down_seconds double precision not null default 10 check (cool_down_seconds between 0.1 and 86400),
    open_until timestamptz,
    probe_until timestamptz,
    changed_at timestamptz not null default now()
);

-- Its facts: who turned or configured it, when and why.
create table circuit_breaker_transitions (
    id bigint generated always as identity primary key,
    breaker text not null references circuit_breakers (name),
    from_state text not null,
    to_state text not null,
    reason text not null,
    actor text not null,
    at timestamptz not null default clock_timestamp()
);
create index circuit_breaker_history on circuit_breaker_transitions (breaker, id desc);
create trigger facts_are_final before update or delete on circuit_breaker_transitions
    for each row execute function facts_are_final();

-- What the reconciler found, and what it did about it.
create table reconciliations (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    kind text not null,
    subject text not null,
    mark text not null,
    found jsonb not null,
    action text not null,
    exception_id uuid
);
create index reconciliations_cases on reconciliations (kind, subject, mark);

-- How far each of its rules has looked; `all` is when none of them failed last.
create table reconciler_rules (
    rule text primary key,
    cursor text not null default '',
    looked_at timestamptz not null default now(),
    -- Since when it looks without a gap: what nobody could have moved before is not late.
    steady_since timestamptz not null default now()
);
insert into reconciler_rules (rule) values ('all');
