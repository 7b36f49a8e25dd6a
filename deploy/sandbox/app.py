"""Both providers and their ledgers behind one address."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Mount, Route

from deploy.sandbox.carrier import Carrier
from deploy.sandbox.door import Door, Problem, json_response, problem_response
from deploy.sandbox.ledger import Ledger
from deploy.sandbox.misbehaviour import listing
from deploy.sandbox.payments import Payments

_CODES = {404: "no_such_path", 405: "method_not_allowed"}


class Sandbox:
    """The simulated providers over one state folder, whose day is what `now` says."""

    def __init__(self, state: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self.stopping = asyncio.Event()
        """Set when the process ends; calls that wait by script give up."""
        self._ledgers = {
            "payments": Ledger(state / "payments.sqlite3", subject_field="orderRef", now=now),
            "carrier": Ledger(state / "carrier.sqlite3", subject_field="parcelRef", now=now),
        }
        doors = {name: Door(ledger, self.stopping) for name, ledger in self._ledgers.items()}
        self.app = Starlette(
            routes=[
                Mount("/payments", Payments(doors["payments"]).routes),
                Mount("/carrier", Carrier(doors["carrier"]).routes),
                Route("/ledgers/{provider}", self.ledger, methods=["GET"]),
                Route("/scenarios", _scenarios, methods=["GET"]),
                Route("/health/ready", self.ready, methods=["GET"]),
                Route("/", _about, methods=["GET"]),
            ],
            exception_handlers={HTTPException: _problem, Exception: _failed},
        )
        self.app.router.redirect_slashes = False

    def close(self) -> None:
        for ledger in self._ledgers.values():
            ledger.close()

    async def ledger(self, request: Request) -> Response:
        """All rows after `since`, as one JSON array."""
        ledger = self._ledgers.get(request.path_params["provider"])
        if ledger is None:
            raise Problem(404, "not_found", "There are the ledgers payments and carrier.")
        since = request.query_params.get("since", "0")
        if not (since.isascii() and since.isdigit() and len(since) < 16):
            raise Problem(422, "invalid_request", "since: the seq of a row, a whole number.")
        return StreamingResponse(_rows(ledger, int(since)), media_type="application/json")

    async def ready(self, _: Request) -> Response:
        for ledger in self._ledgers.values():
            ledger.is_stored("")
        return json_response(200, {"status": "ready"})


async def _rows(ledger: Ledger, since: int) -> AsyncIterator[str]:
    """Page by page, so that a long ledger neither fills the memory nor keeps others waiting."""
    before = "["
    for page in ledger.pages(since):
        yield before + ",".join(json.dumps(row, separators=(",", ":")) for row in page)
        before = ","
        await asyncio.sleep(0)
    yield "[]" if before == "[" else "]"


async def _scenarios(_: Request) -> Response:
    return json_response(200, listing())


async def _about(_: Request) -> Response:
    return json_response(
        200,
        {
            "name": "Tandem provider sandbox",
            "simulated": True,
            "detail": "No money moves and no parcel travels: payments and a carrier for development.",
            "scenarios": "/scenarios",
            "ledgers": ["/ledgers/payments", "/ledgers/carrier"],
        },
    )


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = error.code if isinstance(error, Problem) else _CODES.get(error.status_code, "invalid_request")
    return problem_response(error.status_code, code, error.detail, error.headers)


async def _failed(_: Request, __: Exception) -> Response:
    return problem_response(500, "internal", "The sandbox itself failed; nothing was done.")
