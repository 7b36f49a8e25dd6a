"""One receipt for one wish, across both services: waited for, looked up at either door, told as one story."""

from tests.e2e.people import Json, Operator, Shop, eventually


def receipt_at(door: Shop | Operator, command_id: str, wait: int = 20) -> Json:
    """The receipt once it is final."""
    return door.http.get(f"/commands/{command_id}", headers={"Prefer": f"wait={wait}"}).json()


def test_an_order_cancelled_while_it_waits_is_one_story_at_both_doors(shop: Shop, operator: Operator):
    """The answer waits for the fulfillment, the receipt for money and stock, and both doors tell the same."""
    order_id = shop.place("manual")
    operator.comes_to(order_id, "pick:1")
    asked = shop.http.request(
        "DELETE",
        f"/orders/{order_id}",
        json={"reason": "changed my mind"},
        headers={"Prefer": "wait=20", "X-Actor": "ada"},
    )
    assert (asked.status_code, asked.headers["Preference-Applied"]) == (200, "wait=20")
    command_id = asked.json()["commandId"]

    ours, theirs = receipt_at(shop, command_id), receipt_at(operator, command_id)
    assert [step["status"] for step in ours["walk"]] == ["RECEIVED", "ACCEPTED", "EFFECTIVE"]
    assert ours["facts"][0]["type"] == "CancelRequested"
    assert ours["facts"][-1]["type"] == "OrderCancelled"
    assert ours["fulfillment"]["status"] in ("ACCEPTED", "EFFECTIVE")
    assert (theirs["status"], theirs["facts"][-1]["type"]) == ("EFFECTIVE", "FulfillmentCancelled")

    told = eventually(
        lambda: shop.http.get(f"/orders/{order_id}/timeline").json()["timeline"],
        lambda seen: {"OrderCancelled", "FulfillmentCancelled"} <= {each["type"] for each in seen},
    )
    cancels = [each for each in told if each["type"] == "CancelRequested"]
    assert [(each["service"], each["commandId"]) for each in cancels] == [
        ("order", command_id),
        ("fulfillment", command_id),
    ]
    assert (cancels[0]["actor"], cancels[0]["note"]) == ("ada", "changed my mind")


def test_a_parcel_that_left_says_so_to_whoever_waits(shop: Shop):
    """409 with the cut-off, and the receipt says the same for ever."""
    order_id = shop.place()
    shop.sees_end(order_id)
    asked = shop.http.request(
        "DELETE", f"/orders/{order_id}", json={"reason": "too late"}, headers={"Prefer": "wait=20"}
    )
    assert (asked.status_code, asked.json()["cutOff"]) == (409, "HandOverStarted")
    receipt = receipt_at(shop, asked.json()["commandId"])
    assert [step["status"] for step in receipt["walk"]] == ["RECEIVED", "REJECTED"]
    assert (receipt["code"], receipt["facts"]) == ("ALREADY_ENDED", [])


def test_a_pause_is_waited_for_until_it_holds(shop: Shop, operator: Operator):
    """Accepted while a step is in flight, effective once nothing moves; the fact that settled it is named."""
    order_id = shop.place("manual")
    operator.comes_to(order_id, "pick:1")
    asked = shop.http.post(f"/orders/{order_id}/fulfillment/pause", headers={"Prefer": "wait=20"})
    assert (asked.status_code, asked.json()["status"]) == (200, "ACCEPTED")
    operator.completes(order_id, "pick:1")
    receipt = receipt_at(shop, asked.json()["commandId"])
    assert (receipt["status"], receipt["fulfillment"]["status"]) == ("EFFECTIVE", "EFFECTIVE")
    theirs = receipt_at(operator, asked.json()["commandId"])
    assert [fact["type"] for fact in theirs["facts"]] == ["HoldPlaced", "StepCompleted"]
