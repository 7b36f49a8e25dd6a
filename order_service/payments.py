"""The payment provider over HTTP. Every call carries the name its intent was stored under."""

from dataclasses import dataclass
from datetime import datetime

import httpx

from contracts.chassis.external_calls import Answer, ExternalCalls, Known, provider_http
from order_service.settings import PaymentSettings

REFUSALS = (402, 404, 409)
"""How the provider says no; whatever else it does not take is a mistake of ours."""


@dataclass(frozen=True, slots=True)
class Authorized:
    reference: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Declined:
    """The provider said no; asking again with the same key gives the same answer."""

    reason: str


def payments_http(settings: PaymentSettings) -> httpx.AsyncClient:
    return provider_http(
        settings.payments_url,
        timeout_seconds=settings.payments_timeout_seconds,
        slots=settings.payments_slots,
    )


class Payments:
    """Authorize, capture, void: each has its effect at most once for each provider key.

    Of one that the provider knows nothing of, although it was answered, it is asked `anew`."""

    def __init__(self, calls: ExternalCalls) -> None:
        self._calls = calls

    async def authorize(
        self, provider_key: str, *, amount_minor: int, currency: str, token: str, order_id: str
    ) -> Authorized | Declined:
        """The money is reserved or declined. Raises Unavailable when the provider did not say which."""
        body = {"amountMinor": amount_minor, "currency": currency, "token": token, "orderRef": order_id}
        answer = await self._calls.once(
            provider_key, "/authorizations", body, keep=("reference", "expiresAt")
        )
        return _declined(answer) or Authorized(
            answer.content["reference"], datetime.fromisoformat(answer.content["expiresAt"])
        )

    async def capture(
        self, provider_key: str, reference: str, *, amount_minor: int, anew: bool = False
    ) -> Declined | None:
        """The reserved money is ours; None. Raises Unavailable when the provider did not answer."""
        path, body = f"/authorizations/{reference}/capture", {"amountMinor": amount_minor}
        declined = _declined(await self._calls.once(provider_key, path, body, anew=anew))
        # A capture of an earlier name that we took for refused did happen: the money is ours all the same.
        return None if declined == Declined("already_captured") else declined

    async def void(self, provider_key: str, reference: str, *, anew: bool = False) -> Declined | None:
        """The reservation is gone; None. Raises Unavailable when the provider did not answer."""
        path = f"/authorizations/{reference}/void"
        return _declined(await self._calls.once(provider_key, path, {}, anew=anew))

    async def said(self, provider_key: str) -> Known | None:
        """What the provider says of that key, None when it knows no such. Raises Unavailable otherwise."""
        return await self._calls.known(provider_key)


def _declined(answer: Answer) -> Declined | None:
    return Declined(answer.refusal) if answer.refusal else None
