"""Why an order does not move, or that it does: out of its view, its facts and what Temporal says. Pure."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from contracts import order as contract
from contracts.chassis.explanation import (
    Call,
    Evidence,
    Explanation,
    Inspection,
    Machine,
    Next,
    Reason,
    Unblock,
    clock,
    explained,
    machinery,
)
from contracts.chassis.postgres import Row
from contracts.chassis.troubles import TRIED_AGAIN

ASKS = {
    "authorize": "the payment provider",
    "renew": "the payment provider",
    "capture": "the payment provider",
    "undo": "the payment provider",
    "startFulfillmentWorkflow": "the fulfillment's workflow",
    "signalFulfillmentWorkflow": "the fulfillment's workflow",
    "queryFulfillmentStatus": "the fulfillment's workflow",
}
AGAIN = timedelta(days=1)
"""What the payment provider refused is asked for again so much later."""
_STEPS = {
    "hold-stock": "the stock is held",
    "authorize": "the payment is authorized",
    "confirm": "the order is confirmed",
    "start-fulfillment": "its fulfillment begins",
    "await-outcome": "its parcel goes on",
    "capture": "the payment is captured",
    "undo": "the payment is voided and the stock is available again",
}
_OPERATOR = "an operator"
_ENDED = ("SHIPPED", "CANCELLED", "FAILED")


def explain(row: Row, evidence: Evidence, inspection: Inspection) -> Explanation:
    """What it waits for, since when, what happens next, and who can change it."""
    document: dict[str, Any] = row["document"]
    is_ended = row["step"] == "end"
    machine = Machine(contract.TASK_QUEUE, is_needed=not is_ended, asks=ASKS)
    own = [] if is_ended else [*_decisions(row, evidence), *_parcel(row, evidence)]
    return explained(
        _stands(row, document, is_ended=is_ended),
        [*own, *machinery(evidence, inspection, machine)],
        since=evidence.facts[-1].at if evidence.facts else row["updated_at"],
        then=None if is_ended else Next(what=_STEPS[row["step"]]),
        now=evidence.now,
    )


def _stands(row: Row, document: dict[str, Any], *, is_ended: bool) -> str:
    named = f"Order {row['order_id']}"
    if is_ended:
        why = f" ({document['failure']})" if document["failure"] else ""
        return f"{named} has ended {row['status']}{why} and waits for nothing"
    return f"{named} is {row['status']} at {row['step']}"


def _decisions(row: Row, evidence: Evidence) -> Iterator[Reason]:
    """What a person has decided, or has to decide."""
    document, order_id = row["document"], row["order_id"]
    for hold in document["holds"]:
        yield _hold(hold, evidence, f"/orders/{order_id}")
    for cancel in document["unansweredCancels"]:
        yield _cancel(row, cancel, evidence)
    for trouble in document["exceptions"]:
        yield _attention(row, trouble, evidence)


def _hold(hold: dict[str, Any], evidence: Evidence, path: str) -> Reason:
    handle, reason = hold["handle"], hold["reason"]
    placed = next(
        (fact for fact in reversed(evidence.facts) if fact.data.get("hold", {}).get("handle") == handle), None
    )
    by = hold.get("holder") or (placed.actor if placed else None)
    said = f': "{placed.note}"' if placed and placed.note else ""
    until = _moment(hold.get("until"))
    lift = Call(service="order", method="DELETE", path=f"{path}/holds?handle={handle}")
    return Reason(
        "HOLD",
        f"the hold {handle} ({reason})"
        + (f" by {by}" if by else "")
        + (f" until {clock(until)}" if until else "")
        + said,
        since=placed.at if placed else None,
        until=until,
        code=reason,
        next=Next(what=f"the hold {handle} ends", at=until) if until else None,
        unblock=(Unblock(who=f"{by} or {_OPERATOR}" if by else _OPERATOR, how=f"lift {handle}", call=lift),),
    )


def _cancel(row: Row, cancel: dict[str, Any], evidence: Evidence) -> Reason:
    about = cancel["commandId"]
    asked = evidence.last("CancelRequested", command_id=about)
    until = _moment(cancel["answerBy"])
    path = f"/fulfillments/{row['document']['fulfillmentId']}/cancellation-requests/{about}"
    return Reason(
        "CANCEL_ANSWER",
        f"the fulfillment to answer the cancel {about}"
        + (f", by {clock(until)} at the latest" if until else ""),
        since=asked.at if asked else None,
        until=until,
        code="CANCEL_REQUESTED",
        next=Next(what="an unanswered cancel needs a person's attention", at=until) if until else None,
        unblock=(
            _at_fulfillment(_OPERATOR, "accept the cancel", "POST", f"{path}/accept"),
            _at_fulfillment(_OPERATOR, "reject it", "POST", f"{path}/reject"),
        ),
    )


def _attention(row: Row, trouble: dict[str, Any], evidence: Evidence) -> Reason:
    code, step_key = trouble["code"], trouble["stepKey"]
    raised = evidence.last("ExceptionRaised", code=code, step_key=step_key)
    where = f" at {step_key} ({trouble['fault']})" if code == "STEP_PARKED" else ""
    return Reason(
        "ATTENTION",
        f"a person to look at {code}{where}",
        since=raised.at if raised else None,
        code=code,
        next=_again(trouble, evidence),
        unblock=tuple(_ways_out(row, code)),
    )


def _again(trouble: dict[str, Any], evidence: Evidence) -> Next | None:
    """What is tried again although nobody helps."""
    refused = evidence.last("CaptureRefused", "VoidRefused", "ExceptionRaised")
    if trouble["code"] in ("CAPTURE_FAILED", "VOID_FAILED") and refused:
        return Next(what="the payment provider is asked again", at=refused.at + AGAIN)
    if trouble["code"] == "STEP_PARKED" and (trouble["fault"] in TRIED_AGAIN or trouble["stepKey"] == "undo"):
        return Next(what=f"{trouble['stepKey']} is tried again after a pause that grows")
    return None


def _ways_out(row: Row, code: str) -> Iterator[Unblock]:
    order_id, document = row["order_id"], row["document"]
    if code == "CANCEL_UNANSWERED":
        path = f"/fulfillments/{document['fulfillmentId']}/explain"
        yield _at_fulfillment(_OPERATOR, "see why", "GET", path)
        return
    if code in ("CAPTURE_FAILED", "VOID_FAILED"):
        yield Unblock(who="whoever looks after the payments", how="settle it with the payment provider")
    path = f"/orders/{order_id}/exceptions/resolve"
    retry = Call(service="order", method="POST", path=path)
    yield Unblock(who=_OPERATOR, how="have it tried again", call=retry)
    if "skipException" in document["allowedActions"]:
        skip = Call(service="order", method="POST", path=path, body={"resolution": "skip"})
        yield Unblock(who=_OPERATOR, how="leave it out, once it is settled elsewhere", call=skip)
    if "cancel" in document["allowedActions"]:
        cancel = Call(service="order", method="DELETE", path=f"/orders/{order_id}")
        yield Unblock(who="the shop", how="cancel the order", call=cancel)


def _parcel(row: Row, evidence: Evidence) -> Iterator[Reason]:
    """Once it has been asked for, the fulfillment decides how it goes on."""
    if row["step"] != "await-outcome":
        return
    yield from _declined(evidence)
    name = row["document"]["fulfillmentId"]
    told: dict[str, Any] = row["fulfillment"] or {}
    started = evidence.last("FulfillmentStarted")
    renewal = _renewal(evidence)
    see = _at_fulfillment(_OPERATOR, "see why and change it", "GET", f"/fulfillments/{name}/explain")
    yield Reason(
        "FULFILLMENT",
        f"its fulfillment {name}, {_told(row)}",
        since=started.at if started else None,
        code=told.get("status"),
        next=Next(what="the payment is authorized anew", at=renewal) if renewal else None,
        unblock=(*_lifts(row["order_id"], told), see),
    )


def _renewal(evidence: Evidence) -> datetime | None:
    """When the newest authorization has to be renewed."""
    authorized = evidence.last("PaymentAuthorized")
    return _moment(authorized.data["renew_at"]) if authorized else None


def _declined(evidence: Evidence) -> Iterator[Reason]:
    """The payment had been authorized, and its renewal was declined."""
    authorized, declined = evidence.last("PaymentAuthorized"), evidence.last("PaymentDeclined")
    if authorized and declined and declined.version > authorized.version:
        again = declined.data.get("retry_at")
        yield Reason(
            "PAYMENT",
            f"the payment, whose renewal was declined ({declined.data['reason']})",
            since=declined.at,
            code="AWAITING_PAYMENT",
            next=Next(what="the payment provider is asked again", at=_moment(again)),
            unblock=(Unblock(who="the customer", how="see to the payment"),),
        )


def _told(row: Row) -> str:
    """The parcel in Kafka's words."""
    told: dict[str, Any] | None = row["fulfillment"]
    if told is None:
        return "of which nothing has been heard on Kafka yet"
    step = f" at {told['currentStep']}" if told.get("currentStep") else ""
    holds = "; ".join(_held(hold) for hold in told.get("holds", ()))
    held = f", held by {holds}" if holds and told["status"] not in _ENDED else ""
    return f"which was {told['status']}{step} at {clock(row['fulfillment_at'])}{held}"


def _held(hold: dict[str, Any]) -> str:
    by = f" by {hold['holder']}" if hold.get("holder") else ""
    until = f" until {hold['until']}" if hold.get("until") else ""
    return f"{hold['handle']} ({hold['reason']}){by}{until}"


def _lifts(order_id: str, told: dict[str, Any]) -> Iterator[Unblock]:
    holds: list[dict[str, Any]] = told.get("holds", [])
    for hold in holds:
        handle: str = hold["handle"]
        if hold.get("standing"):
            path = f"/standing-holds/{handle.removeprefix('standing:')}"
            yield _at_fulfillment(_OPERATOR, f"lift {handle} for all", "DELETE", path)
        else:
            call = Call(service="order", method="DELETE", path=f"/orders/{order_id}/holds?handle={handle}")
            yield Unblock(who="the shop", how=f"have {handle} lifted", call=call)


def _moment(written: str | None) -> datetime | None:
    return datetime.fromisoformat(written) if written else None


def _at_fulfillment(who: str, how: str, method: str, path: str) -> Unblock:
    return Unblock(who=who, how=how, call=Call(service="fulfillment", method=method, path=path))
