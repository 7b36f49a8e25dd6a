"""The order at the payment provider: each call is an intent, the call under its name, and its answer.

Any of them may be cut off, doubled or late: whoever comes next finds in the stream which call is open, makes
it again under the same name, and gets the same answer.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from contracts.chassis import pii
from contracts.chassis.errors import Refused
from contracts.values import Code
from order_service.activities.stream import OrderChange, OrderStream
from order_service.events import OrderEvent
from order_service.order import Order, Step, payment
from order_service.payments import Authorized, Declined, Payments


class Money:
    """Authorizes, renews, captures and voids."""

    def __init__(self, stream: OrderStream, payments: Payments) -> None:
        self._stream = stream
        self._payments = payments

    async def authorize(self, order_id: str, now: datetime) -> OrderChange:
        """The total is authorized or declined for the first time, unless a hold stands."""
        change = await self._stream.decide(order_id, "authorize", payment.request_authorization)
        return await self._asked(change.state, now) if change.state.is_authorizing else change

    async def renew(self, order_id: str, now: datetime) -> OrderChange:
        """No authorization is unanswered, and only the newest one stands; of an undone order none does."""
        change = await self._stream.read(order_id)
        if change.state.open_authorization:
            await self._asked(change.state, now)
        return await self._void(order_id)

    async def capture(self, order_id: str, now: datetime) -> OrderChange:
        """The authorized money is ours, or the stream says why not; what has lapsed is replaced once."""
        change = await self._capture(order_id, now)
        order = change.state
        if order.step is Step.CAPTURE and order.reference is None and order.attention is None:
            return await self._capture(order_id, now)
        return change

    async def _asked(self, order: Order, now: datetime) -> OrderChange:
        """The provider has answered the open authorization, and the stream says what."""
        assert order.open_authorization is not None
        answer = await self._payments.authorize(
            order.open_authorization.provider_key,
            amount_minor=order.total_minor,
            currency=order.currency,
            token=await self._token(order),
            order_id=order.order_id,
        )

        def record(order: Order) -> Sequence[OrderEvent]:
            match answer:
                case Authorized(reference, expires_at):
                    return payment.authorized(order, reference=reference, expires_at=expires_at, now=now)
                case Declined(reason):
                    return payment.declined(order, reason=reason, now=now)

        return await self._stream.decide(order.order_id, "authorize", record)

    async def _capture(self, order_id: str, now: datetime) -> OrderChange:
        change = await self._stream.decide(order_id, "capture", payment.request_capture)
        if change.state.is_renewing:
            change = await self.renew(order_id, now)
            if change.state.reference:
                change = await self._stream.decide(order_id, "capture", payment.request_capture)
        order, call = change.state, change.state.capture
        if order.step is not Step.CAPTURE or call is None or call.answered or call.reference is None:
            return change
        refused = await self._payments.capture(
            call.provider_key, call.reference, amount_minor=order.total_minor
        )

        def record(order: Order) -> Sequence[OrderEvent]:
            if refused is None:
                return payment.captured(order)
            return payment.capture_refused(order, reason=refused.reason)

        return await self._stream.decide(order_id, "capture", record)

    async def _void(self, order_id: str) -> OrderChange:
        """What is to be voided is, one after the other; a refusal that a person has to see ends it."""
        while True:
            change = await self._stream.decide(order_id, "void", payment.request_void)
            call = change.state.void
            if call is None or call.answered or call.reference is None:
                return change
            refused = await self._payments.void(call.provider_key, call.reference)

            record = partial(payment.void_refused, reason=refused.reason) if refused else payment.voided
            change = await self._stream.decide(order_id, "void", record)
            if refused and change.state.attention:
                return change

    async def _token(self, order: Order) -> str:
        async with self._stream.database.connection() as connection:
            found = await pii.get(connection, order.stream, "payment", 1)
        if found is None:
            raise Refused("the order's payment token was erased", code=Code.NOT_FOUND)
        return found["token"]
