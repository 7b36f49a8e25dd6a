"""The carrier over HTTP. Every call carries the name its intent was stored under."""

from dataclasses import dataclass
from typing import Any

import httpx

from contracts.chassis.errors import Unavailable
from contracts.values import Address


@dataclass(frozen=True, slots=True)
class Booked:
    tracking_reference: str
    cost_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Taken:
    """The carrier has the parcel."""

    reference: str


@dataclass(frozen=True, slots=True)
class NotTaken:
    """The carrier said no; asking again with the same key gives the same answer."""

    reason: str


class Carrier:
    """Book, void, hand over: each has its effect at most once for each provider key."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def book(
        self,
        provider_key: str,
        *,
        fulfillment_id: str,
        address: Address,
        service_level: str,
        may_be_done: bool,
    ) -> Booked | NotTaken:
        """There is a label, or it was refused. Raises Unavailable when the carrier did not say which."""
        body = {
            "parcelRef": fulfillment_id,
            "address": address.model_dump(mode="json"),
            "serviceLevel": service_level,
        }
        answer = await self._once("/labels", provider_key, body, may_be_done=may_be_done)
        if reason := _refused(answer):
            return NotTaken(reason)
        return Booked(answer["trackingReference"], answer["costMinor"], answer["currency"])

    async def hand_over(
        self, provider_key: str, tracking_reference: str, *, may_be_done: bool
    ) -> Taken | NotTaken:
        """The carrier has the parcel, or left without it. Raises Unavailable when it did not say which."""
        body = {"trackingReference": tracking_reference}
        answer = await self._once("/hand-overs", provider_key, body, may_be_done=may_be_done)
        if reason := _refused(answer):
            return NotTaken(reason)
        return Taken(answer["reference"])

    async def void(self, provider_key: str, tracking_reference: str) -> None:
        """The label is no more; one the carrier does not know never was. Raises Unavailable otherwise."""
        answer = await self._ask("POST", f"/labels/{tracking_reference}/void", provider_key, {})
        if answer.status_code not in (200, 404):
            raise Unavailable("the carrier would not void a label")

    async def _once(self, path: str, key: str, body: dict[str, Any], *, may_be_done: bool) -> dict[str, Any]:
        """The answer to the operation of that key, which is looked up first where it may have happened."""
        if may_be_done:
            found = await self._ask("GET", f"/operations/{key}")
            if found.status_code == 200:
                return found.json()["answer"]
        return (await self._ask("POST", path, key, body)).json()

    async def _ask(
        self, method: str, path: str, key: str | None = None, body: dict[str, Any] | None = None
    ) -> httpx.Response:
        headers = {"Idempotency-Key": key} if key else {}
        try:
            answer = await self._http.request(method, path, json=body, headers=headers)
        except httpx.HTTPError as error:
            raise Unavailable("the carrier does not answer") from error
        if answer.status_code >= 500 or answer.status_code in (408, 425, 429):
            raise Unavailable("the carrier cannot answer now")
        return answer


def _refused(answer: dict[str, Any]) -> str | None:
    """The carrier's own code of a refusal; None when it did what was asked."""
    code = answer.get("code")
    return str(code)[:60] if code else None
