"""What `actions` and `explain` offer to copy can be typed as it stands, and does what was said."""

import json
import re
from pathlib import Path

import pytest

from deploy.local.stack import Stack
from tests.e2e.people import Operator, Shop, address
from tests.e2e.shell import Ran, Shell

PACKED = ("pick:1", "pick:2", "pick:3", "quality", "pack")


@pytest.fixture
def shell(stack: Stack, tmp_path: Path) -> Shell:
    (tmp_path / "address.json").write_text(json.dumps(address()))
    (tmp_path / "changes.json").write_text(json.dumps({"shippingAddress": address()}))
    return Shell(stack, tmp_path)


def offered(ran: Ran) -> list[str]:
    """The command lines in what was printed."""
    assert ran.code == 0, ran
    found = [match[0] for line in ran.lines if (match := re.search(r"(?<=  )(tandem|curl) .+", line))]
    assert all(line.startswith("tandem") for line in found), found
    return found


def works_as_offered(shell: Shell, *words: str) -> set[str]:
    """The commands that were offered, such as `fulfillment hold`; each line is granted when rehearsed."""
    lines = offered(shell.run(" ".join(("tandem", *words))))
    for line in lines:
        ran = shell.run(line if " explain " in line else f"{line} --dry-run")
        assert ran.code == 0, ran
    return {" ".join(line.split()[1:3]) for line in lines}


def test_what_may_be_done_with_a_parcel_can_be_typed(shell: Shell, shop: Shop, operator: Operator):
    """At a step in hand, on hold, and before the hand-over: every line is granted."""
    order = shop.place("manual")
    operator.comes_to(order, "pick:1")
    first = works_as_offered(shell, "fulfillment", "actions", order)
    assert {
        f"fulfillment {name}" for name in ("pause", "hold", "cancel", "address", "complete", "fail")
    } == first

    operator.http.post(f"/fulfillments/{order}/holds", json={"reason": "QUALITY", "handle": "a.b:c-1"})
    held = works_as_offered(shell, "fulfillment", "actions", order)
    assert "fulfillment release" in held
    assert "fulfillment release" in works_as_offered(shell, "fulfillment", "explain", order)
    operator.http.delete(f"/fulfillments/{order}/holds")

    operator.works(order, *PACKED)
    operator.comes_to(order, "hand-over")
    assert works_as_offered(shell, "fulfillment", "actions", order) == first
    operator.works(order, "hand-over")
    operator.sees(order, status="SHIPPED")
    assert works_as_offered(shell, "fulfillment", "actions", order) == set()


def test_what_may_be_done_with_an_order_can_be_typed(shell: Shell, shop: Shop, operator: Operator):
    """Its own decisions, and the wishes that it passes on to the fulfillment."""
    order = shop.place("manual")
    operator.comes_to(order, "pick:1")
    ways = {f"order {name}" for name in ("cancel", "pause", "hold", "update")}
    assert works_as_offered(shell, "order", "actions", order) >= ways


def test_what_explains_an_order_can_be_typed(shell: Shell, shop: Shop, operator: Operator):
    """Held by the shop and by a standing hold: who can change it can copy the line."""
    order = shop.place("manual")
    operator.comes_to(order, "pick:1")
    shop.http.post(f"/orders/{order}/holds", json={"reason": "CUSTOMER_REQUEST", "handle": "vacation"})
    operator.sees(order, status="PAUSED")
    shop.sees_parcel(order, status="PAUSED")
    assert works_as_offered(shell, "order", "explain", order) >= {"order release", "fulfillment explain"}


def test_what_may_be_done_with_an_exception_can_be_typed(shell: Shell, shop: Shop, operator: Operator):
    """A refused label: tried again, sent elsewhere, or cancelled."""
    order = shop.place("label-refused")
    operator.sees(order, status="EXCEPTION")
    ways = {"fulfillment resolve", "fulfillment address", "fulfillment cancel"}
    assert works_as_offered(shell, "fulfillment", "explain", order) == ways
    assert works_as_offered(shell, "fulfillment", "actions", order) >= ways
    operator.http.post(f"/fulfillments/{order}/cancel")
