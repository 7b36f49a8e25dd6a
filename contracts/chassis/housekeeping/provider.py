"""A provider as the reconciler asks it: what it knows under a key of ours, and the same call once more."""

import httpx

from contracts.chassis.breakers import Breaker
from contracts.chassis.errors import Refused
from contracts.chassis.external_calls import ask


class Provider:
    """Reads what became of our calls.

    Raises Unavailable when the provider does not answer, or is not to be asked now."""

    def __init__(self, http: httpx.AsyncClient, breaker: Breaker) -> None:
        self._http = http
        self._breaker = breaker

    async def knows(self, provider_key: str) -> bool:
        """An operation of that key was done, or refused."""
        return (await self._ask("GET", f"/operations/{provider_key}")).status_code == 200

    async def repeat(self, provider_key: str, path: str) -> None:
        """The call of that key has its effect, once. Raises Refused when the provider says no."""
        answer = await self._ask("POST", path, provider_key)
        if answer.status_code >= 400:
            raise Refused(f"the provider would not: HTTP {answer.status_code}")

    async def _ask(self, method: str, path: str, key: str | None = None) -> httpx.Response:
        await self._breaker.check(key or path)
        body: dict[str, str] | None = {} if key else None
        return await ask(self._http, self._breaker.name, method, path, key=key, body=body)
