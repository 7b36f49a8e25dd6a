"""`tandem verify` on a live system: it has nothing to say of a sound order, and names what was doctored."""

import json
import os
import subprocess
import sys

import psycopg

from contracts import order as contract
from deploy.local.stack import Stack
from deploy.verify import comparing
from tests.e2e.people import Json, Shop

DOCTORED = (
    (comparing.PROJECTED, "orders", "update order_view set status = 'LOST' where order_id = %(order)s"),
    (
        comparing.HEARD,
        "orders",
        "update order_view set fulfillment = fulfillment || '{\"percent\": 7}' where order_id = %(order)s",
    ),
    (
        comparing.OUTBOX,
        "orders",
        """
        update outbox
        set body = '{"status": "LOST"}'
        where key = %(order)s and headers ->> 'ce_sequence' = '2'
        """,
    ),
    (comparing.HEARD, "fulfillments", "delete from inbox where stream = %(stream)s and sequence = 2"),
    (
        comparing.TOPIC,
        "orders",
        "update events set event_id = gen_random_uuid() where stream = %(stream)s and version = 2",
    ),
    (
        comparing.GAPLESS,
        "orders",
        """
        delete from events
        where stream = %(stream)s and version = 3
        """,
    ),
)


def test_what_was_doctored_by_hand_is_named_and_nothing_else_is_said(rough_stack: Stack):
    """Projection, what was heard, outbox, inbox and the facts themselves."""
    shop = Shop(rough_stack.url("order_service"))
    sound, doctored = shop.place(), [shop.place() for _ in DOCTORED]
    for order in (sound, *doctored):
        shop.sees_end(order)
        shop.sees_parcel(order, status="SHIPPED")

    code, told = _verify(rough_stack, sound)
    assert (told["violations"], code) == ([], 0)
    assert told["exercised"]["parcels"] == 1
    for order, (_, database, statement) in zip(doctored, DOCTORED, strict=True):
        _doctor(rough_stack, database, statement, order)
    code, told = _verify(rough_stack, "--patience", "0")
    assert code == 1
    for order, (invariant, _, _) in zip(doctored, DOCTORED, strict=True):
        assert invariant in [each["invariant"] for each in told["violations"] if order in each["evidence"]]
    assert sound not in str(told["violations"])


def test_an_order_nobody_knows_is_refused(rough_stack: Stack):
    """And is no violation."""
    code, told = _verify(rough_stack, "ORD-1234567890123-ABCDEFGHI")
    assert (code, told["code"]) == (1, "NOT_FOUND")


def _doctor(stack: Stack, database: str, statement: str, order: str) -> None:
    with psycopg.connect(stack.postgres_url(database)) as connection:
        # Facts are final for everybody who does not say this.
        connection.execute("set session_replication_role = replica")
        done = connection.execute(statement.encode(), {"order": order, "stream": contract.stream(order)})
        assert done.rowcount == 1


def _verify(stack: Stack, *arguments: str) -> tuple[int, Json]:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.cli", "verify", *arguments, "--json"],
        env={**os.environ, **stack.env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)
