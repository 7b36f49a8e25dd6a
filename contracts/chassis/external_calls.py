"""What is asked of a provider: written down before it goes out, and never done twice.

A call has a name, its provider key, that was stored with the decision to make it and goes along on every try.
Before it goes out it is an INTENT. It ends CONFIRMED, with what we need of the answer, or FAILED, with the
code of a business refusal; from then on nobody is called for that key. Where nobody said which, because of a
time-out, an error of the provider or a worker that was killed, it is UNKNOWN: the provider is asked what
became of the key before anything else. Nothing in the table names a person.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, LiteralString

import httpx
from prometheus_client import Counter
from psycopg.types.json import Jsonb

from contracts.chassis.breakers import Breaker
from contracts.chassis.errors import Misunderstood, Unavailable
from contracts.chassis.postgres import Database, Row
from contracts.chassis.seen import seen

CALLS = Counter("tandem_provider_calls", "What became of a call", ["provider", "outcome"])

# An intent that is found was left by an attempt of which nobody knows how far it came.
_BEGIN: LiteralString = """
    insert into external_calls as known (provider_key, provider, operation, stream)
    values (%(provider_key)s, %(provider)s, %(operation)s, %(stream)s)
    on conflict (provider_key) do update
    set
        attempts = known.attempts + (known.answered_at is null)::integer,
        status = case known.status when 'INTENT' then 'UNKNOWN' else known.status end
    returning status, answer, error
    """

# Who answers first is believed: two attempts at once get the same answer, whatever each of them heard.
_END: LiteralString = """
    update external_calls as known
    set
        status = case when answered_at is null then %(status)s else known.status end,
        answer = case when answered_at is null then %(answer)s else known.answer end,
        error = case when answered_at is null then %(error)s else known.error end,
        answered_at = coalesce(answered_at, now())
    where provider_key = %(provider_key)s
    returning status, answer, error
    """

_LEAVE_OPEN: LiteralString = """
    update external_calls
    set status = 'UNKNOWN', error = %(error)s
    where provider_key = %(provider_key)s and answered_at is null
    """


@dataclass(frozen=True, slots=True)
class Answer:
    """What the provider said; the same for ever."""

    content: Mapping[str, Any]
    refusal: str | None = None
    """The provider's own code when it said no."""


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    content: Mapping[str, Any]


class ExternalCalls:
    """The calls of one provider, each with its effect at most once for its key."""

    def __init__(
        self,
        database: Database,
        provider: str,
        http: httpx.AsyncClient,
        *,
        refusals: Collection[int],
        breaker: Breaker | None = None,
    ) -> None:
        """`refusals` are the HTTP statuses with which the provider says a business no; the breaker is the
        one of that provider, unless another one is given."""
        self._database = database
        self._provider = provider
        self._http = http
        self._refusals = refusals
        self._breaker = breaker or Breaker(database, provider)

    async def once(
        self, provider_key: str, path: str, body: Mapping[str, Any], *, keep: Collection[str] = ()
    ) -> Answer:
        """The answer to the call of that key; `keep` names what of it is needed.

        Raises Unavailable when nobody knows what became of it, Misunderstood when the provider does not take
        the request as it is; both are asked again under the same key."""
        await self._breaker.check(provider_key)
        begun = await self._begin(provider_key)
        if begun["status"] in ("CONFIRMED", "FAILED"):
            return _stored(begun)
        # A store that was put back may have forgotten an attempt.
        is_new = begun["status"] == "INTENT" and not seen().is_put_back
        try:
            async with self._breaker.guarding(provider_key):
                reply = await self._replied(provider_key, path, body, is_new=is_new)
                refusal = self._refusal(reply)
            content = {} if refusal else {name: reply.content[name] for name in keep}
        except Exception as error:
            await self._left_open(provider_key, error)
            raise
        return await self._end(provider_key, Answer(content, refusal))

    async def _left_open(self, provider_key: str, error: Exception) -> None:
        """Nobody knows what became of it, and the record says why."""
        is_ours = isinstance(error, Unavailable | Misunderstood)
        CALLS.labels(self._provider, "unknown").inc()
        why = error.detail if is_ours else type(error).__name__
        await self._database.execute(_LEAVE_OPEN, provider_key=provider_key, error=why)

    async def _begin(self, provider_key: str) -> Row:
        stream, operation, _ = provider_key.rsplit(":", 2)
        row = await self._database.fetch_one(
            _BEGIN, provider_key=provider_key, provider=self._provider, operation=operation, stream=stream
        )
        assert row is not None
        return row

    async def _end(self, provider_key: str, answer: Answer) -> Answer:
        CALLS.labels(self._provider, "refused" if answer.refusal else "confirmed").inc()
        row = await self._database.fetch_one(
            _END,
            provider_key=provider_key,
            status="FAILED" if answer.refusal else "CONFIRMED",
            answer=Jsonb(answer.content),
            error=answer.refusal,
        )
        assert row is not None
        return _stored(row)

    async def _replied(
        self, provider_key: str, path: str, body: Mapping[str, Any], *, is_new: bool
    ) -> _Reply:
        """What the provider says; of an earlier attempt it is asked first what became of it."""
        if not is_new:
            found = await ask(self._http, self._provider, "GET", f"/operations/{provider_key}")
            if found.status_code == 200:
                known = found.json()
                return _Reply(known["httpStatus"], known["answer"])
        answer = await ask(self._http, self._provider, "POST", path, key=provider_key, body=body)
        return _Reply(answer.status_code, answer.json())

    def _refusal(self, reply: _Reply) -> str | None:
        """The provider's code when it said no. Raises Misunderstood for what is no answer to the question."""
        if reply.status in self._refusals:
            return str(reply.content.get("code", "refused"))[:60]
        if reply.status >= 400:
            raise Misunderstood(f"{self._provider}: HTTP {reply.status}")
        return None


def provider_http(url: str, *, timeout_seconds: float, slots: int) -> httpx.AsyncClient:
    """A client for one provider, with a connection for each call that may be out at a time."""
    limits = httpx.Limits(max_connections=slots, max_keepalive_connections=slots)
    return httpx.AsyncClient(base_url=url, timeout=timeout_seconds, limits=limits)


async def ask(
    http: httpx.AsyncClient,
    provider: str,
    method: str,
    path: str,
    *,
    key: str | None = None,
    body: Mapping[str, Any] | None = None,
) -> httpx.Response:
    """What the provider answers, also a no. Raises Unavailable when it does not, or cannot now."""
    headers = {"Idempotency-Key": key} if key else {}
    try:
        answer = await http.request(method, path, json=body, headers=headers)
    except httpx.HTTPError as error:
        raise Unavailable(f"{provider}: no answer ({type(error).__name__})") from error
    if answer.status_code >= 500 or answer.status_code in (408, 425, 429):
        raise Unavailable(f"{provider}: HTTP {answer.status_code}", retry_after=_asked_for(answer))
    return answer


def _stored(row: Row) -> Answer:
    return Answer(row["answer"], row["error"])


def _asked_for(answer: httpx.Response) -> timedelta | None:
    """How long the provider asks us to wait, at most a minute."""
    seconds = answer.headers.get("retry-after", "")
    return timedelta(seconds=min(int(seconds), 60)) if seconds.isascii() and seconds.isdigit() else None
