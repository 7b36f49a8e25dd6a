"""The carrier: labels that are voided or handed over once."""

import re
from secrets import token_hex

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from contracts.values import Address, Reference
from deploy.sandbox.door import STRICT, Door, Problem, call_of, read
from deploy.sandbox.misbehaviour import NONE, Operation, Trouble, trouble_of
from deploy.sandbox.verdicts import Entry, Verdict, refuse, timestamp

_REFERENCE = re.compile(r"TRK-[0-9A-F]{16}")
CURRENCY = "USD"
_PRICE_MINOR = 590
_EXPRESS_PRICE_MINOR = 1290


class LabelAddress(Address):
    """Read and forgotten: only the postal code is kept."""

    model_config = STRICT


class BookLabel(BaseModel):
    model_config = STRICT

    parcel_ref: Reference
    address: LabelAddress
    service_level: Reference


class HandOver(BaseModel):
    model_config = STRICT

    tracking_reference: Reference


class Carrier:
    """The carrier's rules; what happened is in the ledger."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._ledger = door.ledger
        self.routes = Router(
            [
                Route("/labels", self.label, methods=["POST"]),
                Route("/labels/{reference}/void", self.void, methods=["POST"]),
                Route("/hand-overs", self.hand_over, methods=["POST"]),
                Route("/operations/{key:path}", door.operation, methods=["GET"]),
            ],
            redirect_slashes=False,
        )

    async def label(self, request: Request) -> Response:
        body = await read(request, BookLabel)
        call = call_of(request, "label", body)
        trouble = trouble_of(body.address.zip_code, "label")
        return await self._door.serve(call, trouble, lambda: _booked(body))

    async def void(self, request: Request) -> Response:
        call = call_of(request, "void-label")
        reference = call.about or ""
        trouble = self._trouble(reference, "void-label")
        return await self._door.serve(call, trouble, lambda: self._voided(reference))

    async def hand_over(self, request: Request) -> Response:
        body = await read(request, HandOver)
        reference = body.tracking_reference
        call = call_of(request, "hand-over", body, about=reference)
        trouble = self._trouble(reference, "hand-over")
        return await self._door.serve(call, trouble, lambda: self._handed_over(reference))

    def _voided(self, reference: str) -> Verdict:
        """A label that is not handed over is voided; a second void says so again and changes nothing."""
        label = self._ledger.subject(reference)
        if label is None:
            return _unknown(reference)
        entry = Entry("replayed" if "void-label" in label.done else "applied", reference, label.made.subject)
        if "hand-over" in label.done:
            return refuse(409, "already_handed_over", "The parcel is on its way.", entry)
        return Verdict(entry, 200, "voided", {"trackingReference": reference, "status": "voided"})

    def _handed_over(self, reference: str) -> Verdict:
        """The carrier takes a parcel once, and only under a label that still holds."""
        label = self._ledger.subject(reference)
        if label is None:
            return _unknown(reference)
        entry = Entry("applied", reference, label.made.subject)
        if "hand-over" in label.done:
            return refuse(409, "already_handed_over", "The parcel is on its way.", entry)
        if "void-label" in label.done:
            return refuse(409, "label_voided", "The label was voided.", entry)
        receipt = f"HO-{token_hex(8).upper()}"
        answer = {"reference": receipt, "handedOverAt": timestamp(self._ledger.now())}
        return Verdict(entry, 201, "handed_over", answer, reference=receipt)

    def _trouble(self, reference: str, operation: Operation) -> Trouble:
        if not _REFERENCE.fullmatch(reference):
            raise Problem(404, "not_found", "There is no such label.")
        label = self._ledger.subject(reference)
        return trouble_of(label.made.zip_code or "", operation) if label else NONE


def _booked(body: BookLabel) -> Verdict:
    reference = f"TRK-{token_hex(8).upper()}"
    zip_code = body.address.zip_code
    cost_minor = _EXPRESS_PRICE_MINOR if body.service_level == "express" else _PRICE_MINOR
    entry = Entry("applied", reference, body.parcel_ref, zip_code=zip_code)
    answer = {"trackingReference": reference, "costMinor": cost_minor, "currency": CURRENCY}
    return Verdict(entry, 201, "booked", answer)


def _unknown(reference: str) -> Verdict:
    return refuse(404, "not_found", "There is no such label.", Entry("refused", reference=reference))
