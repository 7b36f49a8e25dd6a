"""The carrier over HTTP. Every call carries the name its intent was stored under."""

from dataclasses import dataclass

import httpx

from contracts.chassis.external_calls import ExternalCalls, Known, provider_http
from contracts.values import Address
from fulfillment_service.settings import CarrierSettings

REFUSALS = (404, 409, 422)
"""How the carrier says no; whatever else it does not take is a mistake of ours."""
IS_NO_MORE = (None, "not_found")
"""What it answers to the void of a label that does not hold any more: nothing against it, or who that is."""


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


def carrier_http(settings: CarrierSettings) -> httpx.AsyncClient:
    return provider_http(
        settings.carrier_url, timeout_seconds=settings.carrier_timeout_seconds, slots=settings.carrier_slots
    )


class Carrier:
    """Book, void, hand over: each has its effect at most once for each provider key.

    Of one that the carrier knows nothing of, although it was answered, it is asked `anew`."""

    def __init__(self, calls: ExternalCalls) -> None:
        self._calls = calls

    async def book(
        self, provider_key: str, *, fulfillment_id: str, address: Address, service_level: str
    ) -> Booked | NotTaken:
        """There is a label, or it was refused. Raises Unavailable when the carrier did not say which."""
        body = {
            "parcelRef": fulfillment_id,
            "address": address.model_dump(mode="json"),
            "serviceLevel": service_level,
        }
        keep = ("trackingReference", "costMinor", "currency")
        answer = await self._calls.once(provider_key, "/labels", body, keep=keep)
        if answer.refusal:
            return NotTaken(answer.refusal)
        return Booked(*(answer.content[name] for name in keep))

    async def hand_over(self, provider_key: str, tracking_reference: str) -> Taken | NotTaken:
        """The carrier has the parcel, or left without it. Raises Unavailable when it did not say which."""
        body = {"trackingReference": tracking_reference}
        answer = await self._calls.once(provider_key, "/hand-overs", body, keep=("reference",))
        return NotTaken(answer.refusal) if answer.refusal else Taken(answer.content["reference"])

    async def void(
        self, provider_key: str, tracking_reference: str, *, anew: bool = False
    ) -> NotTaken | None:
        """The label is no more; None. One that the carrier does not know never was."""
        answer = await self._calls.once(provider_key, f"/labels/{tracking_reference}/void", {}, anew=anew)
        return NotTaken(answer.refusal) if answer.refusal not in IS_NO_MORE else None

    async def said(self, provider_key: str) -> Known | None:
        """What the carrier says of that key, None when it knows no such. Raises Unavailable otherwise."""
        return await self._calls.known(provider_key)
