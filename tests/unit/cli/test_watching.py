"""How long the command line waits, and what it shows meanwhile."""

from typing import Any

import httpx
import pytest

from deploy.commands import rest, watching
from tests.unit.cli.doors import ORDER_ID, PLACED, Doors, a_parcel, an_order, one_object, tandem


def test_wait_ends_with_the_final_status(doors: Doors):
    """`--wait` goes on until money is settled too, and adds the end to the one object."""
    doors.answer("POST", "/orders/demo", httpx.Response(201, json=PLACED))
    doors.answer(
        "GET",
        f"/orders/{ORDER_ID}/status",
        an_order("FULFILLMENT_IN_PROGRESS"),
        httpx.ConnectError("a restart meanwhile"),
        an_order("SHIPPED", "capture"),
        an_order("SHIPPED", "end", paymentStatus="CAPTURED"),
    )
    answer = one_object(tandem("order", "create", "--demo", "--wait", "--json"))
    assert (answer["orderId"], answer["workflowId"]) == (ORDER_ID, PLACED["workflowId"])
    assert (answer["status"], answer["paymentStatus"]) == ("SHIPPED", "CAPTURED")


@pytest.mark.parametrize(
    "end",
    [
        an_order("CANCELLED", "end"),
        an_order("FAILED", "end", failure="PAYMENT_DECLINED"),
        an_order("NEEDS_ATTENTION", "capture", attention="CAPTURE_FAILED"),
        an_order("FULFILLMENT_IN_PROGRESS", fulfillment=a_parcel("EXCEPTION")),
    ],
)
def test_wait_ends_when_nothing_more_happens_by_itself(doors: Doors, end: dict[str, Any]):
    """An order that ended otherwise, or that needs a person, ends the waiting with a code of its own."""
    doors.answer("POST", "/orders/demo", httpx.Response(201, json=PLACED))
    doors.answer("GET", f"/orders/{ORDER_ID}/status", an_order("CANCEL_REQUESTED"), end)
    for words in (("watch", ORDER_ID), ("create", "--demo", "--wait")):
        result = tandem("order", *words, "--json")
        assert result.exit_code == rest.OTHERWISE
        assert one_object(result)["status"] == end["status"]


def test_an_order_that_needs_a_person_says_where_to_look(doors: Doors):
    """The line that explains what it waits for, in the service that knows."""
    stuck = an_order("FULFILLMENT_IN_PROGRESS", fulfillment=a_parcel("EXCEPTION"))
    doors.answer(
        "GET", f"/orders/{ORDER_ID}/status", stuck, an_order("NEEDS_ATTENTION", attention="VOID_FAILED")
    )
    for group in ("fulfillment", "order"):
        assert f"Next: tandem {group} explain {ORDER_ID}" in tandem("order", "watch", ORDER_ID).stdout


def test_waiting_has_an_end_of_its_own(doors: Doors):
    """Exit code 4 when the time is over, with what was last seen."""
    doors.answer("GET", f"/orders/{ORDER_ID}/status", an_order("FULFILLMENT_IN_PROGRESS"))
    result = tandem("order", "watch", ORDER_ID, "--timeout", "0.1", "--json")
    assert result.exit_code == rest.TIMED_OUT
    assert one_object(result)["status"] == "FULFILLMENT_IN_PROGRESS"
    said = tandem("order", "watch", ORDER_ID, "--timeout", "0.1")
    assert f"tandem order watch {ORDER_ID}" in said.stderr


def test_outside_a_terminal_each_change_is_one_line(doors: Doors):
    """The same state seen again prints nothing."""
    parcel = an_order("FULFILLMENT_IN_PROGRESS", fulfillment=a_parcel("PICKING"))
    end = an_order("SHIPPED", "end", percent=100)
    doors.answer("GET", f"/orders/{ORDER_ID}/status", parcel, parcel, parcel, end)
    lines = tandem("order", "watch", ORDER_ID).stdout.splitlines()
    assert len(lines) == 2
    assert "parcel PICKING 2/7 items 20 %" in lines[0]
    assert "SHIPPED" in lines[-1]


def test_a_terminal_can_draw_every_status():
    """What rich draws while somebody watches never fails, ended orders included."""
    from rich.console import Console  # noqa: PLC0415

    console = Console(record=True, width=120, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    parcel = a_parcel("PICKING")
    for seen in (an_order("SHIPPED", fulfillment=parcel), an_order("FAILED", failure="OUT_OF_STOCK"), parcel):
        console.print(watching.drawing(seen))
    drawn = console.export_text()
    assert "2/7 items 20 %" in drawn
    assert "OUT_OF_STOCK" in drawn
