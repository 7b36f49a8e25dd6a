create table fulfillment_view (
    fulfillment_id text primary key,
    order_id text not null,
    n integer not null,
    stage text not null,
    status text not null,
    step text not null,
    version integer not null,
    document jsonb not null,
    accepted_at timestamptz not null,
    updated_at timestamptz not null,
    unique (order_id, n)
);
create index fulfillment_view_open on fulfillment_view (fulfillment_id) where step <> 'end';
create index fulfillment_view_newest on fulfillment_view (accepted_at desc, fulfillment_id desc);
create index fulfillment_view_status on fulfillment_view (status, accepted_at desc, fulfillment_id desc);
create index fulfillment_view_stage on fulfillment_view (stage, accepted_at desc, fulfillment_id desc);
-- Who waits for a standing hold; what nothing stands against costs it nothing.
create index fulfillment_view_holds on fulfillment_view using gin ((document -> 'holds') jsonb_path_ops)
    where document -> 'holds' <> '[]'::jsonb;

create table standing_holds (
    handle text primary key,
    kind text not null check (kind in ('sku', 'warehouse', 'carrier', 'country', 'customer')),
    value text not null,
    reason text not null,
    holder text not null,
    until timestamptz,
    placed_at timestamptz not null,
    command_id text not null,
    lifted_at timestamptz,
    lifted_by text
);
create index standing_holds_in_force on standing_holds (kind, value) where lifted_at is null;

-- The other side, only as Kafka last told it: an order speaks before its parcel exists here.
create table order_view (
    order_id text primary key,
    status text not null,
    payment_status text not null,
    sequence integer not null,
    at timestamptz not null
);

-- What the reconciler audits at the provider, in the order of the log.
create index events_ended on events (position) where type in ('FulfillmentCancelled', 'FulfillmentFailed', 'HandedOver');

insert into circuit_breakers (name) values ('carrier');
