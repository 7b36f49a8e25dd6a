create table stock (
    sku text primary key,
    name text not null,
    unit_price_minor integer not null,
    initial integer not null,
    available integer not null check (available >= 0),
    held integer not null default 0 check (held >= 0),
    shipped integer not null default 0 check (shipped >= 0),
    check (initial = available + held + shipped)
);

create table stock_ledger (
    order_id text not null,
    sku text not null references stock,
    quantity integer not null check (quantity > 0),
    state text not null check (state in ('HELD', 'CONFIRMED', 'RELEASED', 'SHIPPED')),
    held_at timestamptz not null default now(),
    moved_at timestamptz not null default now(),
    primary key (order_id, sku)
);

-- The demo catalogue. TEA-LEMON is sold out on purpose: ordering it shows an order that fails truthfully.
insert into stock (sku, name, unit_price_minor, initial, available) values
    ('MUG-BLUE', 'Mug, blue', 1290, 1000000, 1000000),
    ('MUG-GREEN', 'Mug, green', 1290, 1000000, 1000000),
    ('TEAPOT', 'Teapot, 1.2 l', 4900, 1000000, 1000000),
    ('TEA-ASSAM', 'Assam, 100 g', 790, 1000000, 1000000),
    ('TEA-SENCHA', 'Sencha, 100 g', 1150, 1000000, 1000000),
    ('SPOON', 'Tea spoon', 350, 1000000, 1000000),
    ('KETTLE-LAST', 'Kettle, the last five', 7900, 5, 5),
    ('TEA-LEMON', 'Lemon tea, sold out', 690, 0, 0);

create table order_view (
    order_id text primary key,
    customer_id text not null,
    stage text not null,
    status text not null,
    payment_status text not null,
    step text not null,
    version integer not null,
    document jsonb not null,
    placed_at timestamptz not null,
    updated_at timestamptz not null,
    fulfillment jsonb,
    fulfillment_sequence integer not null default 0,
    fulfillment_at timestamptz
);
create index order_view_open on order_view (order_id) where step <> 'end';
create index order_view_newest on order_view (placed_at desc, order_id desc);
create index order_view_status on order_view (status, placed_at desc, order_id desc);
create index order_view_stage on order_view (stage, placed_at desc, order_id desc);
create index order_view_customer on order_view (customer_id, placed_at desc, order_id desc);

-- What Kafka says of a fulfillment before or after the order's own row exists is kept in the same row: the
-- order's row always exists first, because its OrderPlaced is what everything else follows from.

-- What the reconciler audits at the provider, in the order of the log.
create index events_ended on events (position) where type in ('OrderCancelled', 'OrderFailed', 'PaymentCaptured');

insert into circuit_breakers (name) values ('payments');
