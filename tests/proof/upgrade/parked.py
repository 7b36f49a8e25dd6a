"""Every state in which an order may wait for long, how it gets there, and what sets it free."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from contracts import fulfillment
from contracts import order as contract
from tests.e2e.people import Operator, Shop, eventually, parcel_workflow
from tests.proof.record import Placed
from tests.proof.record import Service as Namespace
from tests.proof.upgrade.house import House, Temporal

Json = dict[str, Any]

STEPS = ("pick:1", "pick:2", "pick:3", "quality", "pack", "hand-over")
PATIENCE_SECONDS = 120
AT_ONCE = 4
STREET, NAME, EMAIL = "7 Rollback Row", "Ronja Upgradsdottir", "ronja@upgrade.example"


class People:
    """A shop and an operator at the doors of a house, and somebody who looks into Temporal."""

    def __init__(self, house: House) -> None:
        self.shop = Shop(house.url("order_service"))
        self.operator = Operator(house.url("fulfillment_service"))
        self.temporal = Temporal(house)
        self.placed: list[Placed] = []

    def place(self, key: str, *, scenario: str = "", token: str = "tok_ok", zip_code: str = "27701") -> str:
        """The id of an order that was accepted."""
        headers = {"Idempotency-Key": key}
        if scenario:
            params = {"scenario": scenario, "speed": "instant"}
            answer = self.shop.http.post("/orders/demo", params=params, headers=headers)
        else:
            answer = self.shop.http.post("/orders", json=_order(token, zip_code), headers=headers)
        assert answer.status_code == 201, answer.text
        told: Json = answer.json()
        self.placed.append(Placed(key, told["commandId"], [told["orderId"]]))
        return told["orderId"]

    def retries(self, http: Any, subject: str) -> None:
        """What waits for a person is tried again."""
        for found in self.troubles(http, subject):
            done = http.post(f"/exceptions/{found['id']}/retry")
            assert done.status_code in (200, 202), done.text

    def troubles(self, http: Any, subject: str) -> list[Json]:
        return http.get("/exceptions", params={"subject": subject}).json()["exceptions"]


Do = Callable[[People, str], object]


@dataclass(frozen=True)
class Way:
    """One way to wait."""

    name: str
    comes: Do
    """It has got there, or is made to."""
    goes_on: Do
    """Nothing keeps it any more."""
    ends: str = "SHIPPED"
    order: Json = field(default_factory=dict[str, Any])
    first: Do | None = None
    """Done before anybody works for the order."""
    has_parcel: bool = True
    """Its parcel's workflow runs."""
    new_steps: int = 1
    """So many steps that `releases.NEXT` adds to an order are still before it."""


@dataclass(frozen=True)
class Parked:
    """An order that waits."""

    way: Way
    order_id: str

    def __str__(self) -> str:
        return f"{self.order_id}, {self.way.name}"

    @property
    def workflow(self) -> tuple[Namespace, str]:
        """The order's: namespace and id."""
        return "orders", contract.workflow_id(self.order_id)

    @property
    def workflows(self) -> list[tuple[Namespace, str]]:
        """All that run."""
        parcel: tuple[Namespace, str] = ("fulfillments", parcel_workflow(self.order_id))
        return [self.workflow, parcel] if self.way.has_parcel else [self.workflow]


def _order(token: str, zip_code: str) -> Json:
    address = {"street": STREET, "city": "Durham", "state": "NC", "zipCode": zip_code, "country": "USA"}
    return {
        "customerId": "customer-17",
        "items": [{"sku": "TEAPOT", "quantity": 1, "unitPriceMinor": 4900}],
        "currency": "USD",
        "shippingAddress": address,
        "contact": {"name": NAME, "email": EMAIL},
        "payment": {"token": token},
    }


def _is_fine(answer: Any) -> None:
    assert answer.status_code in (200, 202), answer.text


def _manual(name: str, step: str, comes: Do, goes_on: Do, ends: str = "SHIPPED") -> Way:
    """Everything before this step is done."""

    def there(people: People, order_id: str) -> None:
        people.operator.works(order_id, *STEPS[: STEPS.index(step)])
        people.operator.comes_to(order_id, step)
        comes(people, order_id)

    return Way(name, there, goes_on, ends, order={"scenario": "manual"})


def _nothing(people: People, order_id: str) -> None:
    """It waits as it is."""


def _works_on(step: str) -> Do:
    return lambda people, order_id: people.operator.works(order_id, *STEPS[STEPS.index(step) :])


def _holds(people: People, order_id: str) -> None:
    body = {"reason": "FRAUD_RISK", "handle": "review"}
    _is_fine(people.shop.http.post(f"/orders/{order_id}/holds", json=body))


def _releases(people: People, order_id: str) -> None:
    _is_fine(people.shop.http.delete(f"/orders/{order_id}/holds", params={"handle": "review"}))


def _pauses(people: People, order_id: str) -> None:
    _is_fine(people.operator.pause(order_id))
    people.operator.sees(order_id, PATIENCE_SECONDS, status="PAUSED")


