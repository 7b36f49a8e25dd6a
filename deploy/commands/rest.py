"""Both services as the command line sees them: where their doors are, what each answer means for a shell."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict, Unpack, cast
from urllib.parse import quote

import typer

if TYPE_CHECKING:
    import httpx

OK, REFUSED, USAGE, UNREACHABLE, TIMED_OUT, OTHERWISE = range(6)
TIMEOUT_SECONDS = 30.0
ACTOR = "tandem-cli"
_DEFAULTS = {
    "TANDEM_ORDER_URL": "http://127.0.0.1:3232",
    "TANDEM_FULFILLMENT_URL": "http://127.0.0.1:3233",
    "TANDEM_KAFKA_SERVERS": "127.0.0.1:9092",
    "TANDEM_ORDERS_POSTGRES_URL": "postgresql://tandem@127.0.0.1:5432/orders",
    "TANDEM_FULFILLMENTS_POSTGRES_URL": "postgresql://tandem@127.0.0.1:5432/fulfillments",
}
_NEXT = {
    "NOT_FOUND": "`tandem order list` and `tandem fulfillment list` show what there is",
    "KEY_REUSED": "send the new request under a new --key",
    "INVALID_REQUEST": "change the request; `--help` shows examples",
    "ALREADY_ENDED": "`tandem order get` shows how it ended",
    "STANDING_HOLD": "`tandem standing-hold list` shows it, `tandem standing-hold lift` lifts it for all",
    "HOLD_NOT_FOUND": "`tandem order get` and `tandem fulfillment get` show the holds",
    "HANDLE_TAKEN": "take another --handle, or lift the hold that has it",
    "UNKNOWN_SKU": "the order service lists its articles at /stock",
}

Json = dict[str, Any]


def address(variable: str) -> str:
    """What a variable says, else what the running stack says of itself, else the design's port."""
    return os.environ.get(variable) or described(variable) or _DEFAULTS[variable]


def described(variable: str) -> str | None:
    """What the running stack says of itself."""
    from deploy.local.state import State, default_folder  # noqa: PLC0415  imports are most of the start-up time

    return State(default_folder()).described().get("env", {}).get(variable)


class More(TypedDict, total=False):
    """What a request brings beside its method and path; None counts as absent."""

    body: object
    query: Mapping[str, object]
    headers: Mapping[str, object]


@dataclass(frozen=True)
class Door:
    """One service's REST door."""

    name: str
    url: str
    as_json: bool = False

    def ask(self, method: str, path: str, **more: Unpack[More]) -> Json:
        """What the service answered. Ends the process, with a message, when it refused or does not answer."""
        try:
            answer = self.send(method, path, **more)
        except NoAnswer:
            unreachable(self.name, self.url, self.as_json)
        if answer.status_code >= 400:
            refused(problem_of(answer), self.as_json)
        return cast("Json", answer.json())

    def send(self, method: str, path: str, **more: Unpack[More]) -> "httpx.Response":
        """The answer, whatever it is. Raises NoAnswer when there is none."""
        httpx = _httpx()
        query, headers = _present(more.get("query")), _present(more.get("headers"))
        try:
            with open_client(self.url) as client:
                return client.request(
                    method, path, json=more.get("body"), params=query, headers={"X-Actor": ACTOR} | headers
                )
        except (httpx.TransportError, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise NoAnswer from error


def _present(given: Mapping[str, object] | None) -> dict[str, str]:
    return {name: str(value) for name, value in (given or {}).items() if value is not None}


class NoAnswer(Exception):
    """The service does not answer."""


def in_path(name: str) -> str:
    """A name as one segment of a path, whatever was typed."""
    return quote(name, safe=":")


def open_client(url: str) -> "httpx.Client":
    """A client of one service; the edge that tests replace."""
    if url.startswith("http://"):
        return _httpx().Client(base_url=url, transport=_plain_transport())
    return _httpx().Client(base_url=url, timeout=TIMEOUT_SECONDS)


def _plain_transport() -> "httpx.BaseTransport":
    """HTTP by Python's own client: httpx's engine takes 60 ms to import, a sixth of `tandem order get`."""
    import http.client  # noqa: PLC0415

    httpx = _httpx()

    class Plain(httpx.BaseTransport):
        def handle_request(self, request: "httpx.Request") -> "httpx.Response":
            place = request.url
            connection = http.client.HTTPConnection(place.host, place.port or 80, timeout=TIMEOUT_SECONDS)
            try:
                path = place.raw_path.decode()
                connection.request(request.method, path, request.read() or None, dict(request.headers))
                answer = connection.getresponse()
                return httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())
            except (OSError, http.client.HTTPException) as error:
                raise httpx.ConnectError(str(error)) from error
            finally:
                connection.close()

    return Plain()


