"""The payment provider: authorizations that are captured once or voided."""

import re
from secrets import token_hex
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from contracts.values import Currency, Reference
from deploy.sandbox.door import STRICT, Door, Problem, call_of, read
from deploy.sandbox.misbehaviour import NONE, Operation, Refusal, Trouble, trouble_of
from deploy.sandbox.verdicts import Call, Entry, Verdict, refuse, timestamp

Amount = Annotated[int, Field(strict=True, ge=0, le=10**13)]
"""Room for the largest order: 50 lines of 999 pieces at the highest price."""
_REFERENCE = re.compile(r"auth_[0-9a-f]{20}")
_INVALID_TOKEN = Refusal(402, "invalid_token", "A test token starts with tok_; GET /scenarios lists them.")


class Authorize(BaseModel):
    model_config = STRICT

    amount_minor: Amount
    currency: Currency
    token: Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,200}$", strict=True)]
    order_ref: Reference


class Capture(BaseModel):
    model_config = STRICT

    amount_minor: Amount


class Payments:
    """The provider's rules; what happened is in the ledger."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._ledger = door.ledger
        self.routes = Router(
            [
                Route("/authorizations", self.authorize, methods=["POST"]),
                Route("/authorizations/{reference}/capture", self.capture, methods=["POST"]),
                Route("/authorizations/{reference}/void", self.void, methods=["POST"]),
                Route("/operations/{key:path}", door.operation, methods=["GET"]),
            ],
            redirect_slashes=False,
        )

    async def authorize(self, request: Request) -> Response:
        body = await read(request, Authorize)
        call = call_of(request, "authorize", body)
        trouble = (
            trouble_of(body.token, "authorize")
            if body.token.startswith("tok_")
            else Trouble(refusal=_INVALID_TOKEN)
        )
        return await self._door.serve(call, trouble, lambda: self._authorized(body, trouble))

    async def capture(self, request: Request) -> Response:
        body = await read(request, Capture)
        call = call_of(request, "capture", body)
        return await self._door.serve(
            call, self._trouble(call, "capture"), lambda: self._captured(call, body.amount_minor)
        )

    async def void(self, request: Request) -> Response:
        call = call_of(request, "void")
        return await self._door.serve(call, self._trouble(call, "void"), lambda: self._voided(call))

    def _authorized(self, body: Authorize, trouble: Trouble) -> Verdict:
        reference = f"auth_{token_hex(10)}"
        expires_at = timestamp(self._ledger.now() + trouble.authorized_for)
        entry = Entry(
            "applied",
            reference=reference,
            subject=body.order_ref,
            amount_minor=body.amount_minor,
            currency=body.currency,
            script=body.token,
            expires_at=expires_at,
        )
        answer = {
            "reference": reference,
            "status": "authorized",
            "amountMinor": body.amount_minor,
            "currency": body.currency,
            "expiresAt": expires_at,
        }
        return Verdict(entry, 201, "authorized", answer)

    def _captured(self, call: Call, amount_minor: int) -> Verdict:
        """At most once, at most what was authorized, not after a void or the expiry."""
        authorization = self._ledger.subject(_known(call))
        if authorization is None:
            return _unknown(call)
        made, done = authorization.made, authorization.done
        entry = Entry("applied", made.reference, made.subject, amount_minor, made.currency)
        if "capture" in done:
            return refuse(409, "already_captured", "The authorization was captured before.", entry)
        if "void" in done:
            return refuse(409, "voided", "The authorization was voided.", entry)
        if timestamp(self._ledger.now()) >= (made.expires_at or ""):
            return refuse(409, "expired", "The authorization has expired.", entry)
        if amount_minor > (made.amount_minor or 0):
            return refuse(409, "amount_too_large", "More than was authorized.", entry)
        return Verdict(entry, 200, "captured", {"reference": made.reference, "status": "captured"})

    def _voided(self, call: Call) -> Verdict:
        """What was never captured is voided; a second void says so again and changes nothing."""
        authorization = self._ledger.subject(_known(call))
        if authorization is None:
            return _unknown(call)
        made, done = authorization.made, authorization.done
        entry = Entry(
            "replayed" if "void" in done else "applied",
            made.reference,
            made.subject,
            made.amount_minor,
            made.currency,
        )
        if "capture" in done:
            return refuse(409, "already_captured", "What was captured cannot be voided.", entry)
        return Verdict(entry, 200, "voided", {"reference": made.reference, "status": "voided"})

    def _trouble(self, call: Call, operation: Operation) -> Trouble:
        authorization = self._ledger.subject(_known(call))
        return trouble_of(authorization.made.script or "", operation) if authorization else NONE


def _known(call: Call) -> str:
    """The reference in the path. Raises Problem when none of ours looks like it."""
    if call.about is None or not _REFERENCE.fullmatch(call.about):
        raise Problem(404, "not_found", "There is no such authorization.")
    return call.about


def _unknown(call: Call) -> Verdict:
    return refuse(404, "not_found", "There is no such authorization.", Entry("refused", reference=call.about))
