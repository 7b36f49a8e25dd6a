"""What is asked of a provider: written down before it goes out, and never done twice.

A call has a name, its provider key, that was stored with the decision to make it and goes along on every try.
Before it goes out it is an INTENT. It ends CONFIRMED, with what we need of the answer, or FAILED, with the
code of a business refusal; from then on nobody is called for that key. Where nobody said which, because of a
time-out, an error of the provider or a worker that was killed, it is UNKNOWN: the provider is asked what
became of the key before anything else, and only its own word that it knows no such key lets the call go out
again. An answer of which the provider itself knows nothing is doubted, and the call is UNKNOWN once more.
Nothing in the table names a person.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, LiteralString, cast

import httpx
from prometheus_client import Counter
from psycopg.types.json import Jsonb

from contracts.chassis.breakers import Breaker
from contracts.chassis.errors import Misunderstood, Unavailable
from contracts.chassis.postgres import Database, Row
from contracts.chassis.seen import seen

NOT_FOUND = "not_found"
"""The code with which a provider says that it knows no such key; any other 404 is somebody else's."""

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

# Whatever was answered before is forgotten, for the provider knows nothing of it.
_BEGIN_ANEW: LiteralString = """
    insert into external_calls as known (provider_key, provider, operation, stream, status)
    values (%(provider_key)s, %(provider)s, %(operation)s, %(stream)s, 'UNKNOWN')
    on conflict (provider_key) do update
    set
        attempts = known.attempts + 1,
        status = 'UNKNOWN',
        answer = null,
        error = null,
        answered_at = null
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
class Known:
    """What the provider itself says of a key."""

    refusal: str | None
    """Its code when it said no; None when the call had its effect."""
    amount_minor: int | None
    """Where it was about money."""


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    content: Mapping[str, Any]
    amount_minor: int | None = None

    @property
    def is_done(self) -> bool:
        return 200 <= self.status < 300

    @property
    def code(self) -> str:
        return str(self.content.get("code", "refused"))[:60]


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
        self,
        provider_key: str,
        path: str,
        body: Mapping[str, Any],
        *,
        keep: Collection[str] = (),
        anew: bool = False,
    ) -> Answer:
        """The answer to the call of that key; `keep` names what of it is needed.

        With `anew` what was answered before counts for nothing: the provider is asked what it knows of the
        key, and does it where it knows nothing. Raises Unavailable when nobody knows what became of it,
        Misunderstood when the provider does not take the request as it is; both are asked again under the
        same key."""
        await self._breaker.check(provider_key)
        begun = await self._begin(provider_key, _BEGIN_ANEW if anew else _BEGIN)
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

    async def known(self, provider_key: str) -> Known | None:
        """What the provider says of that key, None when it knows no such; nothing is done or written.

        Raises Unavailable when it does not say, or is not to be asked now."""
        async with self._breaker.guarding(provider_key):
            reply = await self._looked_up(provider_key)
        return reply and Known(None if reply.is_done else reply.code, reply.amount_minor)

    async def _left_open(self, provider_key: str, error: Exception) -> None:
        """Nobody knows what became of it, and the record says why."""
        is_ours = isinstance(error, Unavailable | Misunderstood)
        CALLS.labels(self._provider, "unknown").inc()
        why = error.detail if is_ours else type(error).__name__
        await self._database.execute(_LEAVE_OPEN, provider_key=provider_key, error=why)

    async def _begin(self, provider_key: str, begin: LiteralString) -> Row:
        stream, operation, _ = provider_key.rsplit(":", 2)
        row = await self._database.fetch_one(
            begin, provider_key=provider_key, provider=self._provider, operation=operation, stream=stream
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
        if not is_new and (found := await self._looked_up(provider_key)):
            return found
        answer = await ask(self._http, self._provider, "POST", path, key=provider_key, body=body)
        return _Reply(answer.status_code, answer.json())

    async def _looked_up(self, provider_key: str) -> _Reply | None:
        """What the provider answered to the call of that key; None when it says that it knows no such.

        Raises Unavailable for any other answer: who may not ask, or asks the wrong one, knows nothing."""
        answer = await ask(self._http, self._provider, "GET", f"/operations/{provider_key}")
        said = _said(answer)
        if answer.status_code == 404 and said.get("code") == NOT_FOUND:
            return None
        if answer.status_code == 200 and {"httpStatus", "answer"} <= said.keys():
            return _Reply(said["httpStatus"], said["answer"], said.get("amountMinor"))
        raise Unavailable(f"{self._provider}: HTTP {answer.status_code} to a lookup")

    def _refusal(self, reply: _Reply) -> str | None:
        """The provider's code when it said no. Raises Misunderstood for what is no answer to the question."""
        if reply.status in self._refusals:
            return reply.code
        if not reply.is_done:
            raise Misunderstood(f"{self._provider}: HTTP {reply.status}")
        return None


class _Client(httpx.AsyncClient):
    """Whose own time-out is for the silence between two bytes; here it is for the whole call as well."""

    async def request(self, *asked: Any, **how: Any) -> httpx.Response:
        try:
            async with asyncio.timeout(self.timeout.read):
                return await super().request(*asked, **how)
        except TimeoutError:
            raise httpx.ReadTimeout("the answer did not end in time") from None


def provider_http(url: str, *, timeout_seconds: float, slots: int) -> httpx.AsyncClient:
    """A client for one provider, with a connection for each call that may be out at a time."""
    limits = httpx.Limits(max_connections=slots, max_keepalive_connections=slots)
    return _Client(base_url=url, timeout=timeout_seconds, limits=limits)


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


def _said(answer: httpx.Response) -> Mapping[str, Any]:
    """The object that was answered; empty when it is none, such as a page of whoever stands in between."""
    try:
        content: object = answer.json()
    except ValueError:
        return {}
    return cast("Mapping[str, Any]", content) if isinstance(content, Mapping) else {}


def _stored(row: Row) -> Answer:
    return Answer(row["answer"], row["error"])


def _asked_for(answer: httpx.Response) -> timedelta | None:
    """How long the provider asks us to wait, at most a minute."""
    seconds = answer.headers.get("retry-after", "")
    return timedelta(seconds=min(int(seconds), 60)) if seconds.isascii() and seconds.isdigit() else None
