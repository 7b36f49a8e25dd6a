"""Both real doors over a real PostgreSQL: schemathesis thinks up cases, answers are checked and counted."""

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, cast

import httpx
import requests
from hypothesis import HealthCheck, Phase, settings
from schemathesis import checks
from schemathesis.openapi import from_dict
from schemathesis.schemas import BaseSchema

from contracts.chassis.explanation import Inspection
from contracts.chassis.problems import MEDIA_TYPE
from contracts.values import Code
from deploy import schemas
from tests.integration.doors import Doors, Service, open_doors
from tests.integration.hostile import ADDRESS, ORDER

SEED = int(os.environ.get("FUZZ_SEED", "20261121"))
TIMES = int(os.environ.get("FUZZ_TIMES", "1"))
Case = Any
"""A `schemathesis.Case`; the library's own types are not strict enough to be checked."""
DOCUMENTS: Mapping[Service, str] = {
    "orders": "order-service.openapi.json",
    "fulfillments": "fulfillment-service.openapi.json",
}
PEOPLE = 6
"""Orders, each with a parcel, that all requests are about: few, so that their lives get long."""

_KNOWN: Mapping[str, Sequence[str]] = {
    "step_key": ["pick:1", "quality", "pack", "label:1", "hand-over"],
    "handle": ["one", "two", "fuzz"],
    "command_id": ["key-1", "key-2", "key-3"],
    "idempotency-key": ["key-1", "key-2", "key-3"],
    "sku": ["TEAPOT", "MUG-RED", "TEA-GREEN"],
}
"""What a parameter or field of that name may mean here, besides orders and parcels."""

checks.load_all_checks()
_OFFERED = cast("Any", checks).CHECKS
_CHECKS: list[Any] = [
    _OFFERED.get_one(name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    )
]
_REJECTION: Any = _OFFERED.get_one("negative_data_rejection")


def fuzzing(examples: int, **more: Any) -> settings:
    """So many examples, nothing kept from another run, and failures reported as they came."""
    return settings(
        max_examples=examples * TIMES,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(cast("Any", HealthCheck)),
        report_multiple_bugs=False,
        **more,
    )


def schema_of(service: Service) -> BaseSchema:
    """What the service publishes about itself."""
    return from_dict(schemas.documents()[DOCUMENTS[service]])


def operations_of(service: Service) -> list[Any]:
    return [found.ok() for found in cast("Any", schema_of(service)).get_all_operations()]


@dataclass
class Asked:
    """The doors in a loop of their own, what exists behind them, and how often which answer came."""

    doors: Doors
    loop: asyncio.AbstractEventLoop
    orders: Sequence[str]
    parcels: Sequence[str]
    answers: Counter[tuple[Service, int]] = field(default_factory=Counter[tuple[Service, int]])

    def total(self, service: Service) -> int:
        """Requests that this door has answered."""
        return sum(times for (door, _), times in self.answers.items() if door == service)

    def summary(self, service: Service) -> str:
        told = sorted((status, times) for (door, status), times in self.answers.items() if door == service)
        return f"{self.total(service)} requests: " + ", ".join(
            f"{times} x {status}" for status, times in told
        )

    def known(self, name: str) -> Sequence[str]:
        """What a parameter or field of that name may mean here."""
        if name in ("workflow_id", "orderId"):
            return self.orders
        if name in ("fulfillment_workflow_id", "fulfillment_id"):
            return [*self.parcels, *self.orders]
        return _KNOWN.get(name, ())

    def ask_about(self, service: Service, case: Case, aim: int) -> None:
        """Asked as strange as it is, and then about things that exist, if it can be."""
        self.ask(service, case, is_strange=True)
        plain = deepcopy(_parts(case))
        for turn in range(2):
            self._aim(_parts(case), aim + turn)
            if _parts(case) == plain:
                return
            self.ask(service, case)

    def _aim(self, container: object, aim: int) -> None:
        match container:
            case list():
                for each in cast("list[Any]", container):
                    self._aim(each, aim)
            case Mapping():
                named = cast("dict[str, Any]", container)
                for name, value in list(named.items()):
                    if isinstance(value, str) and (known := self.known(name)):
                        named[name] = known[aim % len(known)]
                    else:
                        self._aim(value, aim)
            case _:
                pass

    def ask(self, service: Service, case: Case, *, is_strange: bool = False) -> httpx.Response:
        """The answer, checked against all that its service publishes; a strange case may be wrong."""
        plain = case.as_transport_kwargs(base_url="http://door")
        request = requests.Request(**{name: plain.get(name) for name in _OF_A_REQUEST}).prepare()
        answer = asyncio.run_coroutine_threadsafe(self._sent(service, request), self.loop).result(60)
        self.answers[service, answer.status_code] += 1
        case.validate_response(answer, checks=[*_CHECKS, *([_REJECTION] if is_strange else [])])
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            self._is_a_problem(answer)
        return answer

    async def _sent(self, service: Service, request: Any) -> httpx.Response:
        body = request.body.encode() if isinstance(request.body, str) else request.body
        headers: Any = {
            name: value for name, value in request.headers.items() if name.lower() != "content-length"
        }
        return await self.doors.http[service].request(
            request.method, request.url, content=body, headers=headers
        )

    def _is_a_problem(self, answer: httpx.Response) -> None:
        told = answer.json()
        assert answer.headers["Content-Type"] == MEDIA_TYPE, answer.text
        assert told["code"] in set(Code), told
        assert told["status"] == answer.status_code
        assert told["traceId"] == answer.headers["Trace-Id"]


def _parts(case: Case) -> list[object]:
    return [case.path_parameters, case.query, case.headers, case.body]


_OF_A_REQUEST = ("method", "url", "headers", "params", "data", "json", "cookies")


@contextmanager
def asking(orders_url: str, fulfillments_url: str) -> Generator[Asked]:
    """Both doors answer until the end; behind them are some orders, each with a parcel."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def wait(work: Any, seconds: float = 60) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(seconds)

    opened = open_doors(orders_url, fulfillments_url)
    try:
        doors = wait(opened.__aenter__())
        try:
            yield wait(_furnished(doors, loop))
        finally:
            wait(opened.__aexit__(None, None, None))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _furnished(doors: Doors, loop: asyncio.AbstractEventLoop) -> Asked:
    for client in doors.http.values():
        application: Any = cast("httpx.ASGITransport", client._transport).app  # pyright: ignore[reportPrivateUsage]
        application.state.door.inspect = _nobody_runs
    orders = [await doors.order(ORDER) for _ in range(PEOPLE)]
    parcels = [await doors.parcel(order, ADDRESS) for order in orders]
    await doors.carry()
    return Asked(doors, loop, orders, parcels)


async def _nobody_runs(_workflow_id: str) -> Inspection:
    """No Temporal here, and two seconds of waiting for it would be most of the test."""
    return Inspection(answers=False)
