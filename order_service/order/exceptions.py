"""Steps of an order that wait for a person: how they are parked, resolved, and over by themselves."""

from collections.abc import Sequence
from datetime import UTC, datetime

from contracts.chassis.errors import Refused
from contracts.chassis.faults import Failure, Resolution
from contracts.chassis.troubles import Open, parked, resolved
from contracts.values import Code
from order_service.events import OrderEvent, PaymentCaptured, PaymentVoided
from order_service.order import payment
from order_service.order.evolution import evolve
from order_service.order.state import RENEW, Order, Step

_SOME_MOMENT = datetime(1970, 1, 1, tzinfo=UTC)
MISUNDERSTOOD = "misunderstood"
"""Kept in place of the provider's own code when it did not take the request at all."""


def park(order: Order, step_key: str, failure: Failure) -> list[OrderEvent]:
    """The step waits for a person; one that went on meanwhile does not.

    What the provider did not understand it has not done: so a capture or a void is refused, and asked for
    under another name next time. An authorization is not declined by that: the customer did nothing wrong."""
    if not _is_at(order, step_key):
        return []
    if failure.fault == "bad-data" and step_key == Step.CAPTURE and payment.open_call(order.capture):
        return payment.capture_refused(order, reason=MISUNDERSTOOD, failure=failure)
    if failure.fault == "bad-data" and step_key in (Step.UNDO, RENEW) and payment.open_call(order.void):
        return payment.void_refused(order, reason=MISUNDERSTOOD, failure=failure)
    return [*parked(order.troubles, step_key, failure)]


def passed(order: Order, facts: Sequence[OrderEvent]) -> list[OrderEvent]:
    """The same facts, before them that a parked step goes on with them."""
    after = order
    for fact in facts:
        after = evolve(after, fact)
    over = [each for each in after.troubles if each.is_parked and not _is_at(after, each.step_key)]
    return [*resolved([each for each in over if each in order.troubles]), *facts]


def resolve(
    order: Order, *, how: Resolution, code: Code | None, step_key: str | None, now: datetime
) -> list[OrderEvent]:
    """What waits for a person does not any more: all of it, or the one of that code and step.

    Raises Refused when a person has to decide elsewhere, or when the step cannot be left out."""
    meant = [
        each for each in order.troubles if code in (None, each.code) and step_key in (None, each.step_key)
    ]
    if any(each.code is Code.CANCEL_UNANSWERED for each in meant):
        raise Refused("the fulfillment has to accept or to reject the cancel", code=Code.CANCEL_UNANSWERED)
    if how != "skip":
        return [*resolved(meant, how)]
    return [fact for each in meant for fact in _skipped(order, each, now)]


def probe(order: Order, how: Resolution, trouble: Open | None = None) -> list[OrderEvent]:
    """What `resolve` would do at some moment, for the one or for all of them."""
    code, step_key = (trouble.code, trouble.step_key) if trouble else (None, None)
    return resolve(order, how=how, code=code, step_key=step_key, now=_SOME_MOMENT)


def provider_key(order: Order, step_key: str) -> str | None:
    """The name of the call that the step is about, as the provider knows it."""
    match step_key:
        case Step.AUTHORIZE:
            call = order.authorization
        case Step.CAPTURE:
            call = order.open_authorization or order.capture
        case Step.UNDO | "renew":
            call = order.open_authorization or order.void
        case _:
            call = None
    return call.provider_key if call else None


def _skipped(order: Order, trouble: Open, now: datetime) -> list[OrderEvent]:
    """The step is left out, and what a person knows of it is recorded.

    Raises Refused where that is unsafe."""
    over = resolved([trouble], "skip")
    match trouble.step_key:
        case Step.CAPTURE:
            return [*over, PaymentCaptured(n=order.capture.n if order.capture else 0, outside=True)]
        case Step.UNDO if order.void and order.void.reference in order.authorizations:
            return [*over, PaymentVoided(n=order.void.n, outside=True)]
        case Step.AUTHORIZE | "renew" if order.open_authorization and trouble.fault == "bad-data":
            return [*over, *payment.declined(order, reason="skipped", now=now)]
        case "renew" if payment.open_call(order.void):
            return [*over, *payment.void_refused(order, reason="skipped")]
        case Step.AUTHORIZE | "renew":
            raise Refused("nobody knows whether the money is reserved, so the provider has to be asked again")
        case _:
            raise Refused("the order cannot go on without this step; retry it, or cancel the order")


def _is_at(order: Order, step_key: str) -> bool:
    return order.is_renewing if step_key == RENEW else order.step == step_key
