"""The payment provider over HTTP. Every call carries the name its intent was stored under."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from contracts.chassis.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Authorized:
    reference: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Declined:
    """The provider said no; asking again with the same key gives the same answer."""

    reason: str


class Payments:
    """Authorize, capture, void: each has its effect at most once for each provider key."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def authorize(
        self, provider_key: str, *, amount_minor: int, currency: str, token: str, order_id: str
    ) -> Authorized | Declined:
        """The money is reserved or declined. Raises Unavailable when the provider did not say which."""
        answer = await self._post(
            "/authorizations",
            provider_key,
            {"amountMinor": amount_minor, "currency": currency, "token": token, "orderRef": order_id},
        )
        return _declined(answer) or Authorized(
            answer.json()["reference"], datetime.fromisoformat(answer.json()["expiresAt"])
        )

    async def capture(self, provider_key: str, reference: str, *, amount_minor: int) -> Declined | None:
        """The reserved money is ours; None. Raises Unavailable when the provider did not answer."""
        path = f"/authorizations/{reference}/capture"
        declined = _declined(await self._post(path, provider_key, {"amountMinor": amount_minor}))
        # A capture of an earlier name that we took for refused did happen: the money is ours all the same.
        return None if declined == Declined("already_captured") else declined

    async def void(self, provider_key: str, reference: str) -> Declined | None:
        """The reservation is gone; None. Raises Unavailable when the provider did not answer."""
        return _declined(await self._post(f"/authorizations/{reference}/void", provider_key, {}))

    async def _post(self, path: str, key: str, body: dict[str, Any]) -> httpx.Response:
        try:
            answer = await self._http.post(path, json=body, headers={"Idempotency-Key": key})
        except httpx.HTTPError as error:
            raise Unavailable("the payment provider does not answer") from error
        if answer.status_code >= 500 or answer.status_code in (408, 425, 429):
            raise Unavailable("the payment provider cannot answer now")
        return answer


def _declined(answer: httpx.Response) -> Declined | None:
    """The provider's no; any other refusal is a mistake of ours and stays an error that is seen."""
    if answer.status_code in (402, 404, 409):
        return Declined(str(answer.json().get("code", "declined"))[:60])
    answer.raise_for_status()
    return None
