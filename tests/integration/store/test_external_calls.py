"""The record of what was asked of a provider, against one that does not always say what it did."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from contracts.chassis import breakers
from contracts.chassis.breakers import Breaker, CircuitOpen
from contracts.chassis.errors import Misunderstood, Unavailable
from contracts.chassis.external_calls import Answer, ExternalCalls, Known, provider_http
from contracts.chassis.postgres import Database

pytestmark = pytest.mark.usefixtures("breaker")
KEY = "order-1:authorize:1"
PAID = Answer({"reference": "auth_1"})


@dataclass
class Provider:
    """Does what it is asked each time, also twice; its answers follow a script."""

    script: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    """What happens after each of the next calls was done, instead of its answer."""
    before: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    """The same before anything was done."""
    status: int = 201
    content: dict[str, Any] = field(default_factory=lambda: {"reference": "auth_1", "holder": "Ada"})
    done: Counter[str] = field(default_factory=Counter[str])
    asked: list[str] = field(default_factory=list[str])
    can_look_up: bool = True
    lookup: httpx.Response | None = None
    """What it answers to whatever is looked up."""

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.method)
        await asyncio.sleep(0)
        if request.method == "GET":
            if not self.can_look_up:
                raise httpx.ReadTimeout("nothing is heard")
            if self.lookup is not None:
                return self.lookup
            key = request.url.path.removeprefix("/operations/")
            if key not in self.done:
                return httpx.Response(404, json={"code": "not_found"})
            content = {"httpStatus": self.status, "answer": self.content, "amountMinor": 100}
            return httpx.Response(200, json=content)
        if self.before:
            self.before.pop(0)()
        self.done[request.headers["idempotency-key"]] += 1
        if self.script:
            self.script.pop(0)()
        return httpx.Response(self.status, json=self.content)

    def calls(self, database: Database) -> ExternalCalls:
        """Of a worker that looks at the breaker before each."""
        http = httpx.AsyncClient(base_url="http://provider", transport=httpx.MockTransport(self))
        breaker = Breaker(database, "payments", believed_seconds=-1)
        return ExternalCalls(database, "payments", http, refusals=(402, 409), breaker=breaker)


@pytest.fixture
async def breaker(database: Database) -> None:
    await database.execute("insert into circuit_breakers (name) values ('payments')")


def silence() -> None:
    raise httpx.ReadTimeout("nothing is heard")


def killed() -> None:
    raise asyncio.CancelledError


async def asks(calls: ExternalCalls, key: str = KEY) -> Answer:
    return await calls.once(key, "/authorizations", {"amountMinor": 100}, keep=("reference",))


async def recorded(database: Database, key: str = KEY) -> dict[str, Any]:
    row = await database.fetch_one("select * from external_calls where provider_key = %(key)s", key=key)
    assert row is not None
    return row


async def test_a_confirmed_call_is_made_once_and_answers_for_ever(database: Database):
    """The second try calls nobody; only what is needed of the answer is kept."""
    provider = Provider()
    calls = provider.calls(database)
    assert [await asks(calls), await asks(calls)] == [PAID, PAID]
    assert provider.asked == ["POST"]
    row = await recorded(database)
    assert (row["provider"], row["stream"], row["operation"]) == ("payments", "order-1", "authorize")
    assert (row["status"], row["attempts"], row["answer"]) == ("CONFIRMED", 1, {"reference": "auth_1"})
    assert row["answered_at"] >= row["begun_at"]


async def test_a_refused_call_has_failed_with_its_code_and_is_not_repeated(database: Database):
    """The same no for ever; a changed mind of the provider needs another key."""
    provider = Provider(status=402, content={"code": "card_declined"})
    calls = provider.calls(database)
    no = Answer({}, refusal="card_declined")
    assert await asks(calls) == no
    provider.status = 201
    assert await asks(calls) == no
    assert provider.asked == ["POST"]
    assert (await recorded(database))["status"] == "FAILED"


async def test_a_silent_call_is_unknown_and_looked_up_before_anything_else(database: Database):
    """Done but not told: the lookup finds it, and it is not done again."""
    provider = Provider(script=[silence])
    calls = provider.calls(database)
    with pytest.raises(Unavailable):
        await asks(calls)
    row = await recorded(database)
    assert (row["status"], row["error"]) == ("UNKNOWN", "payments: no answer (ReadTimeout)")
    assert await asks(calls) == PAID
    assert provider.asked == ["POST", "GET"]
    assert provider.done == {KEY: 1}
    row = await recorded(database)
    assert (row["status"], row["error"], row["attempts"]) == ("CONFIRMED", None, 2)


async def test_what_the_lookup_does_not_find_is_done(database: Database):
    """Silent before anything was done: nothing is found, so it is asked for under the same key."""
    provider = Provider(before=[silence])
    calls = provider.calls(database)
    with pytest.raises(Unavailable):
        await asks(calls)
    assert await asks(calls) == PAID
    assert provider.asked == ["POST", "GET", "POST"]
    assert provider.done == {KEY: 1}


async def test_nothing_is_done_while_it_cannot_be_looked_up(database: Database):
    """A lookup without an answer leaves it unknown, however often it is tried."""
    provider = Provider(script=[silence], can_look_up=False)
    calls = provider.calls(database)
    for _ in range(3):
        with pytest.raises(Unavailable):
            await asks(calls)
    assert provider.done == {KEY: 1}
    assert (await recorded(database))["status"] == "UNKNOWN"
    provider.can_look_up = True
    assert await asks(calls) == PAID


NOBODY_KNOWS = {
    "unauthorized": httpx.Response(401, json={"code": "unauthorized"}),
    "forbidden": httpx.Response(403, json={"code": "forbidden"}),
    "not understood": httpx.Response(400, json={"code": "invalid_request"}),
    "gone": httpx.Response(410, json={"code": "not_found"}),
    "moved": httpx.Response(302, headers={"Location": "/elsewhere"}),
    "broken": httpx.Response(500, json={"code": "not_found"}),
    "no such path": httpx.Response(404, json={"code": "no_such_path"}),
    "a proxy's own 404": httpx.Response(404, html="<h1>Not Found</h1>"),
    "a proxy's own 200": httpx.Response(200, html="<h1>Welcome</h1>"),
    "half an answer": httpx.Response(200, json={"httpStatus": 201}),
}


@pytest.mark.parametrize("lookup", NOBODY_KNOWS.values(), ids=NOBODY_KNOWS)
async def test_only_the_providers_own_word_lets_a_call_out_again(database: Database, lookup: httpx.Response):
    """Whatever else a lookup is answered with, it stays unknown, may be tried again, and is not refused."""
    provider = Provider(script=[silence], lookup=lookup)
    calls = provider.calls(database)
    for _ in range(3):
        with pytest.raises(Unavailable):
            await asks(calls)
        assert (await recorded(database))["status"] == "UNKNOWN"
    with pytest.raises(Unavailable):
        await calls.known(KEY)
    assert provider.asked == ["POST", "GET", "GET", "GET"]
    provider.lookup = None
    assert await asks(calls) == PAID
    assert provider.done == {KEY: 1}


@pytest.mark.parametrize("was_done", [True, False])
async def test_a_killed_worker_leaves_an_intent_that_is_looked_up(database: Database, was_done: bool):
    """Killed between the call and its record, or before the call went out: done once all the same."""
    provider = Provider(script=[killed] if was_done else [], before=[] if was_done else [killed])
    with pytest.raises(asyncio.CancelledError):
        await asks(provider.calls(database))
    assert (await recorded(database))["status"] == "INTENT"
    assert await asks(provider.calls(database)) == PAID
    assert provider.asked == ["POST", "GET", *([] if was_done else ["POST"])]
    assert provider.done == {KEY: 1}


async def test_a_refusal_that_was_not_heard_is_found_by_the_lookup(database: Database):
    provider = Provider(status=409, content={"code": "voided"}, script=[silence])
    calls = provider.calls(database)
    with pytest.raises(Unavailable):
        await asks(calls)
    assert await asks(calls) == Answer({}, refusal="voided")
    assert (await recorded(database))["status"] == "FAILED"


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_a_provider_that_cannot_answer_says_nothing_about_the_call(database: Database, status: int):
    """Neither confirmed nor refused; what it asks us to wait is passed on."""

    async def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers={"Retry-After": "7"})

    http = httpx.AsyncClient(base_url="http://provider", transport=httpx.MockTransport(answer))
    with pytest.raises(Unavailable) as raised:
        await asks(ExternalCalls(database, "payments", http, refusals=(402,)))
    assert raised.value.retry_after is not None
    assert raised.value.retry_after.total_seconds() == 7
    assert (await recorded(database))["error"] == f"payments: HTTP {status}"


@pytest.mark.parametrize("status", [400, 401, 422])
async def test_a_mistake_of_ours_is_no_answer(database: Database, status: int):
    """What the provider does not take is asked again once somebody has put it right."""
    provider = Provider(status=status, content={"code": "unauthorized"})
    calls = provider.calls(database)
    with pytest.raises(Misunderstood):
        await asks(calls)
    assert (await recorded(database))["status"] == "UNKNOWN"
    provider.status, provider.content = 201, {"reference": "auth_1"}
    assert await asks(calls) == PAID


async def test_two_attempts_at_once_have_one_answer(database: Database):
    """Whoever records first is believed, also when the other one heard something else."""
    provider = Provider()
    calls = provider.calls(database)
    heard = await asyncio.gather(asks(calls), asks(calls))
    assert heard == [PAID, PAID]
    assert (await recorded(database))["status"] == "CONFIRMED"


async def test_calls_of_other_keys_are_other_calls(database: Database):
    provider = Provider()
    calls = provider.calls(database)
    await asks(calls)
    await asks(calls, "order-1:capture:1")
    assert provider.done == {KEY: 1, "order-1:capture:1": 1}


async def test_what_the_provider_says_of_a_key_is_read_and_nothing_else(database: Database):
    """Done with its amount, refused with its code, or never heard of; no record is made of it."""
    provider = Provider()
    await asks(provider.calls(database), "order-1:capture:1")
    calls = provider.calls(database)
    assert await calls.known("order-1:capture:1") == Known(refusal=None, amount_minor=100)
    provider.status, provider.content = 409, {"code": "voided"}
    assert await calls.known("order-1:capture:1") == Known(refusal="voided", amount_minor=100)
    assert await calls.known("order-1:capture:2") is None
    assert provider.done == {"order-1:capture:1": 1}
    assert len(await database.fetch("select * from external_calls")) == 1


@pytest.mark.parametrize("is_recorded", [True, False])
async def test_what_a_provider_has_forgotten_is_made_anew(database: Database, is_recorded: bool):
    """Written down before it goes out, looked up, and then done under its own name, once."""
    provider = Provider()
    calls = provider.calls(database)
    if is_recorded:
        await asks(calls)
        provider.done.clear()
    provider.script = [killed]
    with pytest.raises(asyncio.CancelledError):
        await calls.once(KEY, "/authorizations", {}, keep=("reference",), anew=True)
    row = await recorded(database)
    assert (row["status"], row["answered_at"], row["operation"]) == ("UNKNOWN", None, "authorize")
    assert provider.asked[-2:] == ["GET", "POST"]
    assert await calls.once(KEY, "/authorizations", {}, keep=("reference",), anew=True) == PAID
    assert provider.asked[-1] == "GET"
    assert (await recorded(database))["status"] == "CONFIRMED"
    assert provider.done == {KEY: 1}


@pytest.mark.parametrize("anew", [True, False])
async def test_a_lookup_and_a_repair_are_guarded_as_every_call_is(database: Database, anew: bool):
    """Silence counts, an open breaker keeps them back, and one of them is the probe that closes it."""
    await database.execute("update circuit_breakers set threshold = 2, cool_down_seconds = 3600")
    provider = Provider(can_look_up=False)
    calls = provider.calls(database)

    async def call() -> object:
        if anew:
            return await calls.once(KEY, "/authorizations", {}, keep=("reference",), anew=True)
        return await calls.known(KEY)

    for _ in range(2):
        with pytest.raises(Unavailable):
            await call()
    assert (await breakers.find(database, "payments")).state == "OPEN"
    provider.can_look_up, asked = True, len(provider.asked)
    with pytest.raises(CircuitOpen):
        await call()
    assert len(provider.asked) == asked
    await database.execute("update circuit_breakers set open_until = now()")
    await call()
    turns = await database.fetch(breakers.HISTORY, name="payments", limit=9)
    assert [row["to_state"] for row in reversed(turns)] == ["OPEN", "HALF_OPEN", "CLOSED"]


async def test_a_call_has_an_end_even_where_the_answer_drips(database: Database):
    """Byte after byte, each in time: what counts is the whole."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 1000000\r\n\r\n")
        with suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.01)

    async with await asyncio.start_server(drip, "127.0.0.1") as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with provider_http(url, timeout_seconds=0.3, slots=1) as http:
            with pytest.raises(Unavailable, match="ReadTimeout"):
                await asks(ExternalCalls(database, "payments", http, refusals=(402,)))
    assert (await recorded(database))["status"] == "UNKNOWN"


async def test_while_the_breaker_is_open_nothing_is_begun(database: Database):
    """No intent is written for a call that does not go out; afterwards it is as if nothing had been."""
    provider = Provider()
    calls = provider.calls(database)
    await breakers.set_by_hand(database, "payments", "OPEN", reason="test", actor="ada")
    with pytest.raises(CircuitOpen):
        await asks(calls)
    assert await database.fetch("select * from external_calls") == []
    await breakers.set_by_hand(database, "payments", "CLOSED", reason="test", actor="ada")
    assert await asks(calls) == PAID
    assert provider.asked == ["POST"]


async def test_refusals_do_not_open_the_breaker(database: Database):
    """A no is an answer, however often it comes; silence is none."""
    await database.execute("update circuit_breakers set threshold = 2")
    provider = Provider(status=402, content={"code": "card_declined"})
    for n in range(5):
        await asks(provider.calls(database), f"order-{n}:authorize:1")
    assert (await breakers.find(database, "payments")).state == "CLOSED"
    silent = Provider(script=[silence] * 2)
    for n in range(2):
        with pytest.raises(Unavailable):
            await asks(silent.calls(database), f"order-{n}:capture:1")
    assert (await breakers.find(database, "payments")).state == "OPEN"