def problem_of(answer: "httpx.Response") -> Json:
    """The problem+json of an answer; whatever else came is made one."""
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    if isinstance(problem, dict) and "code" in problem:
        after = answer.headers.get("Retry-After")
        return cast("Json", problem | ({"retryAfterSeconds": int(after)} if (after or "").isdigit() else {}))
    return {"code": "INTERNAL", "status": answer.status_code, "detail": f"answered {answer.status_code}"}


def refused(problem: Json, as_json: bool) -> NoReturn:
    """The refusal is said: why, since when for good, what is possible now; and the process ends."""
    if as_json:
        print_json(problem)
    else:
        complain(why(problem))
        if problem.get("cutOff"):
            complain(f"Cut-off: {problem['cutOff']}")
        if problem.get("currentStatus"):
            step = f" at {problem['currentStep']}" if problem.get("currentStep") else ""
            complain(f"Now:     {problem['currentStatus']}{step}")
        if problem.get("allowedActions"):
            complain(f"Allowed: {', '.join(problem['allowedActions'])}")
        complain(f"Next:    {_next_step(problem)}")
    raise typer.Exit(REFUSED)


def why(refusal: Mapping[str, Any]) -> str:
    """The reason of a refusal and its code; the other service tells the code alone."""
    detail, code = refusal.get("detail"), refusal["code"]
    return f"Refused: {detail} ({code})" if detail else f"Refused: {code}"


def _next_step(problem: Json) -> str:
    if problem.get("retryAfterSeconds"):
        return f"try again in {problem['retryAfterSeconds']} s"
    if problem.get("retryable"):
        return "try again in a moment"
    anything_else = "`tandem order actions` and `tandem fulfillment actions` show what is possible"
    return _NEXT.get(problem["code"], anything_else)


def unreachable(name: str, where: str, as_json: bool) -> NoReturn:
    """Nobody answered: what to start is said, and the process ends."""
    if as_json:
        print_json(
            {
                "code": "NOT_REACHABLE",
                "detail": f"the {name} does not answer at {where}",
                "fix": "./deploy/up",
            }
        )
    else:
        complain(f"The {name} does not answer at {where}.\nFix: ./deploy/up")
    raise typer.Exit(UNREACHABLE)


def body_of(file: str) -> object:
    """The JSON in a file, or on standard input for `-`. Raises BadParameter with the place of the mistake."""
    try:
        if file == "-":
            return json.load(sys.stdin)
        with open(file, encoding="utf-8") as source:  # noqa: PTH123  Path would be one more import for one call
            return json.load(source)
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="--file") from error
    except ValueError as error:
        raise typer.BadParameter(f"{file} is not JSON: {error}", param_hint="--file") from error


def print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)


def say(*lines: str) -> None:
    """Colours only where there is a terminal."""
    for line in lines:
        typer.echo(line)


def complain(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _httpx() -> Any:
    # httpx offers a command line of its own and imports click, rich and pygments for it: half of its 280 ms.
    sys.modules.setdefault("httpx._main", cast("Any", None))
    import httpx  # noqa: PLC0415

    return httpx