def _resumes(people: People, order_id: str) -> None:
    _is_fine(people.operator.resume(order_id))
    _works_on("pick:2")(people, order_id)


def _holds_for_an_hour(people: People, order_id: str) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    _is_fine(people.operator.holds(order_id, "QUALITY", handle="lid", until=until.isoformat()))
    people.operator.sees(order_id, PATIENCE_SECONDS, status="PAUSED")


def _lifts(people: People, order_id: str) -> None:
    _is_fine(people.operator.releases(order_id, "lid"))
    _works_on("quality")(people, order_id)


def _asks_to_cancel(people: People, order_id: str) -> None:
    _is_fine(people.shop.cancel(order_id))
    people.operator.sees(order_id, PATIENCE_SECONDS, status="CANCEL_REQUESTED")


def _answers(word: str) -> Do:
    def answers(people: People, order_id: str) -> None:
        [asked] = people.operator.parcel(order_id)["cancellationRequests"]
        _is_fine(people.operator.answers(order_id, asked["commandId"], word))
        if word == "reject":
            _works_on("pick:2")(people, order_id)

    return answers


def _is_in_trouble(people: People, order_id: str) -> None:
    """The order waits for a person."""
    eventually(lambda: people.troubles(people.shop.http, order_id), bool, within_seconds=PATIENCE_SECONDS)


def _parcel_is_in_trouble(people: People, order_id: str) -> None:
    parcel = fulfillment.fulfillment_id(order_id, 1)
    eventually(lambda: people.troubles(people.operator.http, parcel), bool, within_seconds=PATIENCE_SECONDS)


def _retries(people: People, order_id: str) -> None:
    people.retries(people.shop.http, order_id)


def _parcel_retries(people: People, order_id: str) -> None:
    people.retries(people.operator.http, fulfillment.fulfillment_id(order_id, 1))


WAYS: Sequence[Way] = (
    Way(
        "held before its stock is",
        _nothing,
        _releases,
        first=_holds,
        has_parcel=False,
        new_steps=2,
    ),
    Way(
        "its parcel paused before there is one",
        lambda people, order_id: people.operator.sees(order_id, PATIENCE_SECONDS, status="PAUSED"),
        lambda people, order_id: _is_fine(people.shop.resume(order_id)),
        first=lambda people, order_id: _is_fine(people.shop.pause(order_id)),
    ),
    Way(
        "its payment's tries spent",
        _is_in_trouble,
        _retries,
        order={"token": "tok_500_3"},
        has_parcel=False,
        new_steps=2,
    ),
    *(_manual(f"waiting for {step}", step, _nothing, _works_on(step)) for step in STEPS),
    _manual("paused with pick:2 in hand", "pick:2", _pauses, _resumes),
    _manual("held for an hour at quality", "quality", _holds_for_an_hour, _lifts),
    _manual("its cancel asked for, then rejected", "pick:2", _asks_to_cancel, _answers("reject")),
    _manual(
        "its cancel asked for, then accepted", "pick:2", _asks_to_cancel, _answers("accept"), ends="CANCELLED"
    ),
    Way(
        "its label refused",
        _parcel_is_in_trouble,
        lambda people, order_id: _is_fine(people.shop.readdress(order_id, zip_code="54321")),
        order={"zip_code": "00001"},
    ),
    Way("its label's tries spent", _parcel_is_in_trouble, _parcel_retries, order={"zip_code": "50003"}),
    Way(
        "its capture refused",
        _is_in_trouble,
        _retries,
        order={"token": "tok_capture_refused_1"},
        has_parcel=False,
        new_steps=0,
    ),
)  # fmt: skip


def _together(do: Callable[[Parked], object], these: Sequence[Parked]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(do, these))


def placed(people: People, ways: Sequence[Way], key: str) -> list[Parked]:
    """An order for each way; nobody works."""
    found: list[Parked] = []
    for number, way in enumerate(ways, start=1):
        order_id = people.place(f"{key}-{number}", **way.order)
        if way.first:
            way.first(people, order_id)
        found.append(Parked(way, order_id))
    return found


def come_to_rest(people: People, parked: Sequence[Parked]) -> None:
    """Each is where it waits, and so Temporal has it."""
    _together(lambda each: each.way.comes(people, each.order_id), parked)
    for each in parked:
        for workflow in each.workflows:
            eventually(partial(people.temporal.rests, *workflow), bool, within_seconds=PATIENCE_SECONDS)


def wake(people: People, parked: Sequence[Parked]) -> None:
    """Their workflows are told to look again."""
    for each in parked:
        for namespace, workflow_id in each.workflows:
            people.temporal.knock(namespace, workflow_id)


def go_on(people: People, parked: Sequence[Parked]) -> None:
    """Whatever keeps them is gone, and all have ended as they should."""
    _together(lambda each: each.way.goes_on(people, each.order_id), parked)
    for each in parked:
        seen = people.shop.sees_end(each.order_id, PATIENCE_SECONDS)
        assert seen["status"] == each.way.ends, f"{each} ended {seen}"
