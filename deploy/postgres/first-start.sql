-- Run once, by the image's first start: a database for each service, a role for each kind of process.
-- `…_migrate` owns the tables; the others read and write rows, and facts are final for them too (a trigger).
\getenv password TANDEM_POSTGRES_PASSWORD

create role order_migrate login password :'password';
create role order_api login password :'password' connection limit 60;
create role order_worker login password :'password' connection limit 60;
create role order_relay login password :'password' connection limit 40;
create role order_consumer login password :'password' connection limit 40;
create database orders owner order_migrate;
revoke all on database orders from public;
grant connect, temporary on database orders to order_api, order_worker, order_relay, order_consumer;

create role fulfillment_migrate login password :'password';
create role fulfillment_api login password :'password' connection limit 60;
create role fulfillment_worker login password :'password' connection limit 60;
create role fulfillment_relay login password :'password' connection limit 40;
create role fulfillment_consumer login password :'password' connection limit 40;
create database fulfillments owner fulfillment_migrate;
revoke all on database fulfillments from public;
grant connect, temporary on database fulfillments
  to fulfillment_api, fulfillment_worker, fulfillment_relay, fulfillment_consumer;

\connect orders
alter default privileges for role order_migrate
  grant select, insert, update, delete on tables to order_api, order_worker, order_relay, order_consumer;
alter default privileges for role order_migrate
  grant usage, select on sequences to order_api, order_worker, order_relay, order_consumer;

\connect fulfillments
alter default privileges for role fulfillment_migrate
  grant select, insert, update, delete on tables
  to fulfillment_api, fulfillment_worker, fulfillment_relay, fulfillment_consumer;
alter default privileges for role fulfillment_migrate
  grant usage, select on sequences
  to fulfillment_api, fulfillment_worker, fulfillment_relay, fulfillment_consumer;
