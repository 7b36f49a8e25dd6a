"""The people of the stories: a shop, an operator, and an engineer who may look behind the doors."""

import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import httpx
import psycopg
from psycopg.rows import dict_row

from contracts import fulfillment
from contracts import order as contract

Json = dict[str, Any]
Found = TypeVar("Found")

ENDED = ("SHIPPED", "CANCELLED", "FAILED")


def eventually(
    ask: Callable[[], Found], holds: Callable[[Found], bool], *, within_seconds: float = 60
) -> Found:
    """What was found as soon as it holds. Raises AssertionError with the last finding when it never does."""
    deadline = time.monotonic() + within_seconds
    while True:
        found = ask()
        if holds(found):
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_seconds} s; last: {found}")
        time.sleep(0.05)


class Shop:
    """Places orders and follows them, over the order service's REST door."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=15)

    def place(self, scenario: str = "happy", speed: str = "instant", key: str | None = None) -> str:
        """The id of an accepted demo order."""
        headers = {"Idempotency-Key": key} if key else {}
        answer = self.http.post(
            "/orders/demo", params={"scenario": scenario, "speed": speed}, headers=headers
        )
        assert answer.status_code == 201, answer.text
        return answer.json()["orderId"]

    def status(self, order_id: str) -> Json:
        answer = self.http.get(f"/orders/{order_id}/status")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def sees(self, order_id: str, status: str, within_seconds: float = 60) -> Json:
        """The order's status once it reads so."""
        return eventually(
            lambda: self.status(order_id),
            lambda seen: seen["status"] == status,
            within_seconds=within_seconds,
        )

    def sees_end(self, order_id: str, within_seconds: float = 60) -> Json:
        """The order's status once order, money and parcel have ended."""
        return eventually(
            lambda: self.status(order_id),
            lambda seen: seen["stage"] in ENDED and seen["currentStep"] == "end",
            within_seconds=within_seconds,
        )

    def sees_parcel(self, order_id: str, within_seconds: float = 60, **expected: Any) -> Json:
        """The parcel as the order's view shows it, once it has all of these."""

        def has(seen: Json) -> bool:
            parcel: Json = seen.get("fulfillment") or {}
            return all(parcel.get(name) == value for name, value in expected.items())

        return eventually(lambda: self.status(order_id), has, within_seconds=within_seconds)["fulfillment"]

    def insists(self, key: str, scenario: str = "happy", speed: str = "instant") -> str:
        """The id of the order that this key stands for; asked again until somebody answers."""

        def ask() -> str | None:
            try:
                return self.place(scenario, speed, key)
            except (httpx.TransportError, AssertionError):
                return None

        return eventually(ask, lambda order_id: order_id is not None, within_seconds=60) or ""

    def pause(self, order_id: str) -> httpx.Response:
        return self.http.post(f"/orders/{order_id}/fulfillment/pause")

    def resume(self, order_id: str) -> httpx.Response:
        return self.http.post(f"/orders/{order_id}/fulfillment/resume")

    def cancel(self, order_id: str, reason: str = "changed my mind") -> httpx.Response:
        return self.http.request("DELETE", f"/orders/{order_id}", json={"reason": reason})

    def readdress(
        self, order_id: str, street: str = "456 New Street", zip_code: str = "54321"
    ) -> httpx.Response:
        return self.http.patch(
            f"/orders/fulfillment/{fulfillment.fulfillment_id(order_id, 1)}/shipping-address",
            json=address(street, zip_code),
        )

    def receipt(self, command_id: str) -> Json:
        return self.http.get(f"/commands/{command_id}").json()

    def stock(self) -> dict[str, Json]:
        return {row["sku"]: row for row in self.http.get("/stock").json()["stock"]}


def address(street: str = "456 New Street", zip_code: str = "54321") -> Json:
    return {"street": street, "city": "New City", "state": "NC", "zipCode": zip_code, "country": "USA"}


def parcel_workflow(order_id: str) -> str:
    """The workflow of the order's first fulfillment."""
    return fulfillment.workflow_id(fulfillment.fulfillment_id(order_id, 1))


