"""Doors that answer as the tests say, and the command line before them."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
from typer.testing import CliRunner, Result

from deploy.cli import assembled

ORDER_ID = "ORD-1703123456789-ABC123DEF"
PLACED = {
    "orderId": ORDER_ID,
    "workflowId": f"order-workflow-{ORDER_ID}",
    "message": "Order created successfully",
    "commandId": "c-1",
    "status": "PENDING",
}
RECEIPT = {"orderId": ORDER_ID, "commandId": "c-2", "status": "ACCEPTED"}
APP = assembled()

Answer = Callable[[httpx.Request], httpx.Response]


class Doors:
    """Both services as a script: what each path answers, and what was asked."""

    def __init__(self) -> None:
        self.asked: list[httpx.Request] = []
        self._answers: dict[tuple[str, str], Iterator[httpx.Response | Exception]] = {}

    def answer(self, method: str, path: str, *answers: httpx.Response | Exception | dict[str, Any]) -> None:
        """These answers, one after the other; the last one for ever."""
        given = [httpx.Response(200, json=each) if isinstance(each, dict) else each for each in answers]

        def forever() -> Iterator[httpx.Response | Exception]:
            yield from given
            while True:
                yield given[-1]

        self._answers[method, path] = forever()

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        scripted = self._answers.get((request.method, request.url.path))
        found = next(scripted) if scripted else problem(404, "NOT_FOUND", "nothing of that name")
        if isinstance(found, Exception):
            raise found
        return found

    @property
    def body(self) -> Any:
        """The body of the last request."""
        return json.loads(self.asked[-1].content)


def problem(status: int, code: str, detail: str, **more: Any) -> httpx.Response:
    return httpx.Response(
        status,
        json={"code": code, "detail": detail, "status": status, **more},
        headers={"Content-Type": "application/problem+json"},
    )


def an_order(status: str, step: str = "await-outcome", **more: Any) -> dict[str, Any]:
    stage = status if status in ("SHIPPED", "CANCELLED", "FAILED") else "FULFILLMENT_IN_PROGRESS"
    return {
        **{name: PLACED[name] for name in ("orderId", "workflowId")},
        "status": status,
        "stage": stage,
        "paymentStatus": "AUTHORIZED",
        "currentStep": step,
        "stepsDone": 5,
        "stepsTotal": 7,
        "percent": 71,
        "totalMinor": 8780,
        "currency": "USD",
        "lines": [{"sku": "TEAPOT", "quantity": 1, "unitPriceMinor": 4900}],
        "placedAt": "2026-01-01T00:00:00Z",
        "updatedAt": "2026-01-01T00:00:01Z",
        "fulfillment": None,
        **more,
    }


def a_parcel(status: str, **more: Any) -> dict[str, Any]:
    counts = {"itemsPicked": 2, "itemsTotal": 7, "stepsDone": 1, "stepsTotal": 7, "percent": 20}
    stage = status if status in ("SHIPPED", "CANCELLED", "FAILED") else "PICKING"
    return {
        "fulfillmentId": f"{ORDER_ID}-1", "orderId": ORDER_ID, "status": status, "stage": stage,
        "currentStep": "pick:2", **counts, **more,
    }  # fmt: skip


def an_exception(code: str, subject: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "e-1", "subject": subject, "orderId": ORDER_ID, "code": code, "fault": "dependency-down",
        "stepKey": "undo", "reason": "it does not go on", "evidence": {"attempts": 12}, "resolutions": [],
        "raisedAt": "2026-01-02T00:00:00Z", "ageSeconds": 5, "level": 0, "escalatedAt": None,
        "claimedBy": None, "resolvedAt": None, "resolution": None, "resolvedBy": None, **more,
    }  # fmt: skip


def tandem(*words: str, stdin: str | None = None, env: dict[str, str | None] | None = None) -> Result:
    return CliRunner().invoke(APP, words, input=stdin, env=env)


def one_object(result: Result) -> dict[str, Any]:
    """The one JSON object that is all of standard output."""
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)
