"""The record of what was asked of a provider, against one that does not always say what it did."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from contracts.chassis import breakers
from contracts.chassis.breakers import Breaker, CircuitOpen
from contracts.chassis.errors import Misunderstood, Unavailable
from contracts.chassis.external_calls import Answer, ExternalCalls
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

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.method)
        await asyncio.sleep(0)
        if request.method == "GET":
            if not self.can_look_up:
                raise httpx.ReadTimeout("nothing is heard")
            key = request.url.path.removeprefix("/operations/")
            if key not in self.done:
                return httpx.Response(404, json={"code": "not_found"})
            return httpx.Response(200, json={"httpStatus": self.status, "answer": self.content})
        if self.before:
            self.before.pop(0)()
        self.done[request.headers["idempotency-key"]] += 1
        if self.script:
            self.script.pop(0)()
        return httpx.Response(self.status, json=self.content)

    def calls(self, database: Database) -> ExternalCalls:
        http = httpx.AsyncClient(base_url="http://provider", transport=httpx.MockTransport(self))
        return ExternalCalls(database, "payments", http, refusals=(402, 409))


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


async def test_while_the_breaker_is_open_nothing_is_begun(database: Database):
    """No intent is written for a call that does not go out; afterwards it is as if nothing had been."""
    provider = Provider()
    calls = ExternalCalls(
        database,
        "payments",
        httpx.AsyncClient(base_url="http://provider", transport=httpx.MockTransport(provider)),
        refusals=(402,),
        breaker=Breaker(database, "payments", believed_seconds=-1),
    )
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