class Operator:
    """Works in the warehouse, over the fulfillment service's REST door."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=15)

    def parcel(self, order_id: str) -> Json:
        answer = self.http.get(f"/fulfillments/{order_id}")
        return answer.json() if answer.status_code == 200 else {}

    def sees(self, order_id: str, within_seconds: float = 60, **expected: Any) -> Json:
        """The parcel once it has all of these."""
        return eventually(
            lambda: self.parcel(order_id),
            lambda seen: all(seen.get(name) == value for name, value in expected.items()),
            within_seconds=within_seconds,
        )

    def sees_order(self, order_id: str, *, payment: str) -> Json:
        """The parcel once its view of the order tells this payment."""

        def tells(seen: Json) -> bool:
            order: Json = seen.get("order") or {}
            return order.get("paymentStatus") == payment

        return eventually(lambda: self.parcel(order_id), tells)

    def works(self, order_id: str, *step_keys: str) -> None:
        """Each of these steps has begun and been completed, one after the other."""
        for step_key in step_keys:
            self.comes_to(order_id, step_key)
            answer = self.completes(order_id, step_key)
            assert answer.status_code == 200, answer.text

    def comes_to(self, order_id: str, step_key: str, within_seconds: float = 60) -> Json:
        """The parcel once this step waits for the operator; the hand-over begins only with the carrier."""
        return self.sees(order_id, within_seconds, currentStep=step_key, stepOpen=step_key != "hand-over")

    def completes(self, order_id: str, step_key: str) -> httpx.Response:
        return self.http.post(f"/fulfillments/{order_id}/steps/{step_key}/complete")

    def fails(self, order_id: str, step_key: str) -> httpx.Response:
        return self.http.post(f"/fulfillments/{order_id}/steps/{step_key}/fail")

    def pause(self, order_id: str) -> httpx.Response:
        return self.http.post(f"/fulfillments/{order_id}/pause")

    def resume(self, order_id: str) -> httpx.Response:
        return self.http.post(f"/fulfillments/{order_id}/resume")

    def cancel(self, order_id: str) -> httpx.Response:
        return self.http.post(f"/fulfillments/{order_id}/cancel", json={"reason": "damaged"})

    def holds(self, order_id: str, reason: str, **details: str) -> httpx.Response:
        """One more reason not to move, with a handle or an end where they are given."""
        return self.http.post(f"/fulfillments/{order_id}/holds", json={"reason": reason, **details})

    def releases(self, order_id: str, handle: str) -> httpx.Response:
        return self.http.delete(f"/fulfillments/{order_id}/holds", params={"handle": handle})

    def freezes(self, kind: str, value: str, handle: str) -> httpx.Response:
        """Nothing that matches begins a step any more."""
        body = {"kind": kind, "value": value, "reason": "QUALITY", "handle": handle}
        return self.http.post("/standing-holds", json=body)

    def thaws(self, handle: str, per_second: float = 20) -> Json:
        """What the lifted standing hold lets go."""
        answer = self.http.delete(f"/standing-holds/{handle}", params={"drainPerSecond": per_second})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def answers(self, order_id: str, command_id: str, word: str) -> httpx.Response:
        """`accept` or `reject`, to an order that wants its parcel cancelled."""
        return self.http.post(f"/fulfillments/{order_id}/cancellation-requests/{command_id}/{word}")

    def action(self, order_id: str, name: str) -> Json:
        """What the action horizon says about one action."""
        found: list[Json] = self.http.get(f"/fulfillments/{order_id}/actions").json()["actions"]
        return next(action for action in found if action["name"] == name)


_AN_ORDER = "ORD-1234567890123-ABCDEFGHI"


def applied(rows: list[Json]) -> list[str]:
    """The operations of a ledger's rows that had an effect."""
    return [row["operation"] for row in rows if row["effect"] == "applied"]


class Behind(Protocol):
    """What an engineer can reach."""

    @property
    def sandbox_url(self) -> str: ...

    def postgres_url(self, database: str = "orders") -> str: ...

    def read_spans(self) -> list[Json]: ...


class Engineer:
    """Looks behind the doors: ledgers, event tables, spans."""

    def __init__(self, stack: Behind) -> None:
        self.stack = stack
        self._sandbox = httpx.Client(base_url=stack.sandbox_url, timeout=15)

    def books(self, provider: str) -> dict[str, list[Json]]:
        """What the payment or carrier sandbox truly did, by order, oldest first."""
        rows: list[Json] = self._sandbox.get(f"/ledgers/{provider}").json()
        found: dict[str, list[Json]] = {}
        for row in rows:
            reference = str(row.get("orderRef") or row.get("parcelRef") or "")
            found.setdefault(reference[: len(_AN_ORDER)], []).append(row)
        return found

    def ledger(self, provider: str, order_id: str) -> list[Json]:
        """What the sandbox truly did for the order, oldest first."""
        return self.books(provider).get(order_id, [])

    def effects(self, provider: str, order_id: str) -> list[str]:
        """The operations that had an effect, oldest first, such as `authorize`, `capture`."""
        return applied(self.ledger(provider, order_id))

    def stock_states(self, order_id: str) -> set[str]:
        """Where the stock ledger has the order's lines: HELD, CONFIRMED, RELEASED or SHIPPED."""
        rows = self.rows("orders", "select state from stock_ledger where order_id = %s", order_id)
        return {row["state"] for row in rows}

    def rows(self, database: str, query: str, *parameters: Any) -> list[Json]:
        with (
            psycopg.connect(self.stack.postgres_url(database)) as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            return cursor.execute(query.encode(), parameters).fetchall()

    def facts(self, order_id: str) -> list[str]:
        """The order's facts, oldest first."""
        return self._facts("orders", contract.stream(order_id))

    def parcel_facts(self, order_id: str) -> list[str]:
        """The facts of the order's first fulfillment, oldest first."""
        return self._facts("fulfillments", fulfillment.stream(fulfillment.fulfillment_id(order_id, 1)))

    def spans(self) -> list[Json]:
        return self.stack.read_spans()

    def _facts(self, database: str, stream: str) -> list[str]:
        rows = self.rows(database, "select type from events where stream = %s order by version", stream)
        return [row["type"] for row in rows]
